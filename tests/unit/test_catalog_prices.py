"""Every price line, tier and window: what is billed is exact, and what is held covers it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.canonical.usage import Usage, merge
from ainfera_gateway.catalog.imported import imported
from ainfera_gateway.catalog.price import (
    INPUT_LINES,
    LINES,
    OUTPUT_LINES,
    Cost,
    PriceError,
    Prices,
    Tier,
    cost_by_class,
    cost_picousd,
    projected_picousd,
)
from ainfera_gateway.catalog.schedule import in_force, next_change_us, price_class, prices_at
from ainfera_gateway.catalog.seed import seed_catalog

line = st.integers(0, 10**9)
few = st.integers(0, 1_000)
flat = st.builds(
    Prices, line, line, *[st.none() | line for _ in range(8)]
)  # input, output, then every other line in the order of the fields
tiered = st.builds(
    lambda base, tiers: msgspec.structs.replace(
        base, tiers=tuple(Tier(above, prices) for above, prices in sorted(tiers.items()))
    ),
    flat,
    st.dictionaries(few, flat, max_size=3),
)
usages = st.builds(Usage, *[st.none() | few for _ in range(9)])
# Anthropic's: 5 in, 25 out, reads a tenth, writes 1.25 and 2 times; twice that, and 37.5 out, above 200,000.
CLAUDE = {
    "input": 5_000_000, "output": 25_000_000, "cached_input": 500_000, "cache_write": 6_250_000,
    "cache_write_1h": 10_000_000, "web_search": 10_000_000_000,
    "input@200000": 10_000_000, "output@200000": 37_500_000, "cached_input@200000": 1_000_000,
    "cache_write@200000": 12_500_000, "cache_write_1h@200000": 20_000_000,
}  # fmt: skip


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(100, 10), {"input": 100 * 5_000_000, "output": 10 * 25_000_000}),
        (Usage(100, 0, 60), {"input": 40 * 5_000_000, "cached_input": 60 * 500_000}),
        (Usage(100, 0, None, 60), {"input": 40 * 5_000_000, "cache_write": 60 * 6_250_000}),
        (
            Usage(100, 0, 20, 60, cache_write_1h_tokens=50),
            {
                "input": 20 * 5_000_000,
                "cached_input": 20 * 500_000,
                "cache_write": 10 * 6_250_000,
                "cache_write_1h": 50 * 10_000_000,
            },
        ),
        (Usage(0, 0, web_searches=3), {"web_search": 3 * 10_000_000_000}),
        (Usage(0, 10, reasoning_tokens=8), {"output": 2 * 25_000_000, "reasoning": 8 * 25_000_000}),
        # The whole call moves to the dearer lines with the token that passes the threshold, cached ones counted.
        (Usage(200_000, 10), {"input": 200_000 * 5_000_000, "output": 10 * 25_000_000}),
        (Usage(200_001, 10), {"input": 200_001 * 10_000_000, "output": 10 * 37_500_000}),
        (
            Usage(200_001, 0, 150_000, 50_000),
            {"input": 10_000_000, "cached_input": 150_000 * 1_000_000, "cache_write": 50_000 * 12_500_000},
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_each_class_is_billed_at_its_line(usage: Usage, expected: dict[str, int]) -> None:
    cost = cost_by_class(usage, prices_at(CLAUDE, 0))
    found = {name: getattr(cost, f"{name}_picousd") for name in LINES}
    assert {name: amount for name, amount in found.items() if amount} == expected
    assert cost.total_picousd == sum(expected.values())


def test_audio_is_billed_apart_and_cached_audio_by_its_own_line() -> None:
    prices = Prices(2, 10, 1, audio_input_picousd=32, cached_audio_input_picousd=3, audio_output_picousd=64)
    heard = Usage(100, 20, audio_input_tokens=70, audio_output_tokens=15)
    assert cost_picousd(heard, prices) == 30 * 2 + 70 * 32 + 5 * 10 + 15 * 64
    # 50 cached and 70 audio in 100: 20 must be both.
    again = Usage(100, 0, 50, audio_input_tokens=70)
    assert cost_picousd(again, prices) == 50 * 32 + 30 * 1 + 20 * 3


def test_parts_beyond_their_whole_are_billed_as_reported() -> None:
    prices = Prices(2, 10, 1, 3, 4, audio_input_picousd=32, audio_output_picousd=64)
    assert cost_picousd(Usage(5, 0, 3, 4), prices) == 3 * 1 + 4 * 3
    assert cost_picousd(Usage(0, 0, cache_write_1h_tokens=7), prices) == 7 * 4
    assert cost_picousd(Usage(0, 0, audio_input_tokens=7, audio_output_tokens=2), prices) == 7 * 32 + 2 * 64
    for name in Usage.__struct_fields__:
        with pytest.raises(PriceError):
            cost_by_class(Usage(**{name: -1}), prices)


@given(tiered, usages)
def test_the_sum_of_the_classes_is_the_total(prices: Prices, usage: Usage) -> None:
    cost = cost_by_class(usage, prices)
    assert cost.total_picousd == sum(getattr(cost, f"{name}_picousd") for name in LINES) == cost_picousd(usage, prices)
    assert len(Cost.__struct_fields__) == len(LINES)


@given(flat, st.lists(few, min_size=6, max_size=6), st.lists(few, min_size=3, max_size=3), few)
def test_every_token_is_billed_once(prices: Prices, inputs: list[int], outputs: list[int], searches: int) -> None:
    """Counts that overlap nowhere, each with its own line: the bill is their plain sum."""
    plain, cached, written, hour, audio, _ = inputs
    said, thought, spoken = outputs
    usage = Usage(
        plain + cached + written + hour + audio, said + thought + spoken, cached, written + hour, thought,
        hour, audio, spoken, searches,
    )  # fmt: skip
    counted = {
        "input": plain, "cached_input": cached, "cache_write": written, "cache_write_1h": hour, "audio_input": audio,
        "output": said, "reasoning": thought, "audio_output": spoken, "web_search": searches,
    }  # fmt: skip
    assert cost_picousd(usage, prices) == sum(count * prices.line(name) for name, count in counted.items())


@given(tiered, usages, few, few)
def test_what_is_held_covers_every_use_within_the_counts(prices: Prices, usage: Usage, more: int, further: int) -> None:
    usage = msgspec.structs.replace(usage, web_searches=None)
    read = max(
        usage.input_tokens or 0,
        (usage.cached_input_tokens or 0) + max(usage.cache_write_tokens or 0, usage.cache_write_1h_tokens or 0),
        usage.audio_input_tokens or 0,
    )
    written = max(usage.output_tokens or 0, usage.audio_output_tokens or 0)
    held_in, held_out = read + more, written + further
    dearest_in, dearest_out = prices.hold_prices(held_in)
    cost = cost_picousd(usage, prices)
    assert held_in * dearest_in + held_out * dearest_out >= cost
    assert projected_picousd(prices, held_in, held_out) >= cost


@given(tiered, few)
def test_lines_that_a_call_cannot_reach_are_not_held(prices: Prices, tokens: int) -> None:
    special = frozenset({*INPUT_LINES, *OUTPUT_LINES} - {"input", "output"})
    reached = [prices, *(tier.prices for tier in prices.tiers if tokens > tier.above_tokens)]
    assert prices.hold_prices(tokens, special) == (
        max(found.input_picousd for found in reached),
        max(found.output_picousd for found in reached),
    )


def test_a_hold_below_the_threshold_knows_nothing_of_the_tier() -> None:
    prices = prices_at(CLAUDE, 0)
    assert prices.hold_prices(200_000) == (10_000_000, 25_000_000)
    assert prices.hold_prices(200_001) == (20_000_000, 37_500_000)
    assert prices.hold_prices(200_000, frozenset({"cache_write_1h"})) == (6_250_000, 25_000_000)


@given(tiered)
def test_stored_lines_read_back(prices: Prices) -> None:
    read = prices_at(prices.lines(), 0)
    for tokens in [0, *(tier.above_tokens + 1 for tier in prices.tiers)]:
        wanted, found = prices.at(tokens), read.at(tokens)
        # A line that only a lower level has is carried upward, so compare what has a line of its own.
        own = {name for name in wanted.lines() if "@" not in name}
        assert {name: found.line(name) for name in own} == {name: wanted.line(name) for name in own}


def test_a_line_without_a_tier_costs_the_same_in_all() -> None:
    prices = prices_at({"input": 2, "output": 3, "cache_write": 9, "input@10": 4, "output@20": 5}, 0)
    assert [(found.input_picousd, found.output_picousd, found.cache_write_picousd) for found in map(prices.at, (10, 11, 21))] == [
        (2, 3, 9), (4, 3, 9), (4, 5, 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "inputs", "input@", "input@x", "input~1-2", "input~2500-0100", "input~0160-0200", "input@1@2", "input~"],
)
def test_text_that_is_no_price_class_is_refused(text: str) -> None:
    with pytest.raises(PriceError):
        price_class(text)


@pytest.mark.parametrize(
    ("clock", "picousd", "next_change"),
    [
        ("00:59:59", 1, "01:00"),
        ("01:00:00", 2, "04:00"),
        ("03:59:59", 2, "04:00"),
        ("04:00:00", 1, "22:00"),
        ("22:00:00", 3, "23:30"),
        ("23:30:00", 1, "01:00"),
    ],
)
def test_a_time_of_day_has_its_own_lines(clock: str, picousd: int, next_change: str) -> None:
    lines = {"input": 1, "output": 1, "input~0100-0400": 2, "input~2200-2330": 3}
    now = at(f"2026-11-24T{clock}")
    assert prices_at(lines, now).input_picousd == picousd
    change = next_change_us(lines, now)
    assert change == at(f"2026-11-{'25' if next_change < clock else '24'}T{next_change}:00")


def test_a_window_may_run_over_midnight() -> None:
    lines = {"input": 1, "output": 1, "output~2300-0100": 5}
    hours = {hour: prices_at(lines, at(f"2026-11-24T{hour:02}:30:00")).output_picousd for hour in (22, 23, 0, 1)}
    assert hours == {22: 1, 23: 5, 0: 5, 1: 1}
    assert next_change_us({"input": 1}, 0) is None


def test_a_schedule_replaces_the_one_before_it_as_a_whole() -> None:
    schedules = {0: {"input": 1, "output": 1, "input@10": 9}, 100: {"input": 2, "output": 2}}
    assert in_force(schedules, -1) == {}
    assert prices_at(in_force(schedules, 99), 0).at(11).input_picousd == 9
    assert prices_at(in_force(schedules, 100), 0) == Prices(2, 2)
    assert prices_at({}, 0).complete is False


def test_a_usage_report_keeps_the_larger_of_every_count() -> None:
    first = Usage(1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert merge(first, Usage()) == first == merge(Usage(), first)
    larger = Usage(*range(11, 20))
    assert merge(first, larger) == larger == merge(larger, first)


# What the makers' price pages say, in USD per million tokens.
LIST: list[tuple[str, Usage, Any]] = [
    ("claude-sonnet-4-5", Usage(200_000, 1_000), 200_000 * 3 + 1_000 * 15),
    ("claude-sonnet-4-5", Usage(200_001, 1_000), 200_001 * 6 + 22_500),
    ("claude-haiku-4-5", Usage(1_000, 0, 400, 600, cache_write_1h_tokens=200), 400 / 10 + 400 * 1.25 + 200 * 2),
    ("gpt-4o", Usage(1_000, 100, 500), 500 * 2.5 + 500 * 1.25 + 100 * 10),
    ("gpt-5.5-pro", Usage(272_001, 0), 272_001 * 60),
    ("gemini-2.5-pro", Usage(200_001, 100, 1), 200_000 * 2.5 + 0.25 + 100 * 15),
    ("gemini-2.5-flash", Usage(100, 10, audio_input_tokens=60), 40 * 0.3 + 60 + 10 * 2.5),
    ("grok-4.7", Usage(199_999, 10), 199_999 * 2 + 60),
    ("grok-4.7", Usage(200_000, 10), 200_000 * 4 + 120),
    ("text-embedding-3-small", Usage(1_000, 0), 20),
    ("groq/openai/gpt-oss-20b", Usage(1_000, 0, 1_000), 37.5),
]


@pytest.mark.parametrize(("slug", "usage", "micro_usd"), LIST)
def test_shipped_prices_bill_what_the_list_says(slug: str, usage: Usage, micro_usd: float) -> None:
    assert cost_picousd(usage, seed_catalog().models[slug].prices) == round(micro_usd * 1_000_000)


def test_a_price_is_that_of_the_day_and_hour() -> None:
    models = {model.slug: model for model in imported().models}
    argon, flash = models["gemini-4-argon"], models["deepseek-v4-flash"]
    assert argon.model(at("2026-11-30T23:59:59")).prices.input_picousd == 2_000_000
    assert argon.model(at("2026-12-01T00:00:00")).prices.input_picousd == 4_000_000
    assert flash.model(at("2026-11-24T00:30:00")).prices.output_picousd == 600_000
    assert flash.model(at("2026-11-24T07:30:00")).prices.output_picousd == 1_200_000
