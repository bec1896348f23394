"""The whole way against the provider simulator: how many calls a second, what it adds to each, what it costs in CPU.

    python -m bench.bench_way [--seconds 1.0] [--rounds 3]

Direct and through the gateway take turns in every round, on the same machine, from the same caller; ratios of paired
rounds say more than any figure alone. The gateway runs as its users run it, durable (SQLite, synchronous FULL).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import uvloop

from ainfera_gateway.providers.http import UpstreamClient
from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator

CONNECTIONS = (1, 8, 64)
KINDS = ("plain", "stream")
_WARM_S = 0.3


@dataclass(frozen=True, slots=True)
class Way:
    """Where calls go: straight to the provider, or through the gateway (then with its process, for its CPU)."""

    url: str
    key: str
    model: str
    process: psutil.Process | None = None


@dataclass(slots=True)
class Figures:
    """One kind of call on one way at one number of connections, a value for each round."""

    per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def body_of(model: str, kind: str) -> bytes:
    """A short call; a stream of it is a dozen events."""
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 16}
    return json.dumps(body | ({"stream": True} if kind == "stream" else {})).encode()


async def measure(way: Way, kind: str, connections: int, seconds: float) -> tuple[float, list[float], float]:
    """(calls a second, latencies in seconds, CPU µs of the gateway per call) of so many callers at once."""
    client = UpstreamClient()
    headers = {"authorization": f"Bearer {way.key}", "content-type": "application/json"}
    body, url = body_of(way.model, kind), f"{way.url}/v1/chat/completions"
    latencies: list[float] = []
    start_s = time.perf_counter() + (_WARM_S if connections > 1 else 0.1)
    end_s = start_s + seconds

    async def caller() -> None:
        while (begun_s := time.perf_counter()) < end_s:
            async with client.post(url, body=body, headers=headers, head_timeout_s=30) as reply:
                answer = await reply.body(1 << 20)
            if reply.status != 200 or (kind == "stream" and not answer.endswith(b"[DONE]\n\n")):
                raise RuntimeError(f"a call failed with {reply.status}: {answer[:200]!r}")
            if begun_s >= start_s:
                latencies.append(time.perf_counter() - begun_s)

    async def cpu_used() -> float:
        if way.process is None:
            return 0.0
        await asyncio.sleep(max(0.0, start_s - time.perf_counter()))
        before = way.process.cpu_times()
        await asyncio.sleep(max(0.0, end_s - time.perf_counter()))
        after = way.process.cpu_times()
        return float(after.user + after.system - before.user - before.system)

    try:
        used, *_ = await asyncio.gather(cpu_used(), *(caller() for _ in range(connections)))
    finally:
        await client.close()
    return len(latencies) / seconds, latencies, 1e6 * (used or 0.0) / len(latencies)


async def run(ways: dict[str, Way], rounds: int, seconds: float) -> dict[tuple[str, int, str], Figures]:
    """Every kind at every number of connections, the ways by turns."""
    found: dict[tuple[str, int, str], Figures] = {}
    for kind in KINDS:
        for connections in CONNECTIONS:
            for number in range(rounds):
                order = list(ways) if number % 2 == 0 else list(reversed(ways))
                for name in order:
                    per_s, latencies, cpu_us = await measure(ways[name], kind, connections, seconds)
                    latencies.sort()
                    figures = found.setdefault((kind, connections, name), Figures())
                    figures.per_s.append(per_s)
                    figures.p50_ms.append(1000 * latencies[len(latencies) // 2])
                    figures.p99_ms.append(1000 * latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)])
                    figures.cpu_us.append(cpu_us)
    return found


def table(found: dict[tuple[str, int, str], Figures]) -> str:
    """The medians over the rounds; the ratio is the median of the rounds' own ratios."""
    columns = ("kind", "conns", "direct/s", "gateway/s", "ratio", "added p50 ms", "p50 ms", "p99 ms", "CPU us/call")
    rows = [columns]
    for kind in KINDS:
        for connections in CONNECTIONS:
            direct, through = found[kind, connections, "direct"], found[kind, connections, "gateway"]
            pairs = list(zip(through.per_s, direct.per_s, strict=True))
            added = [mine - plain for mine, plain in zip(through.p50_ms, direct.p50_ms, strict=True)]
            rows.append(
                (
                    kind,
                    str(connections),
                    f"{statistics.median(direct.per_s):.0f}",
                    f"{statistics.median(through.per_s):.0f}",
                    f"{statistics.median(mine / plain for mine, plain in pairs):.3f}",
                    f"{statistics.median(added):.2f}",
                    f"{statistics.median(through.p50_ms):.2f}",
                    f"{statistics.median(through.p99_ms):.2f}",
                    f"{statistics.median(through.cpu_us):.0f}",
                )
            )
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows)


def main() -> None:
    """Start the simulator and a gateway, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default 1.0)")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair (default 3)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-way-") as folder, Simulator(Path(folder), fsync=False) as simulator:
        environment = provider_environment(simulator.base_url) | {
            "AINFERA_SIGNUP_GRANT_USD": "100000",
            "AINFERA_SPEND_KILLSWITCH_USD": "1000000",
            "AINFERA_RATE_LIMIT_RPM": "10000000",
            "AINFERA_LOG_LEVEL": "WARNING",
        }
        with GatewayProcess(Path(folder) / "data", environment) as gateway:
            key = gateway.signup("bench")["api_key"]
            ways = {
                "direct": Way(simulator.root_url, "sk-direct-0123456789", "gpt-5.5"),
                "gateway": Way(gateway.url, key, "gpt-5-5", psutil.Process(gateway.pid)),
            }
            print(table(uvloop.run(run(ways, asked.rounds, asked.seconds))))
    cores = psutil.cpu_count()
    print(f"\n{asked.rounds} rounds of {asked.seconds:g} s; caller, gateway and simulator share {cores} cores.")
    print("ratio: calls a second through the gateway over direct; CPU: of the gateway's process, all its threads.")


if __name__ == "__main__":
    main()
