"""What a model's dialect cannot say: a routed call goes to the next model, and the record says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.books import cost_of, sent_for
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


STOPS = [f"stop {number}" for number in range(5)]
"""One more than the dialect of every chat provider can say; Anthropic's own has no such limit."""


@pytest.mark.parametrize(("stream", "preset"), [(False, "balanced"), (True, "strict_no_fallback")])
def test_books_header_and_provider_name_one_model_when_the_cheapest_cannot_be_told(
    caller: Caller, simulator: Simulator, stream: bool, preset: str
) -> None:
    hint = {"preset": preset}
    free = caller.call(model=ROUTER, path="/v1/messages", max_tokens=20, routing_hint=hint)
    assert free.headers["x-ainfera-model"] == "mistral-large-3"
    before = caller.balance
    body = {"model": ROUTER, "max_tokens": 20, "stop_sequences": STOPS, "routing_hint": hint, "stream": stream}
    with caller.gateway.client(caller.key) as client:
        answer = client.post("/v1/messages", json={**body, "messages": [{"role": "user", "content": "hi"}]})
    assert answer.status_code == 200
    said = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    whole = said[0]["message"] if stream else answer.json()
    outcome = caller.books.outcome_of(caller.agent_id, 1)
    inference_id = answer.headers["x-ainfera-inference-id"]
    (stored,) = caller.books.rows("SELECT decision FROM inferences WHERE id = ?", inference_id)
    decision = json.loads(stored["decision"])
    (attempt,) = caller.books.attempts(inference_id)
    payloads = [payload for _, payload in caller.books.events(caller.agent_id)]
    audited = [payload for payload in payloads if payload.get("inference_id") == inference_id]
    named = {whole["model"], answer.headers["x-ainfera-model"], outcome["model"], attempt["model"], decision["model"]}
    named |= {payload["model"] for payload in audited if "model" in payload}
    assert named == {"claude-opus-4-7"}
    assert json.loads(outcome["decision"]) == decision
    (seen,) = sent_for(simulator, caller.books, inference_id)
    assert (seen.begin["model"], seen.begin["path"]) == ("claude-opus-4-7", "/v1/messages")
    (debit,) = (row for row in caller.books.transfers(inference_id) if row["kind"] == "debit")
    paid = cost_of("claude-opus-4-7", outcome["input_tokens"], outcome["output_tokens"])
    assert debit["amount_picousd"] == before - caller.balance == paid > 0
    why = {row["slug"]: (row["reason"], row["detail"]) for row in decision["candidates"]}
    assert why["mistral-large-3"] == ("capability_missing", "dialect")
    assert why["claude-opus-4-7"] == ("eligible", "")


def test_a_backend_of_one_choice_is_passed_over_for_several(caller: Caller) -> None:
    asked = {"routing_hint": {"min_quality": 0}, "max_tokens": 8}
    decided = []
    for position, number in enumerate((1, 2)):
        answer = caller.call(model=ROUTER, n=number, **asked)
        assert (answer.status, len(answer.document["choices"])) == (200, number)
        decided.append(json.loads(caller.books.outcome_of(caller.agent_id, position)["decision"]))
    assert [decision["model"] for decision in decided] == ["smollm2-135m-instruct", "mistral-large-3"]
    assert "smollm2-135m-instruct" not in decided[1]["fallbacks"]
    pinned = caller.call(model="smollm2-135m-instruct", n=2, max_tokens=8)
    assert (pinned.status, pinned.error["code"], pinned.error["param"]) == (422, "unsupported_content", "n")


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
