"""What was found by trying to break it: providers and callers that do what no honest one does. Each call still ends once.

The provider here is a bare socket, because the simulator speaks HTTP too well for most of this.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import cost_of, estimated_input, estimated_output, eventually
from tests.integration.calls import NATIVE, OPENAI, Caller, messages_of

MODEL = "grok-4"
CALL_TIMEOUT_S = 5.0
Script = Callable[[socket.socket], None]
_numbers = itertools.count()


class RawProvider:
    """Listens on a free port and answers every request as ``script`` says, one connection each."""

    def __init__(self) -> None:
        self.script: Script = lambda connection: None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def close(self) -> None:
        self._ended.set()
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            held = b""
            while b"\r\n\r\n" not in held:
                data = connection.recv(65536)
                if not data:
                    return
                held += data
            head, _, body = held.partition(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            missing = int(length.partition(b":")[2]) - len(body)
            while missing > 0:
                data = connection.recv(65536)
                if not data:
                    return
                missing -= len(data)
            try:
                self.script(connection)
            except OSError:
                return  # cut off, as several of these tests want it


def answer(document: dict[str, Any]) -> Script:
    body = json.dumps(document).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    return lambda connection: connection.sendall(head % len(body) + body)


def completion(usage: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "four words of text"}
    return {
        "id": "x",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def connected(caller: Caller, receive_bytes: int = 65536) -> socket.socket:
    address = urlsplit(caller.gateway.url)
    made = socket.socket()
    made.settimeout(60)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.connect((address.hostname, address.port))
    return made


def raw_request(caller: Caller, document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    head = f"POST {OPENAI} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {caller.key}\r\n"
    return (head + f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n").encode() + body


@pytest.fixture(scope="module")
def provider() -> Iterator[RawProvider]:
    made = RawProvider()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(provider: RawProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = provider_environment(provider.base_url, "XAI")
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def short_gateway(provider: RawProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Here a call ends after five seconds, whatever still comes."""
    environment = provider_environment(provider.base_url, "XAI") | {"AINFERA_CALL_TIMEOUT_S": str(CALL_TIMEOUT_S)}
    with GatewayProcess(tmp_path_factory.mktemp("short"), environment) as running:
        yield running


@pytest.fixture
def caller(gateway: GatewayProcess, agent: dict[str, Any]) -> Caller:
    return Caller(gateway, agent)


@pytest.fixture
def short(short_gateway: GatewayProcess) -> Caller:
    """A caller whose calls have little time."""
    return Caller(short_gateway, short_gateway.signup(f"short-{next(_numbers)}"))


IMPOSSIBLE = (
    {"prompt_tokens": 2**52, "completion_tokens": 2**52, "total_tokens": 2**53},
    {"prompt_tokens": 9, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2**52}},
)


@pytest.mark.parametrize("usage", IMPOSSIBLE, ids=["total", "cached"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_usage_that_no_call_can_have_is_no_usage(
    caller: Caller, provider: RawProvider, stream: bool, usage: dict[str, Any]
) -> None:
    chunk = completion(usage)
    chunk["choices"][0]["delta"] = chunk["choices"][0].pop("message")
    event = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
    provider.script = (lambda c: c.sendall(STREAM_HEAD + event)) if stream else answer(completion(usage))
    got = caller.call(model=MODEL, stream=stream)
    assert got.status == 200
    outcome = caller.books.outcome_of(caller.agent_id)
    assert (outcome["outcome_status"], outcome["usage_source"]) == ("succeeded", "estimated")
    assert caller.books.holds(caller.agent_id) == []


def test_a_retry_after_that_is_no_number_is_none(caller: Caller, provider: RawProvider) -> None:
    refusal = b"HTTP/1.1 429 Slow\r\nretry-after: \xb2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    provider.script = lambda connection: connection.sendall(refusal)
    got = caller.call(model=MODEL)
    assert (got.status, got.error["code"]) == (502, "provider_error")
    assert caller.books.outcome_of(caller.agent_id)["outcome_status"] == "failed_provider_error"


@pytest.mark.parametrize("endless", [b"x: " + b"a" * 200_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000])
def test_a_head_without_end_is_cut_off_at_once(caller: Caller, provider: RawProvider, endless: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" if endless[:1] == b"x" else b"")
        for _ in range(100):
            connection.sendall(endless)

    provider.script = speak
    got = caller.call(model=MODEL)
    assert (got.status, got.error["reason"]) == (502, "head_too_large")
    assert caller.books.holds(caller.agent_id) == []


def test_a_stream_of_comments_ends_with_the_call_s_time(short: Caller, provider: RawProvider) -> None:
    def comment(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD)
        pause = threading.Event()
        # For minutes, if nobody ends it.
        for _ in range(3000):
            connection.sendall(b": still here\n\n")
            pause.wait(0.1)

    provider.script = comment
    began_s = time.monotonic()
    assert short.call(model=MODEL, stream=True).status == 502
    assert time.monotonic() - began_s < CALL_TIMEOUT_S + 30
    assert short.books.holds(short.agent_id) == []


def test_a_caller_who_stops_reading_pays_the_input_too(short: Caller, provider: RawProvider) -> None:
    caller = short
    words = 300_000
    delta = {"choices": [{"index": 0, "delta": {"content": "word "}}], "pad": "p" * 150}
    event = b"data: " + json.dumps(delta).encode() + b"\n\n"

    def flood(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD)
        for _ in range(words // 100):
            connection.sendall(event * 100)

    provider.script = flood
    messages = messages_of("w " * 100_000)
    body = {"model": MODEL, "stream": True, "max_tokens": 50_000, "messages": messages}
    with connected(caller, receive_bytes=4096) as connection:
        connection.sendall(raw_request(caller, body))
        eventually(lambda: bool(caller.books.outcomes(caller.agent_id)))
    outcome = caller.books.outcomes(caller.agent_id)[-1]
    assert outcome["outcome_status"] == "client_cancelled"
    tokens_in = estimated_input(json.dumps(messages).encode(), 1)
    assert outcome["input_tokens"] == tokens_in
    assert 0 < outcome["output_tokens"] < estimated_output("word " * words)
    assert outcome["cost_picousd"] == cost_of(MODEL, tokens_in, outcome["output_tokens"])
    assert caller.books.holds(caller.agent_id) == []


def test_a_caller_who_pipelines_and_breaks_off_pays_what_it_got(caller: Caller, provider: RawProvider) -> None:
    """The second request stops the server from reading, so only a write that fails can tell that the caller is gone."""
    event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "word "}}]}).encode() + b"\n\n"
    count = 3000

    def speak(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD)
        pause = threading.Event()
        # A minute of words: the caller breaks off long before, however long it is held up.
        for _ in range(count):
            connection.sendall(event)
            pause.wait(0.02)

    provider.script = speak
    messages = messages_of("hello")
    request = raw_request(caller, {"model": MODEL, "stream": True, "messages": messages})
    with connected(caller) as connection:
        connection.sendall(request * 2)
        while b"word" not in connection.recv(65536):
            pass
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: bool(caller.books.outcomes(caller.agent_id)))
    outcome = caller.books.outcomes(caller.agent_id)[0]
    assert outcome["outcome_status"] == "client_cancelled"
    assert outcome["input_tokens"] == estimated_input(json.dumps(messages).encode(), 1)
    assert 0 < outcome["output_tokens"] < estimated_output("word " * count)
    assert outcome["cost_picousd"] == cost_of(MODEL, outcome["input_tokens"], outcome["output_tokens"])
    assert caller.books.holds(caller.agent_id) == []
    assert [line for line in caller.gateway.log if line["event"] in ("inference_error", "request_failed")] == []


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
def test_a_member_s_name_of_megabytes_is_not_sent_back_whole(caller: Caller, path: str) -> None:
    hint = {"k" * 2_000_000: 1}
    got = caller.call(path=path, model=MODEL, routing_hint=hint)
    assert got.status in (400, 422)
    assert len(got.body) < 4_000


def test_the_laws_hold_over_all_of_this(caller: Caller, short: Caller) -> None:
    assert caller.books.broken_laws() == short.books.broken_laws() == {}
