"""The decision against an oracle written from the contract alone, and laws that hold between decisions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.price import Prices
from ainfera_gateway.routing.decide import decide
from ainfera_gateway.routing.decision import DecisionInputs, Untold
from ainfera_gateway.routing.explain import explain
from ainfera_gateway.routing.refuse import refusal

PROVIDERS = ("p", "q", "r")
BRANDS = ("a", "b", "c", "d")
CAPABILITIES = ("tools", "vision", "structured_output")
PRESETS = ("balanced", "latency_first", "cost_first", "quality_first", "compliance_first", "strict_no_fallback")
TASKS = ("reasoning", "code", "extraction", "chat", "tool_use", "embed", "general")

# Few distinct values, so that ties and exact hits of a bound are common.
quality = st.sampled_from(["0", "0.5", "0.52", "0.58", "0.68", "0.680", "0.7", "0.78", "0.88", "0.9", "1"]).map(Decimal)
PRICES = (1, 333_333, 1_250_000, 5_000_000)
SLUGS = st.sampled_from([f"m{number}" for number in range(12)])
capability_sets = st.frozensets(st.sampled_from(CAPABILITIES))


def models(prices: Any, priors: Any, enabled: Any) -> Any:
    """Catalogs of up to eight models, sorted by nothing."""
    one = st.builds(
        Model,
        slug=SLUGS,
        display_name=st.just("a model"),
        brand=st.sampled_from(BRANDS),
        provider=st.sampled_from(PROVIDERS),
        upstream_model=st.just("upstream"),
        context_window=st.sampled_from([10**6, 100, 1_000]),
        max_output_tokens=st.sampled_from([10, 500, 20_000]),
        capabilities=capability_sets,
        prices=st.builds(Prices, prices, prices),
        prior=priors,
        latency_ms=st.sampled_from([None, 10, 20, 30]),
        agentic_index=st.sampled_from([None, Decimal(10), Decimal(20)]),
        enabled=enabled,
    )
    return st.lists(one, unique_by=lambda model: model.slug, max_size=8).map(tuple)


any_request = st.builds(
    DecisionInputs,
    models=models(st.sampled_from([*PRICES, 0]), st.none() | quality, st.sampled_from([True, True, True, False])),
    active_providers=st.frozensets(st.sampled_from(PROVIDERS), min_size=1),
    rulings=st.dictionaries(
        st.sampled_from(BRANDS), st.tuples(st.sampled_from([True, True, False]), st.just("why"), st.integers(1, 3))
    ),
    input_tokens=st.sampled_from([0, 1, 99, 100, 500, 999, 1_000, 50_000]),
    max_tokens=st.sampled_from([None, 1, 10, 500, 30_000]),
    needs=st.just(frozenset[str]()) | capability_sets,
    task_type=st.sampled_from([None, *TASKS]),
    min_quality=st.none() | quality,
    policy_floor=st.none() | quality,
    budget_cap_picousd=st.sampled_from([None, 0, 1_000_000, 10**9, 10**10, 10**12]),
    latency_cap_ms=st.sampled_from([None, 10, 20, 29]),
    agentic_floor=st.sampled_from([None, Decimal(10), Decimal(15)]),
    preset=st.sampled_from([None, *PRESETS]),
    policy_preset=st.sampled_from([None, None, *PRESETS]),
    uncarried=st.dictionaries(SLUGS, st.builds(Untold, st.sampled_from(["n", "stop"]), st.just("not here"))),
)
# Few gates close, so that most of these have a winner and the order decides.
open_request = st.builds(
    DecisionInputs,
    models=models(st.sampled_from(PRICES), quality, st.just(True)),
    active_providers=st.just(frozenset(PROVIDERS)),
    rulings=st.fixed_dictionaries(
        {brand: st.tuples(st.sampled_from([True, True, True, False]), st.just("why"), st.just(1)) for brand in BRANDS}
    ),
    input_tokens=st.sampled_from([0, 1, 99]),
    max_tokens=st.sampled_from([None, 1, 500]),
    needs=st.just(frozenset[str]()),
    task_type=st.sampled_from([None, *TASKS]),
    min_quality=st.none() | quality,
    preset=st.sampled_from([None, *PRESETS]),
    policy_preset=st.sampled_from([None, None, *PRESETS]),
)
requests = any_request | open_request

TASK_FLOORS = {
    "reasoning": 88,
    "code": 78,
    "tool_use": 78,
    "general": 68,
    "chat": 58,
    "extraction": 58,
    "embed": 52,
}


def floor_of(asked: DecisionInputs) -> Fraction:
    own = (
        Fraction(asked.min_quality)
        if asked.min_quality is not None
        else Fraction(TASK_FLOORS[asked.task_type or "general"], 100)
    )
    return max(own, Fraction(asked.policy_floor or 0))


def failures(model: Model, asked: DecisionInputs) -> list[str]:
    """All gates that a model fails, in the contract's order, in exact fractions of a dollar."""
    million = 10**6
    usd_in = Fraction(model.prices.input_picousd, 10**12)
    usd_out = Fraction(model.prices.output_picousd, 10**12)
    wanted = 16_384 if asked.max_tokens is None else asked.max_tokens
    output = min(wanted, model.max_output_tokens)
    exact = asked.input_tokens * usd_in + output * usd_out
    micro = exact * million
    projected = Fraction(micro.numerator // micro.denominator + (micro.denominator != 1), million)
    room = asked.input_tokens + (output if asked.max_tokens is not None else 1)
    budget, latency, agentic = asked.budget_cap_picousd, asked.latency_cap_ms, asked.agentic_floor
    checks = [
        ("not_configured", model.enabled and model.provider in asked.active_providers),
        ("not_enrolled_no_price", usd_in > 0 and usd_out > 0),
        ("not_enrolled_no_q_prior", model.prior is not None),
        ("m_allowed_veto", model.brand in asked.rulings and asked.rulings[model.brand][0]),
        (
            "capability_missing",
            not (asked.needs - model.capabilities)
            and room <= model.context_window
            and model.slug not in asked.uncarried,
        ),
        ("below_quality_floor", model.prior is None or Fraction(model.prior) >= floor_of(asked)),
        ("exceeds_budget_cap", budget is None or projected <= Fraction(budget, 10**12)),
        ("exceeds_latency_cap", latency is None or model.latency_ms is None or model.latency_ms <= latency),
        ("below_agentic_floor", agentic is None or model.agentic_index is None or model.agentic_index >= agentic),
    ]
    return [name for name, passed in checks if not passed]


def better(left: Model, right: Model, preset: str) -> bool:
    """Whether ``left`` goes before ``right``: pairwise comparison, so that no sort key is shared with the code."""

    def price_of(model: Model) -> int:
        return model.prices.input_picousd + model.prices.output_picousd

    def prior_of(model: Model) -> Fraction:
        assert model.prior is not None
        return Fraction(model.prior)

    if preset == "latency_first" and left.latency_ms != right.latency_ms:
        if left.latency_ms is None or right.latency_ms is None:
            return right.latency_ms is None
        return left.latency_ms < right.latency_ms
    if preset == "quality_first" and prior_of(left) != prior_of(right):
        return prior_of(left) > prior_of(right)
    if price_of(left) != price_of(right):
        return price_of(left) < price_of(right)
    if prior_of(left) != prior_of(right):
        return prior_of(left) > prior_of(right)
    return left.slug < right.slug


def oracle(asked: DecisionInputs) -> tuple[str | None, list[str], str, dict[str, str]]:
    """Chosen slug, fallbacks, rule and the reason of every model."""
    drops = {model.slug: failures(model, asked) for model in asked.models}
    preset = asked.preset or asked.policy_preset or "balanced"
    if asked.policy_preset == "cost_first":
        preset = "cost_first"
    left = [model for model in asked.models if not drops[model.slug]]
    order = sorted(left, key=lambda model: sum(better(other, model, preset) for other in left))
    reasons = {slug: (found[0] if found else "eligible") for slug, found in drops.items()}
    early = {"not_configured", "not_enrolled_no_price", "not_enrolled_no_q_prior", "m_allowed_veto"}
    if not order:
        reached = any(reason not in early for reason in reasons.values())
        return None, [], "no_candidate_clears_floor" if reached else "no_candidate_enrolled", reasons
    first = order[0]
    bar = first.prices.input_picousd + first.prices.output_picousd
    veto = any(
        reasons[model.slug] == "m_allowed_veto"
        and Fraction(model.prior or 0) >= floor_of(asked)
        and model.prices.input_picousd + model.prices.output_picousd < bar
        for model in asked.models
    )
    strict = {"compliance_first", "strict_no_fallback"} & {asked.preset, asked.policy_preset}
    fallbacks = [] if strict else [model.slug for model in order[1:]]
    return first.slug, fallbacks, "m_allowed_veto_applied" if veto else "cheapest_clearing_floor", reasons


@settings(max_examples=400, deadline=None)
@given(requests)
def test_the_decision_agrees_with_the_oracle(asked: DecisionInputs) -> None:
    decision = decide(asked)
    slug, fallbacks, rule, reasons = oracle(asked)
    assert {candidate.slug: candidate.reason for candidate in decision.candidates} == reasons
    assert (decision.slug, [model.slug for model in decision.fallbacks], decision.rule_fired) == (slug, fallbacks, rule)
    assert (refusal(decision) is None) is (slug is not None)
    assert explain(decision).endswith(".")


@settings(max_examples=200, deadline=None)
@given(requests)
def test_what_cannot_be_told_is_the_error_only_where_it_alone_stands_in_the_way(asked: DecisionInputs) -> None:
    decision, (freely, *_) = decide(asked), oracle(msgspec.structs.replace(asked, uncarried={}))
    error = refusal(decision)
    if decision.slug is not None:
        assert error is None
    elif freely is None:
        assert error is not None
        assert (error.code, error.field) == (decision.rule_fired, None)
    else:
        assert error is not None
        assert (error.status, error.code) == (422, "unsupported_content")
        assert error.field == asked.uncarried[freely].field


@settings(max_examples=100, deadline=None)
@given(requests, st.randoms(use_true_random=False))
def test_the_order_of_the_catalog_changes_nothing(asked: DecisionInputs, random: Any) -> None:
    shuffled = list(asked.models)
    random.shuffle(shuffled)
    again = decide(msgspec.structs.replace(asked, models=tuple(shuffled)))
    assert again.decision_hash == decide(asked).decision_hash


@settings(max_examples=100, deadline=None)
@given(requests)
def test_dropping_a_loser_never_changes_the_winner(asked: DecisionInputs) -> None:
    decision = decide(asked)
    for candidate in decision.candidates:
        if candidate.slug == decision.slug:
            continue
        fewer = tuple(model for model in asked.models if model.slug != candidate.slug)
        assert decide(msgspec.structs.replace(asked, models=fewer)).slug == decision.slug


@settings(max_examples=100, deadline=None)
@given(open_request)
def test_dropping_the_winner_promotes_the_first_fallback(asked: DecisionInputs) -> None:
    decision = decide(asked)
    if decision.chosen is None or not decision.fallback_allowed:
        return
    fewer = tuple(model for model in asked.models if model.slug != decision.slug)
    after = decide(msgspec.structs.replace(asked, models=fewer))
    assert after.slug == (decision.fallbacks[0].slug if decision.fallbacks else None)
    assert after.fallbacks == decision.fallbacks[1:]


@settings(max_examples=100, deadline=None)
@given(open_request)
def test_a_cheaper_equal_of_the_winner_wins(asked: DecisionInputs) -> None:
    decision = decide(asked)
    if decision.chosen is None:
        return
    prices = decision.chosen.prices
    if prices.input_picousd == 1:
        return
    twin = msgspec.structs.replace(
        decision.chosen, slug="zz-twin", prices=msgspec.structs.replace(prices, input_picousd=prices.input_picousd - 1)
    )
    assert decide(msgspec.structs.replace(asked, models=(*asked.models, twin))).slug == "zz-twin"


@settings(max_examples=100, deadline=None)
@given(open_request)
def test_a_vetoed_brand_never_serves(asked: DecisionInputs) -> None:
    decision = decide(asked)
    if decision.chosen is None:
        return
    brand = decision.chosen.brand
    vetoed = decide(msgspec.structs.replace(asked, rulings={**asked.rulings, brand: (False, "FAIL", 9)}))
    serving = [model for model in (vetoed.chosen, *vetoed.fallbacks) if model is not None]
    assert all(model.brand != brand for model in serving)
    if vetoed.chosen is not None and asked.preset in (None, "balanced") and asked.policy_preset is None:
        cheaper = vetoed.chosen.prices.combined_picousd > decision.chosen.prices.combined_picousd
        assert not cheaper or vetoed.rule_fired == "m_allowed_veto_applied"


@settings(max_examples=100, deadline=None)
@given(requests, quality)
def test_raising_the_floor_never_lowers_the_prior_served(asked: DecisionInputs, raised: Decimal) -> None:
    before = decide(asked)
    after = decide(msgspec.structs.replace(asked, min_quality=max(raised, before.floor)))
    if after.chosen is None:
        return
    assert before.chosen is not None
    assert after.chosen.prior is not None
    assert before.chosen.prior is not None
    assert after.chosen.prior >= max(raised, before.chosen.prior)


@settings(max_examples=100, deadline=None)
@given(requests, st.integers(0, 10**13))
def test_a_budget_only_takes_away_and_is_kept(asked: DecisionInputs, cap: int) -> None:
    free = decide(msgspec.structs.replace(asked, budget_cap_picousd=None))
    bound = decide(msgspec.structs.replace(asked, budget_cap_picousd=cap))
    eligible = {candidate.slug for candidate in free.candidates if candidate.reason == "eligible"}
    for candidate in bound.candidates:
        if candidate.reason == "eligible":
            assert candidate.slug in eligible
            assert candidate.projected_picousd <= cap
