"""The data file against the package it was made from, whose own arithmetic is the oracle of every shipped price."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import types
from genai_prices.data import providers as price_data

from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.catalog.imported import day_us, imported
from ainfera_gateway.catalog.price import cost_picousd
from ainfera_gateway.catalog.seed import SEED_MODELS, SEED_PROVIDERS, seed_catalog
from tools.catalog_facts import PROVIDERS, brand_of, output_tokens
from tools.catalog_import import DATA, LEFT_OUT_FILE, Import, imported_today, render
from tools.catalog_prices import LeftOutError, dated_prices

TODAY = date(2026, 11, 24)
USAGES = [
    # input in all, read from a cache, written to one, output
    (1_000, 0, 0, 100),
    (250_000, 100_000, 0, 3),
    (99_999, 10_000, 40_000, 0),
    (1_000_001, 0, 7, 77),
]


@pytest.fixture(scope="module")
def run() -> Import:
    return imported_today(imported().imported_on)


def test_the_shipped_file_is_what_the_locked_package_gives(run: Import) -> None:
    """When this fails after an update of the package: ``make catalog``."""
    assert run.result() == imported()
    assert render(run.result()) == (DATA / "models.json").read_bytes()
    assert run.left_out == json.loads((DATA / LEFT_OUT_FILE).read_bytes())


def test_every_model_is_imported_or_left_out_with_a_reason(run: Import) -> None:
    listed = {
        f"{PROVIDERS[provider.id]}/{model.id}"
        for provider in price_data
        if provider.id in PROVIDERS
        for model in provider.models
    }
    assert set(PROVIDERS.values()) == {provider.slug for provider in SEED_PROVIDERS} - {"local"}
    assert set(run.left_out) <= listed
    anchors = sum(model.provider != "local" for model in SEED_MODELS)
    # Two of the anchors' names at their providers are in the data under no id of their own.
    assert len(listed) - len(run.left_out) - len(imported().models) in range(1, anchors + 1)
    assert len(imported().models) > 1_000
    assert all(run.left_out.values())


def test_every_shipped_price_costs_what_the_package_says() -> None:
    moment = datetime.combine(imported().imported_on, time(), UTC)
    models = {(model.provider, model.slug): model for model in seed_catalog().models.values()}
    compared = 0
    for provider in price_data:
        for theirs in provider.models if provider.id in PROVIDERS else ():
            ours = PROVIDERS[provider.id]
            found = models.get((ours, theirs.id)) or models.get((ours, f"{ours}/{theirs.id}"))
            if found is None or found.prior is not None:
                continue
            for whole, cached, written, output in USAGES:
                said = 0 if found.makes_embeddings else output
                if found.makes_embeddings:
                    cached, written = 0, 0  # noqa: PLW2901 - an embedding caches nothing
                usage = TheirUsage(
                    input_tokens=whole, output_tokens=said, cache_read_tokens=cached, cache_write_tokens=written
                )
                price = theirs.calc_price(usage, provider, genai_request_timestamp=moment).total_price
                assert cost_picousd(Usage(whole, said, cached, written), found.prices) == price * 10**12, found.slug
                compared += 1
    assert compared > 4_000


def test_names_lead_to_models_and_hide_none() -> None:
    data = imported()
    slugs = [model.slug for model in (*SEED_MODELS, *data.models)]
    assert len(slugs) == len(set(slugs))
    for table in (data.exact, data.dated):
        assert all(slug in slugs and upstream for slug, upstream in table.values())
    assert not set(data.exact) & set(slugs)
    assert not {"gpt-5.5", "claude-opus-4-7", "grok-4", "grok-4-0709"} & {model.slug for model in data.models}
    for model in data.models:
        assert model.slug.startswith(f"{model.provider}/") is (
            model.provider in {"azure", "openrouter", "together", "fireworks", "groq", "cerebras"}
        )
        assert 0 < model.max_output_tokens <= model.context_window
        assert model.brand == model.brand.lower()
        assert " " not in model.brand + model.slug


@pytest.mark.parametrize(
    ("provider", "model", "brand"),
    [
        ("openrouter", "anthropic/claude-opus-4.5", "anthropic"),
        ("openrouter", "~anthropic/claude-latest", "anthropic"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "meta"),
        ("groq", "qwen/qwen3-32b", "qwen"),
        ("openrouter", "mistralai/codestral-2508:batch", "mistral"),
        ("fireworks", "kimi-k3", "moonshotai"),
        ("azure", "o4-mini", "openai"),
        ("openrouter", "goliath-120b", "openrouter"),
    ],
)
def test_the_brand_is_the_maker(provider: str, model: str, brand: str) -> None:
    assert brand_of(provider, model) == brand


@pytest.mark.parametrize(
    ("model", "context", "limit"),
    [
        ("gpt-4o-mini", 128_000, 16_384),
        ("claude-3-haiku", 200_000, 4_096),
        ("gpt-4", 8_192, 4_096),
        ("someone/unheard-of", 131_072, 131_072),
        ("someone/unheard-of", 1_000_000, 131_072),
        ("phi-4", 16_384, 8_192),
    ],
)
def test_an_output_limit_is_the_makers_or_all_that_the_window_holds(model: str, context: int, limit: int) -> None:
    assert output_tokens(model, context) == limit


def priced(prices: Any) -> types.ModelInfo:
    return types.ModelInfo(id="m", match=types.ClauseEquals("m"), prices=prices)


def usd(**prices: Any) -> types.ModelPrice:
    return types.ModelPrice(
        **{name: Decimal(value) if isinstance(value, str) else value for name, value in prices.items()}
    )


def lines(prices: Any, **flags: bool) -> dict[str | None, dict[str, int]]:
    found = dated_prices(priced(prices), TODAY, **{"embeddings": False, "anthropic": False, **flags})
    return {None if dated.since is None else str(dated.since): dated.lines for dated in found}


def test_prices_are_read_digit_by_digit() -> None:
    plain = usd(input_mtok="0.0375", output_mtok="0.003625", web_searches_kcount="10")
    assert lines(plain) == {None: {"input": 37_500, "output": 3_625, "web_search": 10**10}}
    tiers = types.TieredPrices(Decimal(3), [types.Tier(32_000, Decimal(6)), types.Tier(128_000, Decimal(9))])
    assert lines(usd(input_mtok=tiers, output_mtok="1")) == {
        None: {"input": 3_000_000, "input@128000": 9_000_000, "input@32000": 6_000_000, "output": 1_000_000}
    }


def test_of_dated_prices_those_that_hold_and_those_to_come_are_kept() -> None:
    entries = [
        types.ConditionalPrice(start and types.StartDateConstraint(date.fromisoformat(start)), prices=usd(
            input_mtok=price, output_mtok=price
        ))
        for start, price in [(None, "1"), ("2026-03-01", "2"), ("2026-11-24", "3"), ("2027-01-01", "4")]
    ]  # fmt: skip
    assert lines(entries) == {
        "2026-11-24": {"input": 3_000_000, "output": 3_000_000},
        "2027-01-01": {"input": 4_000_000, "output": 4_000_000},
    }
    assert day_us(TODAY) == 1_795_478_400_000_000


def test_hours_of_the_day_stand_behind_the_lines_they_replace() -> None:
    window = types.TimeOfDateConstraint(time(16, 30, tzinfo=UTC), time(0, 30, tzinfo=UTC))
    entries = [
        types.ConditionalPrice(prices=usd(input_mtok="1", output_mtok="2")),
        types.ConditionalPrice(window, prices=usd(input_mtok="3", output_mtok="4")),
    ]
    assert lines(entries)[None] == {
        "input": 1_000_000, "output": 2_000_000, "input~1630-0030": 3_000_000, "output~1630-0030": 4_000_000,
    }  # fmt: skip
    assert lines(entries[::-1])[None] == {"input": 1_000_000, "output": 2_000_000}


def test_an_hours_write_is_derived_for_its_maker_alone() -> None:
    short = usd(input_mtok="3", output_mtok="15", cache_write_mtok="3.75")
    assert lines(short, anthropic=True)[None]["cache_write_1h"] == 6_000_000
    assert "cache_write_1h" not in lines(short)[None]
    assert "cache_write_1h" not in lines(usd(input_mtok="3", output_mtok="15"), anthropic=True)[None]


def test_an_embedding_costs_its_text_alone() -> None:
    prices = usd(input_mtok="0.2", output_mtok="0.1", input_image_mtok="9")
    assert lines(prices, embeddings=True) == {None: {"input": 200_000, "output": 0}}


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        ({"input_mtok": "0.08333333333333334", "output_mtok": "1"}, "no whole number"),
        ({"input_mtok": "1", "output_mtok": "1", "output_image_mtok": "30"}, "output_image_mtok"),
        ({"audio_hours": "1"}, "audio_hours"),
        ({"input_mtok": "1"}, "no output price"),
        ({"output_mtok": "1"}, "no input price"),
        ({}, "free or unpriced"),
        ({"input_mtok": "0", "output_mtok": "0"}, "free or unpriced"),
    ],
)
def test_what_cannot_be_billed_exactly_is_left_out(prices: dict[str, str], reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        lines(usd(**prices))
