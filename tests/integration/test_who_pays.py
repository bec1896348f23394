"""Who pays, row by row: answers with and without usage, and failures before the first byte.

What a call should cost is computed from the simulator's own log and the list prices (``books.py``).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.books import (
    PROVIDERS,
    cost_of,
    cost_of_usage,
    estimated_input,
    estimated_output,
    eventually,
    sent_for,
    tokens_of_usage,
    usd,
)
from tests.integration.calls import (
    NATIVE,
    OPENAI,
    TEXT,
    Caller,
    check_error,
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
    details = usage.get("completion_tokens_details") or usage["output_tokens_details"]
    assert 5 in (details.get("reasoning_tokens"), details.get("thinking_tokens"))
    paid = cost_of_usage(served, usage)
    outcome = check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider"
    )
    assert (outcome["input_tokens"], outcome["output_tokens"]) == tokens_of_usage(usage)
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
        check_receipt(answer, paid, served, tokens_of_usage(usage))


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
@pytest.mark.parametrize(
    ("fault", "status", "upstream_code"),
    [
        ("500", 500, "server_error"),
        ("429", 429, "rate_limit_exceeded"),
        ("400", 400, "invalid_request_error"),
        ("503 form=array", 503, "SIMULATED"),
    ],
)
def test_a_pinned_provider_that_fails_costs_nothing(
    caller: Caller, simulator: Simulator, fault: str, status: int, upstream_code: str, path: str, stream: bool
) -> None:
    before, events = caller.balance, caller.event_count
    answer = caller.call(f"{TEXT} [[sim:{fault}]]", model=MODEL, stream=stream, path=path, max_tokens=60)
    assert answer.status == 502
    check_error(answer, path, "provider_error", "server_error")
    error = answer.error if path == OPENAI else answer.document["detail"]
    assert error["upstream_status"] == status
    assert error["upstream_code"] == upstream_code, "the provider's own word, by which clients know what to do"
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


def test_the_laws_hold_over_all_of_this(gateway: GatewayProcess, caller: Caller) -> None:
    assert caller.books.broken_laws() == {}
