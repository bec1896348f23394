"""A client on a bare socket, for answers that an HTTP library would hide or repair."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
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


def request_bytes(
    simulator: Simulator,
    body: object,
    attempt: str = "",
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"authorization": "Bearer sk-raw-wxyz", **(headers or {})}
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: 127.0.0.1:{simulator.port}",
        *(f"{name}: {value}" for name, value in sent.items() if value),
        *(["anthropic-version: 2023-06-01"] if path.endswith("/messages") else []),
        "content-type: application/json",
        f"content-length: {len(data)}",
        f"x-client-request-id: {attempt}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def connect(simulator: Simulator) -> socket.socket:
    return socket.create_connection(("127.0.0.1", simulator.port), timeout=60)


def raw(
    simulator: Simulator,
    directive: str,
    *,
    stream: bool,
    attempt: str = "",
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> tuple[bytes, str]:
    """Sends one request and reads all there is; returns the bytes and how the connection ended: fin, reset, open."""
    text = f"[[sim:{directive}]]"
    asked = {"input": f"tell me {text}"} if path.endswith("/responses") else {"messages": ask(f"tell me {text}")}
    body = {"model": "m", "stream": stream, **asked, **fields}
    if "messages" in fields:
        body["messages"] = [*fields["messages"][:-1], *ask(fields["messages"][-1]["content"] + text)]
    received = b""
    with connect(simulator) as sock:
        sock.sendall(request_bytes(simulator, body, attempt, path, headers))
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                return received, "reset"
            received += data
            if not data:
                return received, "fin"
            if received.endswith(b"\r\n0\r\n\r\n") or _whole(received):
                return received, "open"


def _whole(received: bytes) -> bool:
    """True when the answer states its length and all of it is there."""
    answered_head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answered_head)
    return length is not None and len(body) == int(length[1])


def unchunked(received: bytes) -> bytes:
    """The body bytes of a chunked answer, complete or not."""
    rest, body = received.partition(b"\r\n\r\n")[2], b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def events(received: bytes) -> list[bytes]:
    return [line.removeprefix(b"data: ") for line in unchunked(received).split(b"\n") if line.startswith(b"data: ")]


def named_events(received: bytes) -> list[dict[str, Any]]:
    """The events of a stream whose frames carry names; each name must be the type inside."""
    found: list[dict[str, Any]] = []
    for frame in unchunked(received).decode().split("\n\n"):
        lines = [line for line in frame.split("\n") if line]
        if lines:
            (name, data) = lines
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            found.append(event)
    return found


def status_of(simulator: Simulator, body: object, **headers: str) -> tuple[int, Any]:
    return post(simulator, "/v1/chat/completions", body, **headers)


def post(simulator: Simulator, path: str, body: object, **headers: str) -> tuple[int, Any]:
    """Sends one request on a connection of its own, headers without a value left out; returns status and JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"authorization": "Bearer sk-x", "content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
    with connect(simulator) as sock:
        start = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n"
        sock.sendall(start.encode() + head.encode() + b"\r\n" + data)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    answered_head, _, answered = received.partition(b"\r\n\r\n")
    return int(answered_head.split()[1]), json.loads(answered)


def last_seen(simulator: Simulator) -> Any:
    assert simulator.wait_idle()
    return simulator.seen()[-1]
