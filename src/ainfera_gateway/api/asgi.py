"""The few ASGI shapes that the hot routes need: headers, a bounded body, one plain answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from ainfera_gateway.errors import GatewayError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_S = 30.0


class CallerGoneError(Exception):
    """The caller hung up before the request was whole; nobody is left to answer."""


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name, as latin-1 text."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def too_large(bytes_max: int) -> GatewayError:
    """The body is past the limit."""
    return GatewayError(413, "body_too_large", f"The body is larger than {bytes_max} bytes.")


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """The whole body. Raises 413 past ``bytes_max``, 408 when it takes too long, ``CallerGoneError``."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerGoneError
                piece = message.get("body", b"")
                size += len(piece)
                if size > bytes_max:
                    raise too_large(bytes_max)
                pieces.append(piece)
                if not message.get("more_body", False):
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except TimeoutError as exc:
        raise GatewayError(408, "request_timeout", "The body did not arrive in time.") from exc


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def answer(
    send: Send, status: int, body: bytes, headers: Mapping[str, str], *, content_type: str = "application/json"
) -> None:
    """One whole answer."""
    head = encoded({"content-type": content_type, "content-length": str(len(body)), **headers})
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
