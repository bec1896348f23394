"""The app behind test_server.py, in a process of its own: says on stdout, line by line, what it saw."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ainfera_gateway.cli.http_protocol import ServerLimits
from ainfera_gateway.cli.server import run_server


def say(*words: object) -> None:
    print(*words, flush=True)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        if "fail" in sys.argv:
            raise ValueError("no database")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("lifespan shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    if path == "/raise":
        raise ValueError("escaped")
    if path == "/refuse":  # an answer before the body, as the door gives
        await answer(send, 401, b"no key")
    elif path == "/stream":
        await stream(scope, receive, send)
    elif path == "/hold":
        say("hold begins")
        await asyncio.sleep(600)
    else:
        await echo(scope, receive, send)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            say("disconnect before the body's end")
            return
        body, more = body + message["body"], message["more_body"]
    names = b",".join(name for name, _ in scope["headers"])
    await answer(send, 200, scope["method"].encode() + b" " + names + b" " + body)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    count = int(scope["query_string"] or b"5")
    await receive()
    gone = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for i in range(count):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % i, "more_body": True})
        done, _ = await asyncio.wait({gone}, timeout=0.1)
        if done:
            say("saw", gone.result()["type"])
            return
    gone.cancel()
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def answer(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    port, drain_s, head_timeout_s, linger_s = int(sys.argv[1]), *map(float, sys.argv[2:5])
    limits = ServerLimits(head_timeout_s, head_bytes_max=16 * 1024, header_count_max=50, linger_s=linger_s)
    try:
        run_server(
            app,
            host="127.0.0.1",
            port=port,
            drain_s=drain_s,
            on_ready=lambda actual: say("ready", actual),
            on_drain=lambda: say("drain"),
            limits=limits,
        )
    except (OSError, ValueError) as exc:
        say("failed", exc)
        raise SystemExit(1) from exc
    say("returned")


if __name__ == "__main__":
    main()
