"""The gate for what a model's provider cannot be told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.schedule import prices_at
from ainfera_gateway.catalog.seed import LOCAL_MODEL
from ainfera_gateway.routing.decide import decide, pinned
from ainfera_gateway.routing.decision import DecisionInputs, Untold, canonical_bytes
from ainfera_gateway.routing.explain import explain
from ainfera_gateway.routing.refuse import refusal
from tests.unit.routing_facts import facts, slugs, vetoed

LOGPROBS = Untold("logprobs", "this provider tells no log probabilities")
STOP = Untold("stop", "this provider has no stop sequences")


def test_the_next_model_serves_and_the_record_says_why() -> None:
    free = decide(facts())
    decision = decide(facts(uncarried={"mistral-large-3": LOGPROBS}))
    assert (free.slug, slugs(free.fallbacks)[0]) == ("mistral-large-3", "gemini-3-1-pro")
    assert (decision.slug, decision.rule_fired) == ("gemini-3-1-pro", "cheapest_clearing_floor")
    assert (decision.error_code, decision.untold, refusal(decision)) == (None, None, None)
    assert slugs(decision.fallbacks) == slugs(free.fallbacks)[1:]
    rows = {row["slug"]: row for row in json.loads(canonical_bytes(decision))["candidates"]}
    assert (rows["mistral-large-3"]["reason"], rows["mistral-large-3"]["detail"]) == ("capability_missing", "dialect")
    assert decision.dropped["capability_missing"] == 1


def test_a_model_that_may_not_be_followed_is_passed_over_like_any_other() -> None:
    decision = decide(facts(preset="strict_no_fallback", uncarried={"mistral-large-3": LOGPROBS}))
    assert (decision.slug, decision.fallbacks) == ("gemini-3-1-pro", ())


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"rulings": vetoed("mistral")}, "m_allowed_veto", "FAIL"),
        ({"needs": frozenset({"audio"})}, "capability_missing", "audio"),
        ({"input_tokens": 900_000}, "capability_missing", "context_window"),
        ({"min_quality": Decimal("0.99")}, "capability_missing", "dialect"),
        ({"budget_cap_picousd": 0}, "capability_missing", "dialect"),
    ],
)
def test_the_gate_stands_behind_the_capabilities_and_before_the_floor(
    change: dict[str, Any], reason: str, detail: str
) -> None:
    candidate = decide(facts(uncarried={"mistral-large-3": LOGPROBS}, **change)).candidate("mistral-large-3")
    assert (candidate.reason, candidate.detail) == (reason, detail)


def test_a_request_that_nobody_can_be_told_names_the_member_the_best_model_lacks() -> None:
    told: DecisionInputs = facts(uncarried=dict.fromkeys((model.slug for model in facts().models), STOP))
    for preset, best in (("balanced", "mistral-large-3"), ("quality_first", "claude-opus-4-7")):
        inputs = msgspec.structs.replace(told, preset=preset, uncarried={**told.uncarried, best: LOGPROBS})
        decision = decide(inputs)
        error = refusal(decision)
        assert error is not None
        assert (decision.slug, decision.error_code) == (None, "unsupported_content")
        assert decision.rule_fired == "no_candidate_clears_floor"
        assert (error.status, error.code, error.field) == (422, "unsupported_content", "logprobs")
        assert error.message == LOGPROBS.message
        assert json.loads(canonical_bytes(decision))["error_code"] == "unsupported_content"
        assert "5 lacking a needed capability" in explain(decision)


def test_what_another_gate_stops_as_well_is_not_blamed_on_the_member() -> None:
    """The only model that clears the floor is over the budget: without the member nothing would serve either."""
    told = {model.slug: STOP for model in facts().models}
    decision = decide(facts(uncarried=told, min_quality=Decimal("0.95"), budget_cap_picousd=1))
    error = refusal(decision)
    assert error is not None
    assert (error.code, error.field) == ("no_candidate_clears_floor", None)


def test_a_pin_is_refused_by_the_member_behind_its_other_refusals() -> None:
    inputs = facts(uncarried={"claude-opus-4-7": LOGPROBS, LOCAL_MODEL.slug: STOP})
    decision = pinned(inputs, "claude-opus-4-7")
    error = refusal(decision)
    assert error is not None
    assert (decision.slug, decision.error_code, decision.candidates[0].detail) == (
        None,
        "unsupported_content",
        "dialect",
    )
    assert (error.status, error.code, error.field, error.message) == (
        422,
        "unsupported_content",
        "logprobs",
        LOGPROBS.message,
    )
    assert explain(decision) == "claude-opus-4-7 was named by the caller but is lacking a needed capability."
    assert pinned(inputs, "gpt-5-5").slug == "gpt-5-5"
    changes: list[tuple[dict[str, Any], str]] = [
        ({"active_providers": frozenset()}, "model_unavailable"),
        ({"rulings": vetoed("local")}, "brand_not_allowed"),
        ({"needs": frozenset({"tools"})}, "tools_not_supported_by_backend"),
        ({}, "unsupported_content"),
    ]
    for change, code in changes:
        changed = msgspec.structs.replace(inputs, **({"active_providers": frozenset({"local"})} | change))
        assert pinned(changed, LOCAL_MODEL.slug).error_code == code


@pytest.mark.parametrize("lacking", [("mistral-large-3",), ("mistral-large-3", "gpt-5-5"), "all"])
def test_the_record_alone_gives_the_decision_again(lacking: Any) -> None:
    names = [model.slug for model in facts().models] if lacking == "all" else lacking
    decision = decide(facts(uncarried=dict.fromkeys(names, LOGPROBS)))
    rows = json.loads(canonical_bytes(decision))["candidates"]
    # Whose words were missing stands in the record, which words does not: they are the caller's to read.
    stored = {row["slug"]: STOP for row in rows if row["detail"] == "dialect"}
    again = decide(facts(uncarried=stored))
    assert canonical_bytes(again) == canonical_bytes(decision)
    assert again.decision_hash == decision.decision_hash != decide(facts()).decision_hash


def _model(slug: str, prior: str, *usd_per_mtok: int) -> Model:
    lines = dict(zip(("input", "output"), (usd * 10**6 for usd in usd_per_mtok), strict=True))
    return Model(
        slug=slug,
        display_name=slug,
        brand="maker",
        provider="host",
        upstream_model=slug,
        context_window=9_000,
        max_output_tokens=900,
        capabilities=frozenset({"tools"}),
        prior=Decimal(prior),
        prices=prices_at(lines, 0),
    )


def test_the_hashes_of_decisions_that_lack_nothing_stand() -> None:
    """Stored decisions carry these hashes; a change of the canonical form would show here."""
    inputs = DecisionInputs(
        models=(_model("cheap", "0.7", 1, 2), _model("dear", "0.9", 3, 9)),
        active_providers=frozenset({"host"}),
        rulings={"maker": (True, "PASS", 1)},
        input_tokens=100,
        max_tokens=50,
    )
    elsewhere = msgspec.structs.replace(inputs, uncarried={"neither": STOP})
    for same in (inputs, elsewhere):
        assert decide(same).decision_hash == "4ce5dc71034694eebfa116274784eeb1a92cd47147d0c69f26005ccaf86c25d9"
        assert pinned(same, "dear").decision_hash == (
            "d2af0f94f0e1310c738932cf514052f376f242aed4a62426a254f58f90c6cfe7"
        )
