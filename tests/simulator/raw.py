"""A client on a bare socket, for answers that an HTTP library would hide or repair."""

from __future__ import annotations

import json
import socket
from typing import Any

from .process import Simulator

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def request_bytes(simulator: Simulator, body: object, attempt: str = "", path: str = "/v1/chat/completions") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: 127.0.0.1:{simulator.port}",
        "authorization: Bearer sk-raw-wxyz",
        "content-type: application/json",
        f"content-length: {len(data)}",
        f"x-client-request-id: {attempt}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def connect(simulator: Simulator) -> socket.socket:
    return socket.create_connection(("127.0.0.1", simulator.port), timeout=5)


def raw(simulator: Simulator, directive: str, *, stream: bool, attempt: str = "", **fields: Any) -> tuple[bytes, str]:
    """Sends one request and reads all there is; returns the bytes and how the connection ended: fin, reset, open."""
    body = {"model": "m", "stream": stream, "messages": ask(f"tell me [[sim:{directive}]]"), **fields}
    received = b""
    with connect(simulator) as sock:
        sock.sendall(request_bytes(simulator, body, attempt))
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                return received, "reset"
            received += data
            if not data:
                return received, "fin"
            if received.endswith(b"\r\n0\r\n\r\n"):
                return received, "open"


def unchunked(received: bytes) -> bytes:
    """The body bytes of a chunked answer, complete or not."""
    rest, body = received.partition(b"\r\n\r\n")[2], b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def events(received: bytes) -> list[bytes]:
    return [line.removeprefix(b"data: ") for line in unchunked(received).split(b"\n") if line.startswith(b"data: ")]


def status_of(simulator: Simulator, body: object, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"authorization": "Bearer sk-x", "content-type": "application/json", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items() if value)
    with connect(simulator) as sock:
        start = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n"
        sock.sendall(start.encode() + head.encode() + b"\r\n" + data)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    answered_head, _, answered = received.partition(b"\r\n\r\n")
    return int(answered_head.split()[1]), json.loads(answered)


def last_seen(simulator: Simulator) -> Any:
    assert simulator.wait_idle()
    return simulator.seen()[-1]
