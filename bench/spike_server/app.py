"""The app every candidate serves; each line on its stdout is one thing it saw, with the machine's monotonic time."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ANSWER = json.dumps({"id": "chatcmpl-1", "text": "x" * 256, "end": 1}).encode()
EVENT = b"data: " + b"x" * 120 + b"\n\n"
PACE_S = 0.02


def saw(what: str, **fields: object) -> None:
    os.write(1, json.dumps({"what": what, "at_s": time.monotonic(), **fields}).encode() + b"\n")


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        saw("lifespan_shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    count = int(scope["query_string"] or b"0")
    if scope["path"] == "/paced":
        await paced(receive, send, count)
    elif scope["path"] == "/burst":
        await burst(receive, send, count)
    elif scope["path"] == "/deaf":
        await deaf(receive, send, count)
    else:
        await plain(scope, receive, send)


async def read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def plain(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    answer = ANSWER if scope["path"] == "/plain" else b"%d:" % len(body) + body
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def begin(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})


async def paced(receive: Receive, send: Send, count: int) -> None:
    """One event per 20 ms that carries its own time; stops when the caller leaves, and then tries to send."""
    await read_body(receive)
    gone = asyncio.ensure_future(receive())
    await begin(send)
    for _ in range(count):
        await send({"type": "http.response.body", "body": b"data: %r\n\n" % time.monotonic(), "more_body": True})
        done, _pending = await asyncio.wait({gone}, timeout=PACE_S)
        if done:
            saw("receive", type=gone.result()["type"])
            await try_to_send(send)
            return
    gone.cancel()
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def try_to_send(send: Send) -> None:
    try:
        for _ in range(3):
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
    except Exception as exc:
        saw("send_after", outcome=f"raises {type(exc).__name__}")
    else:
        saw("send_after", outcome="silent no-op")


async def deaf(receive: Receive, send: Send, count: int) -> None:
    """Streams and never listens: is its task cancelled, does ``send`` raise, or does it run to its end?"""
    await read_body(receive)
    try:
        await begin(send)
        for _ in range(count):
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            await asyncio.sleep(PACE_S)
        await send({"type": "http.response.body", "body": b""})
    except asyncio.CancelledError:
        saw("deaf", outcome="task cancelled")
        raise
    except Exception as exc:
        saw("deaf", outcome=f"send raises {type(exc).__name__}")
    else:
        saw("deaf", outcome="runs to its end")


async def burst(receive: Receive, send: Send, count: int) -> None:
    """Events as fast as the loop turns, for the CPU one event costs."""
    await read_body(receive)
    await begin(send)
    for _ in range(count):
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})
