"""Who pays, the first row: what is refused before anything leaves costs nothing and is told by one outcome and one event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway_process import INTERNAL_KEY, GatewayProcess
from tests.integration.books import cost_of, estimated_input, eventually, sent_for
from tests.integration.calls import NATIVE, OPENAI, TEXT, Answer, Caller, check_error, messages_of
from tests.simulator.process import Simulator

MODEL = "gpt-5-5"
CHEAPEST = "mistral-large-3"
ROUTER = "ainfera-inference"

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
both_dialects = pytest.mark.parametrize("path", [OPENAI, NATIVE], ids=["openai", "native"])


@pytest.fixture
def caller(gateway: GatewayProcess, agent: dict[str, Any]) -> Caller:
    return Caller(gateway, agent)


def estimate(text: str) -> int:
    return estimated_input(json.dumps(messages_of(text)).encode(), 1)


def check_refused(
    caller: Caller, answer: Answer, *, balance: int, events: int, event: str, status: str, code: str
) -> None:
    """Nothing paid, nothing held, one outcome and one event that say why."""
    books = caller.books
    outcome = books.outcome_of(caller.agent_id)
    assert outcome["inference_id"] == answer.inference_id
    assert (outcome["outcome_status"], outcome["refusal_code"]) == (status, code)
    assert (outcome["cost_picousd"], outcome["attempts"]) == (0, 0)
    assert books.transfers(answer.inference_id) == books.attempts(answer.inference_id) == []
    assert books.holds(caller.agent_id) == []
    assert books.wallet(caller.agent_id)["held_picousd"] == 0
    assert caller.balance == balance
    assert caller.events_after(events) == [event]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-ainfera-agent-id"] == caller.agent_id


Attempted = Callable[[], Answer]


def refused(caller: Caller, simulator: Simulator, attempt: Attempted, **wanted: str) -> Answer:
    balance, events, count = caller.balance, caller.event_count, simulator.count()
    answer = attempt()
    check_refused(caller, answer, balance=balance, events=events, **wanted)
    assert simulator.count() == count, "a refused call reached the provider"
    assert "x-ainfera-receipt-id" not in answer.headers, "there is none to be had"
    return answer


@both_ways
@both_dialects
@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        ({"per_call_cap_usd": "0.001"}, "per_call_cap_exceeded"),
        ({"daily_cap_usd": "0.01"}, "daily_cap_exceeded"),
        ({"monthly_cap_usd": "0.01"}, "monthly_cap_exceeded"),
    ],
)
def test_a_call_past_a_cap_is_refused(
    caller: Caller, simulator: Simulator, caps: dict[str, str], reason: str, path: str, stream: bool
) -> None:
    caller.set_policy(**caps)
    answer = refused(
        caller, simulator, lambda: caller.call(model=MODEL, path=path, stream=stream, max_tokens=2_000),
        event="inference.rejected_cap_violation", status="rejected_cap_violation", code="spend_policy_exceeded",
    )  # fmt: skip
    assert answer.status == 403
    check_error(answer, path, "spend_policy_exceeded", "permission_error")
    said = answer.error if path == OPENAI else answer.document
    assert said["reason"] == reason
    assert caller.call(model=MODEL, max_tokens=10).status == 200, "a call within the cap still goes"


def test_spend_of_the_day_counts_against_the_cap(caller: Caller, simulator: Simulator) -> None:
    caller.set_policy(daily_cap_usd="0.01")
    held = cost_of(MODEL, estimate(TEXT), 1_600)
    paid = 0
    while paid + held <= 10 * 10**9:
        answer = caller.call(f"{TEXT} [[sim:usage=overbilled]]", model=MODEL, max_tokens=600)
        assert answer.status == 200
        paid = caller.books.wallet(caller.agent_id)["day_spent_picousd"]
    refusal = refused(
        caller, simulator, lambda: caller.call(model=MODEL, max_tokens=1_600),
        event="inference.rejected_cap_violation", status="rejected_cap_violation", code="spend_policy_exceeded",
    )  # fmt: skip
    assert refusal.error["reason"] == "daily_cap_exceeded"


@both_ways
@both_dialects
@pytest.mark.parametrize("funds", [None, "0.01"])
def test_a_call_past_the_wallet_is_refused(
    caller: Caller, simulator: Simulator, funds: str | None, path: str, stream: bool
) -> None:
    poor = caller.with_balance(funds)
    answer = refused(
        poor, simulator, lambda: poor.call(model="claude-opus-4-7", path=path, stream=stream),
        event="inference.rejected_insufficient_funds", status="rejected_insufficient_funds",
        code="wallet_insufficient",
    )  # fmt: skip
    assert answer.status == 402
    check_error(answer, path, "wallet_insufficient", "insufficient_quota")


def test_a_wallet_clamps_the_output_down_to_what_it_pays(caller: Caller, simulator: Simulator) -> None:
    poor = caller.with_balance("0.10")
    answer = poor.call(model="claude-opus-4-7")
    assert answer.status == 200
    (seen,) = sent_for(simulator, poor.books, answer.inference_id)
    affordable = (10**11 - cost_of("claude-opus-4-7", estimate(TEXT), 0)) // cost_of("claude-opus-4-7", 0, 1)
    assert 1_024 <= affordable < 16_384
    assert seen.begin["max_tokens"] == affordable
    asked = poor.call(model="claude-opus-4-7", max_tokens=1_100)
    (seen,) = sent_for(simulator, poor.books, asked.inference_id)
    assert seen.begin["max_tokens"] == 1_100, "what the wallet can pay is not clamped"


def test_caps_look_at_what_was_asked_not_at_what_the_wallet_pays(caller: Caller, simulator: Simulator) -> None:
    poor = caller.with_balance("0.10")
    Caller(caller.gateway, {"agent_id": poor.agent_id, "tenant_id": "", "api_key": caller.key}).set_policy(
        per_call_cap_usd="0.50"
    )
    answer = refused(
        poor, simulator, lambda: poor.call(model="claude-opus-4-7", max_tokens=10_000),
        event="inference.rejected_cap_violation", status="rejected_cap_violation", code="spend_policy_exceeded",
    )  # fmt: skip
    assert answer.error["reason"] == "per_call_cap_exceeded"


def test_the_limit_that_is_sent_is_the_model_s_at_most(caller: Caller, simulator: Simulator) -> None:
    for asked, limit in ((None, 16_384), (1_000_000, 32_768), (32_768, 32_768), (7, 7)):
        answer = caller.call(model=CHEAPEST, max_tokens=asked)
        (seen,) = sent_for(simulator, caller.books, answer.inference_id)
        assert seen.begin["max_tokens"] == limit


@both_dialects
def test_no_candidate_is_refused(caller: Caller, simulator: Simulator, path: str) -> None:
    balance, events, count = caller.balance, caller.event_count, simulator.count()
    answer = caller.call(model=ROUTER, path=path, routing_hint={"min_quality": 0.96})
    assert answer.status == 422
    check_error(answer, path, "no_candidate_clears_floor", "invalid_request_error")
    outcome = caller.books.outcome_of(caller.agent_id)
    assert outcome["outcome_status"] == "rejected_no_candidate"
    assert caller.events_after(events) == ["inference.rejected_no_candidate"]
    assert (caller.balance, simulator.count()) == (balance, count)


@both_ways
@both_dialects
@pytest.mark.parametrize("model", [MODEL, ROUTER])
def test_the_kill_switch_stops_every_call(
    caller: Caller, simulator: Simulator, model: str, path: str, stream: bool
) -> None:
    switch(caller.gateway, engaged=True)
    try:
        answer = refused(
            caller, simulator, lambda: caller.call(model=model, path=path, stream=stream),
            event="inference.rejected_killswitch", status="rejected_killswitch", code="cost_killswitch_engaged",
        )  # fmt: skip
    finally:
        switch(caller.gateway, engaged=False)
    assert answer.status == 503
    check_error(answer, path, "cost_killswitch_engaged", "server_error")
    said = answer.error if path == OPENAI else answer.document
    assert {"spent_usd", "threshold_usd", "window_start"} <= set(said)
    eventually(lambda: caller.call(model=model, max_tokens=10).status == 200)


def test_the_kill_switch_engages_at_its_threshold(caller: Caller) -> None:
    eventually(lambda: caller.call(model=MODEL, max_tokens=10).status == 200)
    switch(caller.gateway, threshold_usd="0.000001")
    try:
        refusals: list[Answer] = []

        def refused_by_spend() -> bool:
            """Another process may not have heard of it, or may still think of the switch that a hand has released."""
            refusals.append(caller.call(model=ROUTER))
            return refusals[-1].status == 503 and refusals[-1].error["threshold_usd"] == "0.000001"

        eventually(refused_by_spend)
        assert refusals[-1].error["code"] == "cost_killswitch_engaged"
    finally:
        switch(caller.gateway, threshold_usd="50")
    eventually(lambda: caller.call(model=ROUTER, max_tokens=10).status == 200)


def test_a_suspended_agent_makes_no_call(caller: Caller, simulator: Simulator) -> None:
    with caller.gateway.client(caller.key) as client:
        assert client.post(f"/v1/agents/{caller.agent_id}/suspend").status_code == 200
        balance, count = caller.balance, simulator.count()
        answer = caller.call(model=MODEL)
        assert (answer.status, answer.error["code"]) == (409, "agent_not_active")
        assert answer.headers["x-should-retry"] == "false"
        assert caller.books.outcomes(caller.agent_id) == []
        assert (caller.balance, simulator.count()) == (balance, count)
        assert client.post(f"/v1/agents/{caller.agent_id}/activate").status_code == 200
    eventually(lambda: caller.call(model=MODEL, max_tokens=10).status == 200)


def switch(gateway: GatewayProcess, **change: Any) -> None:
    headers = {"x-ainfera-internal-key": INTERNAL_KEY}
    answered = httpx.put(f"{gateway.url}/admin/killswitch", json=change, headers=headers, timeout=10)
    assert answered.status_code == 200, answered.text


def test_refusals_past_ten_a_minute_are_folded(caller: Caller, simulator: Simulator) -> None:
    poor = caller.with_balance(None)
    processes = caller.gateway.workers
    for _ in range(14 * processes):
        assert poor.call(model=MODEL).status == 402
    assert 10 <= len(poor.books.outcomes(poor.agent_id)) <= 10 * processes


def test_the_laws_hold_over_all_of_this(gateway: GatewayProcess, caller: Caller) -> None:
    assert caller.books.broken_laws() == {}


@both_ways
@both_dialects
def test_a_model_that_cannot_be_called_here_is_refused_on_record(
    caller: Caller, simulator: Simulator, path: str, stream: bool
) -> None:
    balance, events, count = caller.balance, caller.event_count, simulator.count()
    answer = caller.call(model="groq/openai/gpt-oss-120b", path=path, stream=stream, max_tokens=50)
    assert answer.status == 422
    outcome = caller.books.outcome_of(caller.agent_id)
    assert outcome["inference_id"] == answer.inference_id
    assert (outcome["outcome_status"], outcome["refusal_code"]) == ("rejected_no_candidate", "model_unavailable")
    assert caller.events_after(events) == ["inference.rejected_no_candidate"]
    assert (caller.balance, simulator.count()) == (balance, count)
