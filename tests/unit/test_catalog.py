from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.catalog.model import catalog_of
from ainfera_gateway.catalog.price import (
    PriceError,
    Prices,
    cost_picousd,
    decimal_text,
    output_tokens_payable,
    output_tokens_reserved,
    per_million,
    projected_picousd,
    usd_per_million,
)
from ainfera_gateway.catalog.seed import ANCHORS, LOCAL_MODEL, SEED_MODELS, SEED_PROVIDERS, SEED_VERDICTS, seed_catalog

tokens = st.integers(0, 10**7)
line = st.integers(0, 10**9)
price_lines = st.builds(Prices, line, line, st.none() | line, st.none() | line)


def test_a_list_price_is_a_whole_number_of_picousd_per_token() -> None:
    assert per_million("5") == 5_000_000
    assert per_million("1.25") == 1_250_000
    assert per_million("0.01") == 10_000
    for refused in ("0.0000001", "-1"):
        with pytest.raises(PriceError):
            per_million(refused)


@given(line)
def test_a_price_per_million_reads_back(picousd: int) -> None:
    assert per_million(usd_per_million(picousd)) == picousd


def test_cached_and_written_tokens_are_parts_of_the_input() -> None:
    prices = Prices(per_million("5"), per_million("15"), per_million("0.5"), per_million("6.25"))
    usage = Usage(input_tokens=1000, output_tokens=10, cached_input_tokens=600, cache_write_tokens=300)
    expected = 100 * 5_000_000 + 600 * 500_000 + 300 * 6_250_000 + 10 * 15_000_000
    assert cost_picousd(usage, prices) == expected


def test_a_class_without_a_line_is_billed_as_input() -> None:
    prices = Prices(per_million("5"), per_million("15"))
    usage = Usage(input_tokens=1000, output_tokens=0, cached_input_tokens=600, cache_write_tokens=300)
    assert cost_picousd(usage, prices) == 1000 * 5_000_000


def test_a_line_of_zero_is_free_and_not_absent() -> None:
    prices = Prices(per_million("5"), per_million("15"), 0, 0)
    usage = Usage(input_tokens=10, output_tokens=0, cached_input_tokens=6, cache_write_tokens=4)
    assert cost_picousd(usage, prices) == 0


def test_classes_beyond_the_input_are_billed_as_reported() -> None:
    usage = Usage(input_tokens=5, output_tokens=0, cached_input_tokens=8)
    assert cost_picousd(usage, Prices(3, 7, 2)) == 16


def test_negative_counts_are_refused_and_unknown_ones_are_zero() -> None:
    assert cost_picousd(Usage(), Prices(3, 7)) == 0
    with pytest.raises(PriceError):
        cost_picousd(Usage(input_tokens=-1, output_tokens=1), Prices(3, 7))


def test_the_projection_rounds_up_to_a_micro_usd() -> None:
    prices = Prices(per_million("0.01"), per_million("0.01"))
    assert projected_picousd(prices, 0, 0) == 0
    assert projected_picousd(prices, 1, 0) == 1_000_000
    assert projected_picousd(prices, 50, 50) == 1_000_000
    assert projected_picousd(prices, 50, 51) == 2_000_000


@given(st.builds(Prices, line, line), tokens, tokens)
def test_the_projection_covers_the_cost_by_less_than_a_micro_usd(prices: Prices, inputs: int, outputs: int) -> None:
    exact = inputs * prices.input_picousd + outputs * prices.output_picousd
    over = projected_picousd(prices, inputs, outputs) - exact
    assert 0 <= over < 1_000_000


@given(price_lines.filter(lambda prices: prices.output_picousd > 0), tokens, st.integers(0, 10**15))
def test_payable_output_is_the_most_that_funds_cover(prices: Prices, inputs: int, funds: int) -> None:
    payable = output_tokens_payable(prices, inputs, funds)
    if payable >= 0:
        assert projected_picousd(prices, inputs, payable) <= funds
    assert projected_picousd(prices, inputs, payable + 1) > funds


@pytest.mark.parametrize(
    ("asked", "model_max", "reserved"),
    [(100, 4096, 100), (128_000, 4096, 4096), (None, 4096, 4096), (None, 64_000, 16_384)],
)
def test_reserved_output_is_what_was_asked_within_the_model(asked: int | None, model_max: int, reserved: int) -> None:
    assert output_tokens_reserved(asked, model_max) == reserved


@pytest.mark.parametrize(
    ("value", "text"), [("0.680", "0.68"), ("1E+2", "100"), ("-0", "0"), ("0.00", "0"), ("1E-7", "0.0000001")]
)
def test_equal_decimals_have_one_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


def test_the_anchors_are_the_contracts() -> None:
    seen = {
        model.slug: (
            str(model.prior),
            usd_per_million(model.prices.input_picousd),
            usd_per_million(model.prices.output_picousd),
            model.brand,
            model.provider,
        )
        for model in ANCHORS
    }
    assert seen == {
        "claude-opus-4-7": ("0.95", "15.00", "75.00", "anthropic", "anthropic"),
        "gpt-5-5": ("0.90", "5.00", "15.00", "openai", "openai"),
        "gemini-3-1-pro": ("0.87", "1.25", "10.00", "google", "gemini"),
        "grok-4": ("0.86", "5.00", "15.00", "xai", "xai"),
        "mistral-large-3": ("0.74", "2.00", "6.00", "mistral", "mistral"),
    }
    assert {model.aa_index_source for model in ANCHORS} == {"routing_backend_v1_lock"}
    assert (LOCAL_MODEL.brand, str(LOCAL_MODEL.prior), LOCAL_MODEL.prior_source) == ("local", "0.10", "operator")
    assert usd_per_million(LOCAL_MODEL.prices.input_picousd) == "0.01"
    assert usd_per_million(LOCAL_MODEL.prices.output_picousd) == "0.01"


def test_the_seed_is_closed_under_its_own_names() -> None:
    providers = {provider.slug: provider for provider in SEED_PROVIDERS}
    assert set(providers) == {
        *("anthropic", "openai", "gemini", "mistral", "together", "xai", "groq", "deepseek", "fireworks"),
        *("openrouter", "cerebras", "azure", "local"),
    }
    assert len({model.slug for model in SEED_MODELS}) == len(SEED_MODELS)
    assert all(model.provider in providers for model in SEED_MODELS)
    assert all(0 < model.max_output_tokens < model.context_window for model in SEED_MODELS)
    for provider in SEED_PROVIDERS:
        assert provider.base_url == "" or provider.base_url.startswith("https://")
        assert not provider.base_url.endswith("/")
        assert (provider.api_key_env, provider.base_url_env) == (
            f"{provider.slug.upper()}_API_KEY",
            f"{provider.slug.upper()}_BASE_URL",
        )
    assert providers["gemini"].base_url.endswith("/openai")
    assert [slug for slug, provider in providers.items() if not provider.knows_usage_option] == ["mistral"]
    assert providers["openai"].max_tokens_field == "max_completion_tokens"
    assert providers["groq"].max_tokens_field == "max_tokens"


def test_every_brand_with_a_prior_has_a_seeded_pass() -> None:
    assert {row.brand for row in SEED_VERDICTS} == {"anthropic", "openai", "google", "xai", "mistral", "local"}
    assert {(row.verdict, row.decided_by, row.version) for row in SEED_VERDICTS} == {("PASS", "seed", 1)}


def test_a_model_is_active_only_where_its_provider_is() -> None:
    catalog = seed_catalog()
    assert list(catalog.models) == sorted(catalog.models)
    model = catalog.models["gpt-5-5"]
    assert catalog.status(model, frozenset({"openai"})) == "active"
    assert catalog.status(model, frozenset({"xai"})) == "not_configured"
    assert catalog_of([model], []).status(model, frozenset({"openai"})) == "disabled"
    assert catalog.active_providers(frozenset({"openai", "unheard-of"})) == {"openai"}


def test_only_models_with_a_prior_are_candidates() -> None:
    assert list(seed_catalog().candidates) == sorted(SEED_MODELS, key=lambda model: model.slug)


@pytest.mark.parametrize(
    "change",
    [
        {"prior": Decimal("0.1")},
        {"prices": Prices(1, 2, 3)},
        {"enabled": False},
        {"capabilities": frozenset({"tools"})},
        {"capabilities": frozenset(), "capabilities_known": False},
        {"latency_ms": 1},
        {"wire": "openai_responses"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_version_of_a_catalog_is_the_hash_of_its_facts(change: dict[str, Any]) -> None:
    version = catalog_of(SEED_MODELS, SEED_PROVIDERS).version
    assert len(version) == 64
    assert catalog_of(SEED_MODELS[::-1], SEED_PROVIDERS[::-1]).version == version
    changed = (msgspec.structs.replace(SEED_MODELS[0], **change), *SEED_MODELS[1:])
    assert catalog_of(changed, SEED_PROVIDERS).version != version
    off = (msgspec.structs.replace(SEED_PROVIDERS[0], enabled=False), *SEED_PROVIDERS[1:])
    assert catalog_of(SEED_MODELS, off).version != version
