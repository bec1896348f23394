"""Who pays, row by row: refusals, answers with and without usage, and failures before the first byte.

What a call should cost is computed from the simulator's own log and the list prices (``books.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway_process import INTERNAL_KEY, GatewayProcess
from tests.integration.books import (
    PROVIDERS,
    cost_of,
    cost_of_usage,
    estimated_input,
    estimated_output,
    eventually,
    sent_for,
    usd,
)
from tests.integration.calls import (
    NATIVE,
    OPENAI,
    TEXT,
    Answer,
    Caller,
    check_receipt,
    check_settled,
    messages_of,
)
from tests.simulator.process import Simulator

MODEL = "gpt-5-5"
CHEAPEST = "mistral-large-3"
"""What the router picks for a request without a task type. It knows no option to ask for usage, so the simulator, which
sends none unasked, is told to where a stream needs one."""
ROUTER = "ainfera-inference"
SUCCESS = ["inference.routed", "provider.responded", "receipt.created"]

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
both_dialects = pytest.mark.parametrize("path", [OPENAI, NATIVE], ids=["openai", "native"])


@pytest.fixture
def caller(gateway: GatewayProcess, agent: dict[str, Any]) -> Caller:
    return Caller(gateway, agent)


def estimate(text: str) -> int:
    return estimated_input(json.dumps(messages_of(text)).encode(), 1)


# ---- answers that came whole ----


@both_ways
@both_dialects
@pytest.mark.parametrize("model", ["claude-opus-4-7", "gpt-5-5", "gemini-3-1-pro", "grok-4", CHEAPEST, ROUTER])
def test_a_whole_answer_costs_the_provider_s_usage(
    caller: Caller, simulator: Simulator, model: str, path: str, stream: bool
) -> None:
    before, events = caller.balance, caller.event_count
    served = CHEAPEST if model == ROUTER else model
    unasked = " usage=cumulative" if stream and served == CHEAPEST else ""
    text = f"{TEXT} [[sim:cached=2 reasoning=5{unasked}]]"
    answer = caller.call(text, model=model, stream=stream, path=path, max_tokens=60)
    assert answer.status == 200
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.end is not None
    usage = seen.end["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 5
    paid = cost_of_usage(served, usage)
    outcome = check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider"
    )
    assert (outcome["input_tokens"], outcome["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (outcome["cached_input_tokens"], outcome["reasoning_tokens"]) == (2, 5)
    assert (outcome["model"], outcome["provider"]) == (served, PROVIDERS[served])
    assert outcome["decision_type"] == ("deterministic" if model == ROUTER else "pinned")
    assert caller.events_after(events) == SUCCESS
    payload = caller.books.events(caller.agent_id)[-1][1]
    assert (payload["cost_usd"], payload["balance_after_usd"]) == (usd(paid), usd(before - paid))
    assert payload["outcome_status"] == "succeeded"
    assert caller.books.house(answer.inference_id) == {}
    if stream:
        assert answer.done
        assert "x-ainfera-cost-usd" not in answer.headers
        assert answer.headers["x-ainfera-stream-mode"] == "native"
        assert {chunk["model"] for chunk in answer.chunks} == {served}
        assert all(chunk["choices"] for chunk in answer.chunks), "a usage chunk nobody asked for"
    else:
        check_receipt(answer, paid, served, (usage["prompt_tokens"], usage["completion_tokens"]))


@both_ways
@both_dialects
@pytest.mark.parametrize("usage", ["missing", "null", "negative"])
def test_an_answer_without_usage_costs_the_estimate(
    caller: Caller, simulator: Simulator, usage: str, path: str, stream: bool
) -> None:
    before, events = caller.balance, caller.event_count
    text = f"{TEXT} — ça va? [[sim:usage={usage}]]"
    answer = caller.call(text, model=MODEL, stream=stream, path=path, max_tokens=60)
    assert answer.status == 200
    assert answer.text.startswith("Echo of message 1: Say something")
    paid = cost_of(MODEL, estimate(text), estimated_output(answer.text))
    outcome = check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="estimated"
    )
    assert outcome["output_tokens"] == estimated_output(answer.text)
    assert caller.events_after(events) == SUCCESS
    assert caller.books.events(caller.agent_id)[-2][1]["usage"]["source"] == "estimated"
    if stream:
        assert all(chunk["choices"] for chunk in answer.chunks), "a chunk without choices nobody asked for"


@both_ways
def test_half_a_usage_is_completed_by_the_estimate(caller: Caller, simulator: Simulator, stream: bool) -> None:
    before = caller.balance
    answer = caller.call(f"{TEXT} [[sim:usage=string]]", model=MODEL, stream=stream, max_tokens=60)
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.end is not None
    paid = cost_of(MODEL, seen.end["usage"]["prompt_tokens"], estimated_output(answer.text))
    check_settled(caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="estimated")


@both_ways
def test_a_usage_of_zero_is_what_the_provider_said(caller: Caller, stream: bool) -> None:
    before = caller.balance
    answer = caller.call(f"{TEXT} [[sim:usage=zero]]", model=MODEL, stream=stream, max_tokens=60)
    assert answer.status == 200
    check_settled(caller, answer.inference_id, before=before, paid=0, status="succeeded", source="provider")


def test_a_running_total_is_counted_once(caller: Caller, simulator: Simulator) -> None:
    before = caller.balance
    answer = caller.call(f"{TEXT} [[sim:usage=cumulative]]", model=MODEL, stream=True, max_tokens=60)
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.end is not None
    paid = cost_of_usage(MODEL, seen.end["usage"])
    check_settled(caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider")


@both_ways
def test_a_bill_above_the_hold_is_paid_up_to_the_hold(
    caller: Caller, gateway: GatewayProcess, simulator: Simulator, stream: bool
) -> None:
    before = caller.balance
    text = f"{TEXT} [[sim:usage=overbilled]]"
    answer = caller.call(text, model=MODEL, stream=stream, max_tokens=40)
    assert answer.status == 200
    held = cost_of(MODEL, estimate(text), 40)
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.end is not None
    billed = cost_of_usage(MODEL, seen.end["usage"])
    assert billed > held
    check_settled(caller, answer.inference_id, before=before, paid=held, status="succeeded", source="provider")
    assert caller.books.house(answer.inference_id) == {"house:unreconciled": billed - held}
    assert caller.books.attempts(answer.inference_id)[0]["cost_picousd"] == billed
    if not stream:
        assert answer.headers["x-ainfera-cost-usd"] == usd(held)
    alarm = [line for line in gateway.log if line.get("event") == "billed_beyond_hold"]
    eventually(lambda: any(line.get("event") == "billed_beyond_hold" for line in gateway.log))
    assert all(line["level"] == "error" for line in alarm)


def test_the_same_call_twice_without_a_key_is_two_calls(caller: Caller, simulator: Simulator) -> None:
    count = simulator.count()
    first, second = caller.call(model=MODEL, max_tokens=30), caller.call(model=MODEL, max_tokens=30)
    assert first.inference_id != second.inference_id
    assert len(caller.books.outcomes(caller.agent_id)) == 2
    assert simulator.count() == count + 2


# ---- failures before the first byte ----


@both_ways
@pytest.mark.parametrize("fault", ["429", "500", "503 form=html", "reset", "close", "garbage=http"])
def test_a_second_try_answers_and_only_it_is_paid(
    caller: Caller, simulator: Simulator, fault: str, stream: bool
) -> None:
    before, events = caller.balance, caller.event_count
    text = f"{TEXT} {fault} again [[sim:{fault} times=1]]" + ("s" if stream else "")
    answer = caller.call(text, model=MODEL, stream=stream, max_tokens=60)
    assert answer.status == 200
    failed, served = sent_for(simulator, caller.books, answer.inference_id)
    assert failed.end is not None
    assert served.end is not None
    paid = cost_of_usage(MODEL, served.end["usage"])
    check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider", attempts=2
    )
    first, second = caller.books.attempts(answer.inference_id)
    assert (first["cost_picousd"], second["cost_picousd"]) == (0, paid)
    assert first["outcome"] in {"rate_limited", "server_error", "connect", "invalid"}
    assert second["outcome"] == "ok"
    assert caller.books.house(answer.inference_id) == {}
    assert caller.events_after(events) == SUCCESS


@both_ways
def test_the_fallbacks_are_tried_in_the_order_of_the_decision(
    caller: Caller, simulator: Simulator, stream: bool
) -> None:
    before = caller.balance
    text = f"{TEXT} [[sim:400 on=mistral-*]][[sim:404 on=gemini-*]][[sim:401 on=gpt-*]]" + ("s" if stream else "")
    answer = caller.call(text, model=ROUTER, stream=stream, max_tokens=60)
    assert answer.status == 200
    assert answer.headers["x-ainfera-model"] == "grok-4"
    seen = sent_for(simulator, caller.books, answer.inference_id)
    assert [one.begin["model"] for one in seen] == ["mistral-large-3", "gemini-3.1-pro", "gpt-5.5", "grok-4"]
    assert seen[-1].end is not None
    paid = cost_of_usage("grok-4", seen[-1].end["usage"])
    outcome = check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider", attempts=4
    )
    assert outcome["model"] == "grok-4"
    assert [row["outcome"] for row in caller.books.attempts(answer.inference_id)] == ["client_error"] * 3 + ["ok"]
    assert [row["upstream_status"] for row in caller.books.attempts(answer.inference_id)] == [400, 404, 401, 200]
    assert all(json.loads(one.begin["body"])["messages"] == messages_of(text) for one in seen)


@both_ways
def test_what_failed_attempts_cost_is_the_house_s(caller: Caller, simulator: Simulator, stream: bool) -> None:
    before = caller.balance
    # A stream that says nothing but its usage: nothing has reached the caller, so another model may still answer.
    empty = "empty=choices usage=cumulative" if stream else "empty=content"
    text = f"{TEXT} [[sim:{empty} on=mistral-*]]"
    answer = caller.call(text, model=ROUTER, stream=stream, max_tokens=60)
    assert answer.status == 200
    *failed, served = sent_for(simulator, caller.books, answer.inference_id)
    assert [one.begin["model"] for one in failed] == ["mistral-large-3"] * 2
    assert served.end is not None
    paid = cost_of_usage("gemini-3-1-pro", served.end["usage"])
    check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider", attempts=3
    )
    lost = sum(cost_of_usage(CHEAPEST, one.end["usage"]) for one in failed if one.end is not None)
    assert lost > 0
    assert caller.books.house(answer.inference_id) == {"house:failed_attempts": lost}
    stored = [row["cost_picousd"] for row in caller.books.attempts(answer.inference_id)]
    assert stored == [lost // 2, lost // 2, paid]


@both_ways
@both_dialects
@pytest.mark.parametrize(("fault", "status"), [("500", 500), ("429", 429), ("400", 400), ("503 form=array", 503)])
def test_a_pinned_provider_that_fails_costs_nothing(
    caller: Caller, simulator: Simulator, fault: str, status: int, path: str, stream: bool
) -> None:
    before, events = caller.balance, caller.event_count
    answer = caller.call(f"{TEXT} [[sim:{fault}]]", model=MODEL, stream=stream, path=path, max_tokens=60)
    assert answer.status == 502
    check_error(answer, path, "provider_error", "server_error")
    error = answer.error if path == OPENAI else answer.document["detail"]
    assert error["upstream_status"] == status
    attempts = 1 if status == 400 else 2
    check_settled(
        caller, answer.inference_id, before=before, paid=0, status="failed_provider_error", source="none",
        attempts=attempts,
    )  # fmt: skip
    assert len(sent_for(simulator, caller.books, answer.inference_id)) == attempts
    assert caller.events_after(events) == ["inference.routed", "inference.failed"]
    assert caller.books.house(answer.inference_id) == {}


@both_ways
@both_dialects
def test_every_routed_model_failing_costs_nothing(
    caller: Caller, simulator: Simulator, path: str, stream: bool
) -> None:
    before, events = caller.balance, caller.event_count
    answer = caller.call(f"{TEXT} [[sim:400]]", model=ROUTER, stream=stream, path=path, max_tokens=60)
    assert answer.status == 503
    check_error(answer, path, "all_routed_models_failed", "server_error")
    check_settled(
        caller, answer.inference_id, before=before, paid=0, status="failed_provider_error", source="none", attempts=5
    )
    seen = [one.begin["model"] for one in sent_for(simulator, caller.books, answer.inference_id)]
    assert seen == ["mistral-large-3", "gemini-3.1-pro", "gpt-5.5", "grok-4", "claude-opus-4-7"]
    assert caller.events_after(events) == ["inference.routed", "inference.failed"]


@both_ways
@pytest.mark.parametrize("kind", ["content", "choices", "body"])
def test_an_empty_answer_costs_nothing(caller: Caller, simulator: Simulator, kind: str, stream: bool) -> None:
    before = caller.balance
    answer = caller.call(f"{TEXT} [[sim:empty={kind}]]", model=MODEL, stream=stream, max_tokens=60)
    # The role has been relayed by the time an answer turns out to be without content.
    assert answer.status == (200 if stream and kind == "content" else 502)
    assert answer.error["code"] == "provider_error"
    assert not answer.done
    stored = caller.books.attempts(answer.inference_id)
    told = [one.end["usage"] for one in sent_for(simulator, caller.books, answer.inference_id) if one.end]
    lost = sum(cost_of_usage(MODEL, usage) for usage in told if usage)
    source = "provider" if lost else "none"
    check_settled(
        caller, answer.inference_id, before=before, paid=0, status="failed_provider_error", source=source,
        attempts=len(stored),
    )  # fmt: skip
    assert caller.books.house(answer.inference_id) == ({"house:failed_attempts": lost} if lost else {})


def check_error(answer: Answer, path: str, code: str, kind: str) -> None:
    """The error of a call in the shape of its dialect, with the trace it can be found by."""
    trace_id = answer.headers["x-ainfera-trace-id"]
    if path == OPENAI:
        error = answer.document["error"]
        assert set(answer.document) == {"error"}
        assert (error["code"], error["type"]) == (code, kind)
        assert {"message", "type", "param", "code"} <= set(error)
    else:
        document = answer.document
        assert (document["code"], document["error"], document["request_id"]) == (code, code, trace_id)
        assert document["detail"]["code"] == code
        assert document["message"]


# ---- refused before anything left ----


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
    assert caller.call(model=model, max_tokens=10).status == 200


def test_the_kill_switch_engages_at_its_threshold(caller: Caller) -> None:
    assert caller.call(model=MODEL, max_tokens=10).status == 200
    switch(caller.gateway, threshold_usd="0.000001")
    try:
        answer = caller.call(model=ROUTER)
        assert (answer.status, answer.error["code"]) == (503, "cost_killswitch_engaged")
        assert answer.error["threshold_usd"] == "0.000001"
    finally:
        switch(caller.gateway, threshold_usd="50")
    assert caller.call(model=ROUTER, max_tokens=10).status == 200


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
    assert caller.call(model=MODEL, max_tokens=10).status == 200


def switch(gateway: GatewayProcess, **change: Any) -> None:
    headers = {"x-ainfera-internal-key": INTERNAL_KEY}
    answered = httpx.put(f"{gateway.url}/admin/killswitch", json=change, headers=headers, timeout=10)
    assert answered.status_code == 200, answered.text


def test_refusals_past_ten_a_minute_are_folded(caller: Caller, simulator: Simulator) -> None:
    poor = caller.with_balance(None)
    for _ in range(14):
        assert poor.call(model=MODEL).status == 402
    assert len(poor.books.outcomes(poor.agent_id)) == 10


def test_the_laws_hold_over_all_of_this(gateway: GatewayProcess, caller: Caller) -> None:
    assert caller.books.broken_laws() == {}
