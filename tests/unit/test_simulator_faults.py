"""The provider simulator misbehaves exactly as told, seen on a bare socket."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.simulator.process import Simulator
from tests.simulator.raw import (
    USAGE,
    ask,
    connect,
    events,
    last_seen,
    raw,
    request_bytes,
    unchunked,
)
from tests.simulator.speech import count_tokens


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.clear_script()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="sk-simulated-abcd", base_url=simulator.base_url, max_retries=0, timeout=60) as made:
        yield made


@pytest.mark.parametrize("status", [302, 400, 401, 429, 500, 502, 503, 529])
def test_statuses(client: openai.OpenAI, simulator: Simulator, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="m", messages=ask(f"[[sim:{status} retry_after=7]]"), stream=True)
    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (status, "7")
    assert "error" in caught.value.response.json()
    assert last_seen(simulator).outcome == ("complete" if status < 400 else "error")


@pytest.mark.parametrize(
    ("form", "start"),
    [("html", b"<html"), ("empty", b""), ("array", b'[{"error"'), ("xai", b'{"code"'), ("text", b"The")],
)
def test_error_forms(simulator: Simulator, form: str, start: bytes) -> None:
    received, _ = raw(simulator, f"500 form={form} connection=close", stream=False)
    body = received.partition(b"\r\n\r\n")[2]
    assert body.startswith(start) and (form != "empty" or body == b"")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("directive", "ending", "outcome"),
    [("reset", "reset", "reset"), ("close", "fin", "truncated"), ("garbage=http", "fin", "error")],
)
def test_no_answer_at_all(simulator: Simulator, stream: bool, directive: str, ending: str, outcome: str) -> None:
    received, ended = raw(simulator, directive, stream=stream)
    assert ended == ending and not received.startswith(b"HTTP/")
    assert last_seen(simulator).outcome == outcome


def test_reset_after_events_and_after_bytes(simulator: Simulator) -> None:
    received, ended = raw(simulator, "reset_after=3", stream=True)
    assert (len(events(received)), ended) == (3, "reset")
    seen = last_seen(simulator)
    assert (seen.outcome, seen.end["events"]) == ("reset", 3)
    received, ended = raw(simulator, "reset_after=10", stream=False)
    assert (len(received.partition(b"\r\n\r\n")[2]), ended) == (10, "reset")
    assert last_seen(simulator).end["usage"] is None


@pytest.mark.parametrize(
    ("directive", "ending", "last"),
    [
        ("truncate=no_done", "open", b'"finish_reason":"stop"'),
        ("truncate=no_finish", "open", b'"content":'),
        ("truncate=2", "open", b'"content":"Echo"'),
        ("truncate=2 end=fin", "fin", b'"content":"Echo"'),
    ],
)
def test_truncated_streams(simulator: Simulator, directive: str, ending: str, last: bytes) -> None:
    received, ended = raw(simulator, directive, stream=True)
    assert ended == ending and last in events(received)[-1] and b"[DONE]" not in received
    assert last_seen(simulator).outcome == "truncated"


def test_cut_inside_an_event_and_a_short_plain_body(simulator: Simulator) -> None:
    received, ended = raw(simulator, "truncate", stream=True)
    assert ended == "fin" and not received.endswith(b"0\r\n\r\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(events(received)[-1])
    received, ended = raw(simulator, "truncate", stream=False)
    head, _, body = received.partition(b"\r\n\r\n")
    promised = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    assert ended == "fin" and len(body) == promised // 2


def test_garbage_inside_an_answer(simulator: Simulator) -> None:
    received, _ = raw(simulator, "garbage garbage_after=1", stream=True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(events(received)[1])
    assert events(received)[-1] == b"[DONE]"
    received, _ = raw(simulator, "garbage=utf8", stream=True)
    assert b"\xff\xfe" in events(received)[2]
    received, _ = raw(simulator, "garbage connection=close", stream=False)
    with pytest.raises(json.JSONDecodeError):
        json.loads(received.partition(b"\r\n\r\n")[2])
    assert last_seen(simulator).outcome == "error"


def test_error_event_inside_a_stream(client: openai.OpenAI, simulator: Simulator) -> None:
    with pytest.raises(openai.APIError, match="told to fail"):
        list(client.chat.completions.create(model="m", messages=ask("[[sim:error_after=2]]"), stream=True))
    assert last_seen(simulator).outcome == "error"


@pytest.mark.parametrize(("directive", "seen_bytes"), [("stall", False), ("stall_after=2", True)])
@pytest.mark.parametrize("stream", [False, True])
def test_stalls_until_the_client_leaves(simulator: Simulator, directive: str, seen_bytes: bool, stream: bool) -> None:
    body = {"model": "m", "stream": stream, "messages": ask(f"[[sim:{directive}]]")}
    with connect(simulator) as sock:
        sock.sendall(request_bytes(simulator, body, "stalled"))
        received = b""
        while seen_bytes and not (received.count(b"data: ") == 2 if stream else received.partition(b"\r\n\r\n")[2]):
            received += sock.recv(65536)
        sock.settimeout(0.15)
        with pytest.raises(TimeoutError):
            while True:
                received += sock.recv(65536)
    assert bool(received) is seen_bytes and received.count(b"data: ") == (2 if seen_bytes and stream else 0)
    assert last_seen(simulator).outcome == "client_gone"


def test_slow_and_pace(simulator: Simulator) -> None:
    started = time.monotonic()
    raw(simulator, "slow=80 pace=10", stream=True)
    elapsed_s = time.monotonic() - started
    # Nine events have eight gaps; an upper bound would only measure the machine.
    assert elapsed_s >= 0.08 + 8 * 0.01


def test_wait_ack_sends_nothing_ahead(simulator: Simulator) -> None:
    body = {"model": "m", "stream": True, "messages": ask("[[sim:wait_ack]] a b")}
    with connect(simulator) as sock:
        sock.sendall(request_bytes(simulator, body, "acked"))
        received, acks = b"", 0
        while b"[DONE]" not in received:
            received += sock.recv(65536)
            if received.count(b"data: ") > acks:
                acks += 1
                assert received.count(b"data: ") == acks
                if b"[DONE]" not in received:
                    assert simulator.ack("acked")["acks"] == acks
    seen = last_seen(simulator)
    assert (seen.outcome, seen.end["events"]) == ("complete", acks)


@pytest.mark.parametrize("usage", ["missing", "null", "zero", "overbilled", "cumulative", "negative", "string"])
def test_wrong_usage(simulator: Simulator, usage: str) -> None:
    true = count_tokens("Echo of message 1: tell me")
    expected = {"zero": 0, "overbilled": true + 1_000_000, "negative": -true, "string": str(true)}.get(usage, true)
    received, _ = raw(simulator, f"usage={usage} connection=close", stream=False)
    plain = json.loads(received.partition(b"\r\n\r\n")[2])
    if usage in ("missing", "null"):
        assert ("usage" in plain) is (usage == "null") and plain.get("usage") is None
    else:
        assert plain["usage"]["completion_tokens"] == expected
    received, _ = raw(simulator, f"usage={usage}", stream=True, stream_options={"include_usage": True})
    stated = [json.loads(event).get("usage") for event in events(received)[:-1]]
    counts = [bill["completion_tokens"] for bill in stated if bill]
    if usage == "cumulative":
        assert counts == [0, *range(1, true + 1), true, true]
    else:
        assert counts == ([] if usage in ("missing", "null") else [expected])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["content", "choices", "body"])
def test_empty_answers(simulator: Simulator, kind: str, stream: bool) -> None:
    received, _ = raw(simulator, f"empty={kind} connection=close", stream=stream, **USAGE if stream else {})
    body = unchunked(received) if stream else received.partition(b"\r\n\r\n")[2]
    if kind == "body":
        assert received.startswith(b"HTTP/1.1 200") and body == b""
        return
    answers = [json.loads(event) for event in events(received)[:-1]] if stream else [json.loads(body)]
    assert answers[-1]["usage"]["completion_tokens"] == 0
    assert any(answer["choices"] for answer in answers) is (kind == "content")


def test_bytes_on_the_wire(client: openai.OpenAI, simulator: Simulator) -> None:
    received, _ = raw(simulator, "split=1 comments crlf no_space", stream=True)
    body = unchunked(received)
    assert received.partition(b"\r\n\r\n")[2].startswith(b"1\r\n:\r\n1\r\n \r\n")
    assert b": keep-alive\r\n\r\ndata:{" in body and b"\n\n" not in body
    text = "é split [[sim:split=1 comments crlf no_space]]"
    chunks = list(client.chat.completions.create(model="m", messages=ask(text), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Echo of message 1: é split"
    received, _ = raw(simulator, "layout=note_first framing=close content_type=text/plain", stream=False)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-length" not in head and b"content-type: text/plain" in head
    assert body.startswith(b'{"x_provider_note"') and json.loads(body)["model"] == "m"
    received, _ = raw(simulator, "layout=pretty framing=chunked split=100", stream=False)
    assert b'{\n  "id": ' in unchunked(received)


def test_what_it_can_be_told_to_say(client: openai.OpenAI) -> None:
    def say(directive: str, **fields: Any) -> Any:
        return client.chat.completions.create(model="m", messages=ask(f"x [[sim:{directive}]]"), **fields)

    big = say("big=5000")
    assert big.usage.completion_tokens == 5000 and big.choices[0].message.content.endswith(" word4999")
    assert len(list(say("big=5000 per_event=100", stream=True))) == 52
    assert say("big=50 ignore_max", max_tokens=5).usage.completion_tokens == 50
    assert say("text=a%20b%2C%20c").choices[0].message.content == "a b, c"
    assert say("content_filter").choices[0].finish_reason == "content_filter"
    assert say("as_model=m-2026-01-01").model == "m-2026-01-01"
    cached = say("cached=4 reasoning=100").usage
    assert cached.prompt_tokens_details.cached_tokens == 4 and cached.completion_tokens > 100
