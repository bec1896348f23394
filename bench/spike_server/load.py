"""Throughput and CPU: all candidates up, rounds taken in turn, compared within each round.

The first candidate and the gateway run the same code per event, so their difference there is the noise."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import cast

from bench.spike_server.probes import request
from bench.spike_server.target import Target

CONNECTIONS = 32
ROUND_S = 1.5
ROUNDS = 3
EVENTS = 50


class _Caller(asyncio.Protocol):
    """Sends the same request again whenever its answer has ended."""

    def __init__(self, data: bytes, end: bytes) -> None:
        self.data, self.end, self.answered, self.running = data, end, 0, True
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from asyncio's
        self.transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        if data.endswith(self.end):
            self.answered += 1
            if self.running:
                self.transport.write(self.data)


async def one_round(target: Target, data: bytes, end: bytes) -> tuple[float, float]:
    """Answers a second, and the server's CPU seconds per answer."""
    loop = asyncio.get_running_loop()
    callers = [_Caller(data, end) for _ in range(CONNECTIONS)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", target.port)  # type: ignore[misc]
    await asyncio.sleep(0.2)
    count, cpu_s, began = sum(c.answered for c in callers), target.cpu_s(), time.perf_counter()
    await asyncio.sleep(ROUND_S)
    count, cpu_s, wall_s = sum(c.answered for c in callers) - count, target.cpu_s() - cpu_s, time.perf_counter() - began
    for caller in callers:
        caller.running = False
        caller.transport.close()
    await asyncio.sleep(0.05)
    return count / wall_s, cpu_s / max(count, 1)


async def load(targets: list[Target]) -> dict[str, dict[str, str]]:
    """Rows per candidate; ratios are medians over rounds, each round's first candidate being 1."""
    cases = {
        "plain POST": (request("/plain", body=b"y" * 600), b'"end": 1}', 1, "request"),
        "stream": (request(f"/burst?{EVENTS}"), b"0\r\n\r\n", EVENTS, "event"),
    }
    rows: dict[str, dict[str, str]] = {target.name: {} for target in targets}
    for case, (data, end, units, unit) in cases.items():
        rates: dict[str, list[float]] = {t.name: [] for t in targets}
        costs: dict[str, list[float]] = {t.name: [] for t in targets}
        for turn in range(ROUNDS):
            for target in targets[turn % len(targets) :] + targets[: turn % len(targets)]:
                rate, cpu_s = await one_round(target, data, end)
                rates[target.name].append(rate * units)
                costs[target.name].append(cpu_s / units)
        base = targets[0].name
        for name, row in rows.items():
            rate_ratio = statistics.median(a / b for a, b in zip(rates[name], rates[base], strict=True))
            cost_ratio = statistics.median(a / b for a, b in zip(costs[name], costs[base], strict=True))
            row[f"{case}: {unit}s/s (ratio)"] = f"{statistics.median(rates[name]):,.0f} ({rate_ratio:.2f})"
            row[f"{case}: CPU per {unit} (ratio)"] = f"{statistics.median(costs[name]) * 1e6:.1f} us ({cost_ratio:.2f})"
    return rows
