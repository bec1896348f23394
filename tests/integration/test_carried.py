"""What a model's dialect cannot say: a routed call goes to the next model, and the record says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.books import sent_for
from tests.integration.calls import Caller
from tests.simulator.process import Simulator

ROUTER = "ainfera-inference"
BEST: dict[str, Any] = {"preset": "quality_first"}


@pytest.fixture
def caller(gateway: GatewayProcess, agent: dict[str, Any]) -> Caller:
    return Caller(gateway, agent)


def test_the_record_names_whom_the_call_went_to_and_who_could_not_be_told(caller: Caller, simulator: Simulator) -> None:
    best = caller.call(model=ROUTER, routing_hint=BEST, max_tokens=20)
    assert best.headers["x-ainfera-model"] == "claude-opus-4-7"
    answer = caller.call(model=ROUTER, routing_hint=BEST, max_tokens=20, logprobs=True)
    assert answer.status == 200
    outcome = caller.books.outcome_of(caller.agent_id, 1)
    decision = json.loads(outcome["decision"])
    served = answer.headers["x-ainfera-model"]
    routed = [payload for name, payload in caller.books.events(caller.agent_id) if name == "inference.routed"][-1]
    assert served == outcome["model"] == decision["model"] == routed["model"] != "claude-opus-4-7"
    (passed_over,) = (row for row in decision["candidates"] if row["slug"] == "claude-opus-4-7")
    assert (passed_over["reason"], passed_over["detail"]) == ("capability_missing", "dialect")
    assert "claude-opus-4-7" not in decision["fallbacks"]
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.begin["model"] != "claude-opus-4-7"


def test_what_nobody_can_be_told_is_refused_by_the_field_and_recorded(caller: Caller, simulator: Simulator) -> None:
    allowed = {"allowed_brands": ["anthropic"]}
    with caller.gateway.client(caller.key) as client:
        assert client.patch(f"/v1/agents/{caller.agent_id}/spend-policy", json=allowed).status_code == 200
    count, balance = simulator.count(), caller.balance
    answer = caller.call(model=ROUTER, routing_hint=BEST, logprobs=True)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (422, "unsupported_content", "logprobs")
    pinned = caller.call(model="claude-opus-4-7", logprobs=True)
    assert (pinned.status, pinned.error["code"], pinned.error["param"]) == (422, "unsupported_content", "logprobs")
    assert (simulator.count(), caller.balance) == (count, balance)
