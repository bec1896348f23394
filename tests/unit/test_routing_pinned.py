"""Models that the caller names."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ainfera_gateway.catalog.schedule import prices_at
from ainfera_gateway.catalog.seed import ANCHORS, LOCAL_MODEL
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.routing.decide import decide, pinned
from ainfera_gateway.routing.refuse import refusal
from tests.unit.routing_facts import MODELS, facts, slugs


def test_a_pin_makes_no_choice() -> None:
    decision = pinned(facts(min_quality=Decimal("0.99"), budget_cap_picousd=0), "mistral-large-3")
    assert (decision.slug, decision.decision_type, decision.router) == ("mistral-large-3", "pinned", "direct")
    assert (decision.rule_fired, decision.fallbacks, refusal(decision)) == ("pinned", (), None)
    assert slugs(tuple(candidate.model for candidate in decision.candidates)) == ["mistral-large-3"]


def test_a_model_without_a_prior_may_be_pinned_and_one_without_a_price_may_not() -> None:
    bare = msgspec.structs.replace(MODELS["gpt-5-5"], prior=None)
    assert pinned(facts(models=(bare,)), "gpt-5-5").slug == "gpt-5-5"
    for lines in ({}, {"input": 5}, {"output": 5}, {"cached_input": 5}):
        unpriced = msgspec.structs.replace(bare, prices=prices_at(lines, 0))
        decision = pinned(facts(models=(unpriced,)), "gpt-5-5")
        error = refusal(decision)
        assert error is not None
        assert (decision.slug, error.status, error.code) == (None, 422, "model_unavailable")
        assert "no price" in str(error)
        assert decide(facts(models=(unpriced,))).candidates[0].reason == "not_enrolled_no_price"
    free = msgspec.structs.replace(bare, prices=prices_at({"input": 0, "output": 0}, 0))
    assert pinned(facts(models=(free,)), "gpt-5-5").slug == "gpt-5-5"


def test_what_is_not_known_to_be_missing_does_not_refuse_a_pin() -> None:
    tools = frozenset({"tools"})
    unknown, responses = MODELS["gpt-4o"], MODELS["gpt-5.5-pro"]
    assert (unknown.capabilities, unknown.capabilities_known) == (frozenset(), False)
    assert pinned(facts(models=(unknown,), needs=tools), "gpt-4o").slug == "gpt-4o"
    assert (responses.wire, responses.prior, responses.capabilities_known) == ("openai_responses", None, True)
    assert pinned(facts(models=(responses,)), "gpt-5.5-pro").slug == "gpt-5.5-pro"
    error = refusal(pinned(facts(models=(responses,), needs=tools), "gpt-5.5-pro"))
    assert error is not None
    assert error.code == "tools_not_supported_by_backend"


@pytest.mark.parametrize(
    ("slug", "needs", "served"),
    [
        ("text-embedding-3-small", {"embeddings"}, True),
        ("text-embedding-3-small", set(), False),
        ("gpt-4o", {"embeddings"}, False),
        ("gpt-5-5", {"embeddings"}, False),
        ("gpt-5-5", set(), True),
    ],
)
def test_embedding_models_embed_and_the_others_chat(slug: str, needs: set[str], served: bool) -> None:
    decision = pinned(facts(models=(MODELS[slug],), needs=frozenset(needs)), slug)
    assert (decision.slug == slug) is served
    error = refusal(decision)
    assert (error is None) is served
    assert error is None or (error.status, error.code) == (422, "model_unavailable")
    enrolled = msgspec.structs.replace(MODELS[slug], prior=Decimal("0.9"), prices=ANCHORS[0].prices)
    routed = decide(facts(models=(enrolled,), needs=frozenset(needs)))
    assert (routed.slug == slug) is served
    assert served or routed.candidates[0].reason == "capability_missing"


@pytest.mark.parametrize(
    ("change", "status", "code", "detail"),
    [
        ({"active_providers": frozenset()}, 422, "model_unavailable", {"model": LOCAL_MODEL.slug, "provider": "local"}),
        (
            {"rulings": {"local": (False, "FAIL", 7)}},
            403,
            "brand_not_allowed",
            {"brand": "local", "model": LOCAL_MODEL.slug, "verdict_version": 7},
        ),
        ({"needs": frozenset({"tools"})}, 422, "tools_not_supported_by_backend", {"backend": LOCAL_MODEL.slug}),
    ],
)
def test_a_pin_is_refused(change: dict[str, Any], status: int, code: str, detail: dict[str, Any]) -> None:
    decision = pinned(facts(**({"active_providers": frozenset({"local"})} | change)), LOCAL_MODEL.slug)
    error = refusal(decision)
    assert error is not None
    assert decision.slug is None
    assert (error.status, error.code) == (status, code)
    assert detail.items() <= error.detail.items()
    if code == "model_unavailable":
        assert error.top == detail
    if code == "tools_not_supported_by_backend":
        assert "ainfera-inference" in error.detail["hint"]


def test_a_pin_of_an_unknown_slug_is_unavailable() -> None:
    with pytest.raises(GatewayError) as caught:
        pinned(facts(), "gpt-nine")
    assert caught.value.code == "model_unavailable"
