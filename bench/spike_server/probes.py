"""What each candidate does with slow, broken, leaving and staying peers. Each probe returns rows: what was asked, what was seen."""

from __future__ import annotations

import asyncio
import statistics
import time

from bench.spike_server.target import DRAIN_S, HEAD_TIMEOUT_S, Target

Rows = dict[str, str]
OBSERVE_S = HEAD_TIMEOUT_S + 3


def request(path: str, *lines: str, body: bytes = b"") -> bytes:
    return (
        "\r\n".join([f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *lines, "", ""]).encode()
        + body
    )


async def outcome(reader: asyncio.StreamReader, within_s: float = 2.0) -> str:
    """The answer as ``status kind``, or how the connection ended without one."""
    try:
        raw = await asyncio.wait_for(reader.read(65536), within_s)
        if not raw:
            return "closed, no answer"
        if b"\r\n\r\n" in raw and not raw.partition(b"\r\n\r\n")[2]:
            raw += await asyncio.wait_for(reader.read(65536), 0.2)
    except TimeoutError:
        if not locals().get("raw"):
            return "no answer"
    except ConnectionError:
        return "reset"
    head, _, body = raw.partition(b"\r\n\r\n")
    kind = "JSON" if b"application/json" in head else "text" if body else "empty"
    return f"{head[9:12].decode()} {kind}"


async def slow_head(target: Target) -> Rows:
    async def drip(*, after_a_request: bool) -> str:
        reader, writer = await target.connect()
        if after_a_request:
            writer.write(request("/plain"))
            await reader.readuntil(b'"end": 1}')
        began = time.monotonic()
        answer = asyncio.create_task(outcome(reader, OBSERVE_S))
        for byte in request("/plain", "x-slow: " + "a" * 100):
            writer.write(bytes([byte]))
            done, _ = await asyncio.wait({answer}, timeout=0.2)
            if done or time.monotonic() - began > OBSERVE_S:
                break
        seen = await answer
        writer.close()
        return f"still open after {OBSERVE_S} s" if seen == "no answer" else f"{seen}, {time.monotonic() - began:.1f} s"

    first, second = await asyncio.gather(drip(after_a_request=False), drip(after_a_request=True))
    return {"slow head (5 bytes/s), first request": first, "slow head, kept-alive connection": second}


async def bad_heads(target: Target) -> Rows:
    cases = {
        "headers of 40 KiB": request("/plain", "x-big: " + "a" * 40_960),
        "headers of 1 MiB": request("/plain", "x-big: " + "a" * 1_048_576),
        "200 headers": request("/plain", *[f"x-{i}: 1" for i in range(200)]),
        "garbage": b"\x16\x03\x01\x02\x00\r\n\r\n",
        "length and chunked both": request("/plain", "transfer-encoding: chunked") + b"0\r\n\r\n",
    }
    rows = {}
    for name, data in cases.items():
        reader, writer = await target.connect()
        writer.write(data)
        rows[name] = await outcome(reader)
        writer.close()
    reader, writer = await target.connect()
    writer.write(
        request("/echo", "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AA", body=b"kept")
    )
    raw = b""
    try:
        async with asyncio.timeout(1.0):
            while not raw.endswith((b"4:kept", b"0:")) and (part := await reader.read(65536)):
                raw += part
    except TimeoutError:
        raw = raw or b"no answer"
    rows["body of a request offering h2c"] = "kept" if raw.endswith(b"4:kept") else "LOST"
    writer.close()
    reader, writer = await target.connect()
    writer.write(b"".join(request("/echo", body=b"%d" % i) for i in range(8)))
    raw = b""
    while not raw.endswith(b"1:7") and (part := await asyncio.wait_for(reader.read(65536), 2.0)):
        raw += part
    writer.close()
    rows["8 pipelined requests"] = "in order" if raw.count(b" 200 ") == 8 else f"{raw.count(b' 200 ')} answered"
    return rows


async def streaming(target: Target) -> Rows:
    reader, writer = await target.connect()
    writer.write(request("/paced?60"))
    lags_ms, reads, merged = [], 0, 0
    data = b""
    while b"[DONE]" not in data:
        data = await reader.read(65536)
        now = time.monotonic()
        stamps = [float(part.split(b"\n")[0]) for part in data.split(b"data: ")[1:] if not part.startswith(b"[")]
        lags_ms += [(now - stamp) * 1000 for stamp in stamps]
        reads, merged = reads + bool(stamps), merged + (len(stamps) > 1)
    writer.close()
    return {
        "stream: events merged into one read": f"{merged} of {len(lags_ms)}",
        "stream: send to arrival, p50 / max": f"{statistics.median(lags_ms):.2f} / {max(lags_ms):.2f} ms",
    }


async def disconnect(target: Target) -> Rows:
    reader, writer = await target.connect()
    writer.write(request("/paced?500"))
    await reader.readuntil(b"data: ")
    writer.transport.abort()
    left_at = time.monotonic()
    gone, after = await target.event("receive"), await target.event("send_after", 1.0)
    reader, writer = await target.connect()
    writer.write(request("/deaf?40"))
    await reader.readuntil(b"data: ")
    writer.transport.abort()
    deaf = await target.event("deaf")
    return {
        "disconnect: receive() says so after": f"{(gone['at_s'] - left_at) * 1000:.1f} ms" if gone else "never",
        "disconnect: send() afterwards": after["outcome"] if after else "nothing seen",
        "disconnect: app that only sends": deaf["outcome"] if deaf else "nothing seen",
    }


async def memory(target: Target) -> Rows:
    count, idle_kib = 400, target.rss_kib()
    peers = [await target.connect() for _ in range(count)]
    for reader, writer in peers:
        writer.write(request("/plain"))
        await reader.readuntil(b'"end": 1}')
    grown_kib = target.rss_kib() - idle_kib
    for _, writer in peers:
        writer.close()
    return {
        "memory: RSS idle (processes)": f"{idle_kib / 1024:.0f} MiB ({len(target.processes())})",
        "memory: per kept-alive connection": f"{grown_kib / count:.1f} KiB",
    }


async def drain(name: str) -> Rows:
    """SIGTERM with a stream that ends in time and an idle connection; then one with a stream that does not end."""
    target = await Target(name).start()
    idle_reader, idle = await target.connect()
    idle.write(request("/plain"))
    await idle_reader.readuntil(b'"end": 1}')
    reader, writer = await target.connect()
    writer.write(request("/paced?75"))
    await reader.readuntil(b"data: ")
    began = time.monotonic()
    target.terminate()
    refused_s: float | None = None
    while refused_s is None and time.monotonic() - began < 1.2:
        try:
            _, extra = await target.connect()
            extra.close()
            await asyncio.sleep(0.01)
        except OSError:
            refused_s = time.monotonic() - began
    idle_end = await outcome(idle_reader, 0.1)
    try:
        rest = await asyncio.wait_for(reader.read(-1), 8)
        whole = "whole" if rest.endswith(b"0\r\n\r\n") else "CUT"
    except (TimeoutError, ConnectionError) as exc:
        whole = type(exc).__name__
    ended = time.monotonic()
    idle.close()
    rows = {"drain: running stream": whole, "drain: idle connection": idle_end}
    rows["drain: port refuses after"] = f"{refused_s * 1000:.0f} ms" if refused_s is not None else "not while draining"
    rows["drain: exit"] = await ending(target, ended, "the stream's end")
    target = await Target(name).start()
    reader, writer = await target.connect()
    writer.write(request("/paced?1000"))
    await reader.readuntil(b"data: ")
    await asyncio.sleep(0.5)  # granian's parent takes signals only some time after its worker serves
    began = time.monotonic()
    target.terminate()
    rows[f"drain: endless stream, deadline {DRAIN_S} s"] = await ending(target, began, "SIGTERM")
    writer.close()
    return rows


async def ending(target: Target, since_s: float, what: str) -> str:
    try:
        code = await asyncio.wait_for(target.process.wait(), DRAIN_S + 4)
    except TimeoutError:
        await target.stop()
        return "does not exit"
    seconds = time.monotonic() - since_s
    shutdown = "ran" if await target.event("lifespan_shutdown", 0.1) else "NOT run"
    await target.stop()
    return f"code {code}, {seconds:.1f} s after {what}, lifespan {shutdown}"
