"""The server in a process of its own, over real sockets: what it answers before the app, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

APP = Path(__file__).with_name("server_app.py")
WAIT_S = 60.0
"""Longer than anything here takes, however busy the machine is; what must not happen takes longer still."""
SHORT_S = 0.5
TRIES = 10


class Server:
    """Its own deadlines are far away unless a test is about them: a caller may be held up between any two steps."""

    def __init__(
        self,
        *,
        port: int = 0,
        drain_s: float = WAIT_S,
        head_timeout_s: float = WAIT_S,
        linger_s: float = WAIT_S,
        extra: str = "",
    ) -> None:
        numbers = (port, drain_s, head_timeout_s, linger_s)
        command = [sys.executable, "-W", "error", str(APP), *map(str, numbers), extra]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.first = self.line()
        self.port = int(self.first.split()[1]) if self.first.startswith("ready") else 0

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def connect(self, data: bytes = b"") -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        peer.sendall(data)
        return peer

    def ask(self, data: bytes) -> bytes:
        """All that comes back until the server closes."""
        with self.connect(data) as peer:
            return read_to_end(peer)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[str], str]:
        """Exit code, the lines not read yet, and stderr; a server that failed to start ends by itself."""
        if self.port:
            self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, list[str], str]:
        """The same of a server that is ending already: a further signal may find no handler any more."""
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out.splitlines(), err

    def end_with_the_test(self) -> None:
        """Nothing is left of a server whose test broke off before its end."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    code, _, err = running.stop()
    assert (code, err) == (0, "")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts a server of the test's own."""
    made: list[Server] = []

    def start(**how: Any) -> Server:
        made.append(Server(**how))
        return made[-1]

    yield start
    for one in made:
        one.end_with_the_test()


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A server that waits half a second for a head. It may hang up on a caller who was held up before its first byte."""
    running = Server(head_timeout_s=SHORT_S)
    yield running
    assert running.stop()[0] == 0


def once_heard(ask: Callable[[], bytes]) -> bytes:
    """What the server answers; asked again when it had hung up, without a word, on a caller who came to nothing."""
    for _ in range(TRIES):
        try:
            if answer := ask():
                return answer
        except ConnectionError:
            continue
    raise AssertionError("the server never answered")


def read_to_end(peer: socket.socket) -> bytes:
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_until(peer: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        part = peer.recv(65536)
        assert part, data
        data += part
    return data


def assert_envelope(raw: bytes, status: int, code: str) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), raw
    assert b"\r\ncontent-type: application/json" in head
    assert b"\r\nconnection: close" in head
    assert b"\r\nserver:" not in head.lower()
    envelope: dict[str, Any] = json.loads(body)
    assert set(envelope) == {"code", "error", "message", "detail", "request_id"}
    assert envelope["code"] == envelope["error"] == envelope["detail"]["code"] == code
    assert len(envelope["request_id"]) == 32
    return envelope


def request(path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    length = [f"content-length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: gateway", *length, *lines, "", ""]).encode() + body


CLOSE = "connection: close"


def test_plain_request_and_keep_alive(server: Server) -> None:
    with server.connect(request("/echo", method="POST", body=b"one")) as peer:
        assert b"POST host,content-length one" in read_until(peer, b" one")
        peer.sendall(request("/echo", CLOSE, method="POST", body=b"two"))
        last = read_to_end(peer)
    assert last.endswith(b" two")
    assert b"\r\ndate: " in last


def test_slow_head_is_answered_408_although_bytes_keep_coming(strict: Server) -> None:
    waited_s = 0.0

    def drip() -> bytes:
        nonlocal waited_s
        began_s = time.monotonic()
        with strict.connect() as peer:
            peer.settimeout(0.1)
            for byte in request("/echo", "x-slow: " + "a" * 500):
                peer.sendall(bytes([byte]))
                try:
                    answer = peer.recv(65536)
                except TimeoutError:
                    continue
                waited_s = time.monotonic() - began_s
                peer.settimeout(WAIT_S)
                return answer + read_to_end(peer)
        raise AssertionError("the whole head was taken, although it took most of a minute")

    assert_envelope(once_heard(drip), 408, "request_timeout")
    assert waited_s > SHORT_S - 0.1


def test_slow_head_after_a_kept_alive_answer(strict: Server) -> None:
    def keep_alive() -> bytes:
        with strict.connect(request("/echo")) as peer:
            first = b""
            while b"GET host " not in first:  # the head and the body may come apart
                part = peer.recv(65536)
                first += part
                if not part:
                    assert not first, first
                    return b""
            peer.sendall(b"GET /echo HT")
            return read_to_end(peer)

    assert_envelope(once_heard(keep_alive), 408, "request_timeout")


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n"])
def test_silent_connection_is_closed_without_an_answer(strict: Server, data: bytes) -> None:
    try:
        assert strict.ask(data) == b""
    except ConnectionResetError:
        assert data, "only bytes that came too late are met by a reset"


def test_slow_second_head_does_not_cut_into_a_running_stream(strict: Server) -> None:
    raw = once_heard(lambda: strict.ask(request("/stream?8") + b"GET /ec"))
    assert raw.count(b"HTTP/1.1") == 1
    assert raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (request("/", "x-big: " + "a" * 20_000), 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nx-endless: " + b"a" * 400_000, 431, "headers_too_large"),
        (request("/", *[f"x-{i}: 1" for i in range(60)]), 431, "headers_too_large"),
        (request("/" + "a" * 9000), 414, "uri_too_long"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "invalid_request"),
        (b"hello\r\n\r\n", 400, "invalid_request"),
        (request("/", "content-length: 3", "transfer-encoding: chunked"), 400, "invalid_request"),
        (request("/", "content-length: 3", "content-length: 4"), 400, "invalid_request"),
        (request("/", "bad name: 1"), 400, "invalid_request"),
        (request("/", "x-nul: a\0b"), 400, "invalid_request"),
        (request("/\u00e9"), 400, "invalid_request"),
        (request("/echo", "transfer-encoding: chunked", method="POST") + b"zz\r\n", 400, "invalid_request"),
        (b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n", 405, "method_not_allowed"),
    ],
)
def test_bad_heads_are_refused_in_the_native_envelope(server: Server, data: bytes, status: int, code: str) -> None:
    assert_envelope(server.ask(data), status, code)


def test_garbage_behind_a_stream_leaves_the_stream_whole(server: Server) -> None:
    raw = server.ask(request("/stream?2") + b"\x00garbage\r\n\r\n")
    assert raw.count(b"HTTP/1.1") == 1
    assert raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_pipelined_requests_are_answered_in_order_and_bounded(server: Server) -> None:
    ten = b"".join(request("/echo", method="POST", body=b"%d;" % i) for i in range(10))
    raw = server.ask(ten + request("/echo", CLOSE))
    assert [raw.index(b" %d;" % i) for i in range(10)] == sorted(raw.index(b" %d;" % i) for i in range(10))
    assert server.ask(request("/echo") * 500).count(b"HTTP/1.1 200") <= 17


def test_body_of_a_request_that_offers_h2c_reaches_the_app(server: Server) -> None:
    offer = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQBAAAAAAIAAAAA"]
    raw = request("/echo", *offer, method="POST", body=b"kept")
    with server.connect(raw[:-2]) as peer:
        peer.sendall(raw[-2:])
        assert read_until(peer, b"kept").endswith(b"POST host,content-length kept")
        peer.sendall(request("/echo", CLOSE))
        assert read_to_end(peer).startswith(b"HTTP/1.1 200 OK")


def test_trailers_do_not_become_headers(server: Server) -> None:
    chunked = b"2\r\nhi\r\n0\r\nx-ainfera-internal-key: smuggled\r\n\r\n"
    raw = server.ask(request("/echo", CLOSE, "transfer-encoding: chunked", method="POST") + chunked)
    assert raw.endswith(b"POST host,connection,transfer-encoding hi")


def test_endless_trailers_are_refused(server: Server) -> None:
    endless = b"2\r\nhi\r\n0\r\nx-long: " + b"a" * 1_200_000
    raw = server.ask(request("/echo", "transfer-encoding: chunked", method="POST") + endless)
    assert_envelope(raw, 400, "invalid_request")


def test_body_that_never_ends_after_its_answer_is_dropped(serve: Callable[..., Server]) -> None:
    server = serve(linger_s=SHORT_S)
    began_s = time.monotonic()
    raw = server.ask(request("/refuse", "content-length: 1000", method="POST") + b"part")
    assert raw.endswith(b"no key")
    assert time.monotonic() - began_s > SHORT_S - 0.1, "the rest of the body was waited for a while"
    assert server.stop()[0] == 0


def test_what_escapes_the_app_is_json(serve: Callable[..., Server]) -> None:
    server = serve()
    assert_envelope(server.ask(request("/raise")), 500, "internal_server_error")
    code, _, err = server.stop()
    assert code == 0
    assert err.count("Traceback") == err.count("ValueError: escaped") == 1  # nothing else is written


def test_disconnect_is_seen_by_the_app(serve: Callable[..., Server]) -> None:
    server = serve()
    # The stream would go on for minutes, and nothing is said at its end.
    with server.connect(request("/stream?3000")) as peer:
        read_until(peer, b"data: 1\n")
    left_s = time.monotonic()
    assert server.line() == "saw http.disconnect"
    assert time.monotonic() - left_s < 30
    with server.connect(request("/echo", "content-length: 10", method="POST") + b"part") as peer:
        peer.shutdown(socket.SHUT_WR)
        assert read_to_end(peer) == b""
    assert server.line() == "disconnect before the body's end"
    assert server.stop() == (0, ["drain", "lifespan shutdown", "returned"], "")


def test_sigterm_lets_a_running_stream_finish(serve: Callable[..., Server]) -> None:
    server = serve()
    with server.connect(request("/echo")) as idle, server.connect(request("/stream?8")) as peer:
        read_until(idle, b"GET host ")
        seen = read_until(peer, b"data: 1\n")
        server.process.send_signal(signal.SIGTERM)
        assert server.line() == "drain"
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        assert read_to_end(idle) == b""
        seen += read_to_end(peer)
    assert seen.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert server.end() == (0, ["lifespan shutdown", "returned"], "")


def test_drain_ends_after_its_deadline(serve: Callable[..., Server]) -> None:
    server = serve(drain_s=0.3)
    # Both would go on for ten minutes.
    with server.connect(request("/hold")) as held, server.connect(request("/stream?6000")) as streaming:
        assert server.line() == "hold begins"
        read_until(streaming, b"data: 0\n")
        began = time.monotonic()
        code, lines, _ = server.stop()
        elapsed_s = time.monotonic() - began
        assert_envelope(read_to_end(held), 503, "overloaded")
        assert b"[DONE]" not in read_to_end(streaming)
    assert (code, lines) == (0, ["drain", "lifespan shutdown", "returned"])
    assert 0.2 < elapsed_s < 30


def test_second_sigint_ends_the_drain_at_once(serve: Callable[..., Server]) -> None:
    server = serve(drain_s=600)
    with server.connect(request("/hold")):
        assert server.line() == "hold begins"
        server.process.send_signal(signal.SIGINT)
        assert server.line() == "drain"
        began = time.monotonic()
        code, lines, _ = server.stop(signal.SIGINT)
    assert (code, lines) == (0, ["lifespan shutdown", "returned"])
    assert time.monotonic() - began < 30


def test_port_in_use_is_said_plainly(server: Server, serve: Callable[..., Server]) -> None:
    second = serve(port=server.port)
    assert second.first == f"failed [Errno 98] cannot listen on 127.0.0.1:{server.port}: Address already in use"
    assert second.stop()[0] == 1


def test_what_the_start_up_raises_reaches_the_caller(serve: Callable[..., Server]) -> None:
    failing = serve(extra="fail")
    assert failing.first == "failed no database"
    assert failing.stop()[0] == 1
