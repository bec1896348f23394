"""Idempotency keys: an answer is given again byte for byte, paid once, and never to anybody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import cost_of_usage, eventually, sent_for
from tests.integration.calls import NATIVE, OPENAI, TEXT, Caller, check_settled, messages_of
from tests.integration.raw_stream import RawStream
from tests.simulator.process import Simulator

MODEL = "gpt-5-5"
JSON = {"content-type": "application/json"}
KEY = {"idempotency-key": "the-same-again"}

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
both_dialects = pytest.mark.parametrize("path", [OPENAI, NATIVE], ids=["openai", "native"])


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    """As everywhere, but what comes after the caller left is waited for as long as it takes."""
    simulator.clear_script()  # another engine may have counted there already
    environment = engine_environment | provider_environment(simulator.base_url)
    environment |= {"AINFERA_DISCONNECT_DRAIN_S": "60"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), environment) as running:
        yield running


@pytest.fixture
def caller(gateway: GatewayProcess, agent: dict[str, Any]) -> Caller:
    return Caller(gateway, agent)


@both_ways
@both_dialects
@pytest.mark.parametrize("model", [MODEL, "ainfera-inference"])
def test_an_answer_is_replayed_byte_for_byte(
    caller: Caller, simulator: Simulator, model: str, path: str, stream: bool
) -> None:
    count = simulator.count()
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    first = caller.call(model=model, stream=stream, path=path, headers=KEY, **more)
    balance, events, rows = caller.balance, caller.event_count, caller.books.counts()
    again = [caller.call(model=model, stream=stream, path=path, headers=KEY, **more) for _ in range(3)]
    for replay in again:
        assert replay.status == 200
        assert replay.body == first.body
        for name in ("content-type", "x-ainfera-inference-id", "x-ainfera-receipt-id", "x-ainfera-model",
                     "x-ainfera-agent-id", "x-ainfera-audit-url"):  # fmt: skip
            assert replay.headers[name] == first.headers[name]
        assert replay.headers.get("x-ainfera-cost-usd") == first.headers.get("x-ainfera-cost-usd")
        assert replay.headers.get("x-ainfera-stream-mode") == first.headers.get("x-ainfera-stream-mode")
        assert replay.headers["idempotent-replayed"] == "true"
        assert replay.headers["x-ainfera-trace-id"] != first.headers["x-ainfera-trace-id"]
    assert "idempotent-replayed" not in first.headers
    assert simulator.count() == count + 1
    assert (caller.balance, caller.event_count, caller.books.counts()) == (balance, events, rows)


@both_ways
@both_dialects
def test_another_request_under_the_key_is_a_conflict(
    caller: Caller, simulator: Simulator, path: str, stream: bool
) -> None:
    assert caller.call(model=MODEL, stream=stream, path=path, headers=KEY).status == 200
    count, rows = simulator.count(), caller.books.counts()
    for answer in (
        caller.call("Something else", model=MODEL, stream=stream, path=path, headers=KEY),
        caller.call(model=MODEL, stream=not stream, path=path, headers=KEY),
        caller.call(model="grok-4", stream=stream, path=path, headers=KEY),
    ):
        assert answer.status == 422
        document = answer.document["error"] if path == OPENAI else answer.document
        assert document["code"] == "idempotency_conflict"
    other = NATIVE if path == OPENAI else OPENAI
    assert caller.call(model=MODEL, stream=stream, path=other, headers=KEY).status == 422
    assert (simulator.count(), caller.books.counts()) == (count, rows)


def test_the_key_of_a_call_that_runs_is_in_flight(caller: Caller, simulator: Simulator) -> None:
    text = f"{TEXT} [[sim:wait_ack]]"
    body = {"model": MODEL, "messages": messages_of(text), "stream": True}
    with (
        caller.gateway.client(caller.key) as client,
        client.stream("POST", OPENAI, content=json.dumps(body), headers={**KEY, **JSON}) as running,
    ):
        assert running.status_code == 200
        attempt = simulator.live()[-1]["attempt"]
        second = caller.call(text, model=MODEL, stream=True, headers=KEY)
        assert (second.status, second.error["code"]) == (409, "idempotency_in_flight")
        assert int(second.headers["retry-after"]) >= 1
        simulator.ack_to_the_end(attempt)
        first = running.read()
    assert caller.call(text, model=MODEL, stream=True, headers=KEY).body == first
    assert len(caller.books.outcomes(caller.agent_id)) == 1


@both_ways
def test_of_many_at_once_one_is_sent(caller: Caller, simulator: Simulator, stream: bool) -> None:
    count = simulator.count()
    text = f"{TEXT} [[sim:slow=200]]"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: caller.call(text, model=MODEL, stream=stream, headers=KEY), range(8)))
    assert simulator.count() == count + 1
    whole = {answer.body for answer in answers if answer.status == 200}
    assert len(whole) == 1
    refused = [answer for answer in answers if answer.status != 200]
    assert {(answer.status, answer.error["code"]) for answer in refused} <= {(409, "idempotency_in_flight")}
    assert len(caller.books.outcomes(caller.agent_id)) == 1


@both_ways
def test_an_answer_too_large_to_keep_is_neither_repeated_nor_charged_again(
    caller: Caller, simulator: Simulator, stream: bool
) -> None:
    text = f"{TEXT} [[sim:big=120000 ignore_max per_event=4000 usage=missing]]"
    first = caller.call(text, model="mistral-large-3", stream=stream, headers=KEY)
    assert first.status == 200
    assert len(first.text) > 1024 * 1024
    balance, count = caller.balance, simulator.count()
    again = caller.call(text, model="mistral-large-3", stream=stream, headers=KEY)
    assert (again.status, again.error["code"]) == (409, "idempotency_too_large")
    assert again.headers["x-should-retry"] == "false"
    assert (caller.balance, simulator.count()) == (balance, count)


@both_ways
def test_a_call_that_failed_frees_its_key(caller: Caller, simulator: Simulator, stream: bool) -> None:
    before = caller.balance
    text = f"{TEXT} [[sim:400 times=1]]" + ("s" if stream else "")
    failed = caller.call(text, model=MODEL, stream=stream, headers=KEY)
    assert failed.status == 502
    answer = caller.call(text, model=MODEL, stream=stream, headers=KEY)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.end is not None
    paid = cost_of_usage(MODEL, seen.end["usage"])
    check_settled(caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider")


def test_a_stream_that_broke_frees_its_key(caller: Caller) -> None:
    text = f"{TEXT} [[sim:error_after=4 times=1]]"
    assert caller.call(text, model=MODEL, stream=True, headers=KEY).error["code"] == "provider_error"
    answer = caller.call(text, model=MODEL, stream=True, headers=KEY)
    assert answer.done
    assert caller.call(text, model=MODEL, stream=True, headers=KEY).body == answer.body


def test_a_refusal_is_not_kept(caller: Caller) -> None:
    poor = caller.with_balance(None)
    assert poor.call(model=MODEL, headers=KEY).status == 402
    with caller.gateway.client(caller.key) as client:
        paid = client.post("/v1/wallets/topup", json={"agent_id": poor.agent_id, "amount_usd": "1"})
        assert paid.status_code == 201
    assert poor.call(model=MODEL, headers=KEY).status == 200


def test_a_key_is_one_agent_s_own(caller: Caller, new_agent: Any) -> None:
    first = caller.call(model=MODEL, headers=KEY)
    stranger = Caller(caller.gateway, new_agent()).call(model=MODEL, headers=KEY)
    assert stranger.status == 200
    assert "idempotent-replayed" not in stranger.headers
    assert stranger.inference_id != first.inference_id
    sibling = caller.with_balance("1").call(model=MODEL, headers=KEY)
    assert "idempotent-replayed" not in sibling.headers


def test_a_caller_who_left_finds_the_whole_answer_under_its_key(caller: Caller, simulator: Simulator) -> None:
    text = f"{TEXT} [[sim:wait_ack]]"
    body = {"model": MODEL, "messages": messages_of(text), "stream": True}
    leaving = RawStream(caller.gateway.url, OPENAI, body, caller.key, KEY).open()
    assert leaving.event() is not None
    attempt = simulator.live()[-1]["attempt"]
    leaving.leave()
    simulator.ack_to_the_end(attempt)
    outcome = caller.books.outcome_of(caller.agent_id)
    assert (outcome["outcome_status"], outcome["usage_source"]) == ("client_cancelled", "provider")
    count, balance = simulator.count(), caller.balance
    again = caller.call(text, model=MODEL, stream=True, headers=KEY)
    assert again.text == "Echo of message 1: Say something about pigeons & 3 bridges"
    assert again.done
    assert (simulator.count(), caller.balance) == (count, balance)


def test_a_kept_answer_is_sealed(caller: Caller, gateway: GatewayProcess) -> None:
    secret = "ultramarine-heron-41"
    assert secret in caller.call(f"Repeat {secret}", model=MODEL, headers=KEY).text
    (row,) = caller.books.rows("SELECT * FROM idempotency_keys WHERE agent_id = ?", caller.agent_id)
    assert row["state"] == "stored"
    assert KEY["idempotency-key"] not in json.dumps(row)
    stored = b"".join(path.read_bytes() for path in gateway.data_dir.glob("ainfera.db*"))
    assert secret.encode() not in stored


@pytest.mark.parametrize("key", ["", "k" * 256, "caf\xe9\x80", "tab\there"])
@both_dialects
def test_a_key_that_is_none_is_refused(caller: Caller, simulator: Simulator, key: str, path: str) -> None:
    count, rows = simulator.count(), caller.books.counts()
    body = json.dumps({"model": MODEL, "messages": messages_of(TEXT)}).encode()
    with caller.gateway.client(caller.key) as client:
        head = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode("latin-1"))]
        answer = client.post(path, content=body, headers=head)
    document = answer.json()
    assert answer.status_code == (400 if path == OPENAI else 422)
    if path == OPENAI:
        assert (document["error"]["code"], document["error"]["param"]) == ("invalid_request", "Idempotency-Key")
    else:
        assert document["code"] == "validation_error"
        assert document["detail"]["field"] == "Idempotency-Key"
    assert (simulator.count(), caller.books.counts()) == (count, rows)


def test_the_laws_hold_over_all_of_this(caller: Caller) -> None:
    eventually(lambda: not caller.books.rows("SELECT 1 FROM holds"))
    assert caller.books.broken_laws() == {}
