"""SIGTERM: nobody new is let in, what runs gets its time, what is left ends with an error and a settlement.

``CRASH_SEED`` and ``CRASH_DRAINS`` in the environment choose other moments, and more of them, at which a gateway that
drains is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.crash.report import note
from tests.crash.test_kill import SEED, House, Round, body_of, call, check, ready_again
from tests.evidence import problems, rows
from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import eventually
from tests.integration.raw_stream import RawStream
from tests.simulator.process import Simulator

DRAINS = int(os.environ.get("CRASH_DRAINS", "10"))
CALLERS = 24
CHAT, MESSAGES, FLAT = "/v1/chat/completions", "/v1/messages", "/v1/inference"
READY = b"GET /readyz HTTP/1.1\r\nhost: gateway\r\n\r\n"


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


def gateway_of(simulator: Simulator, folder: Path, environment: dict[str, str], drain_s: float) -> GatewayProcess:
    environment = environment | provider_environment(simulator.base_url) | {"AINFERA_DRAIN_S": str(drain_s)}
    if "AINFERA_DATABASE_URL" in environment:
        environment["AINFERA_WORKERS"] = "2"
    return GatewayProcess(folder / "data", environment | {"AINFERA_SPEND_KILLSWITCH_USD": "1000"}).start()


def begun(gateway: GatewayProcess, simulator: Simulator, path: str, *, stream: bool, until: ExitStack) -> RawStream:
    """A call that the provider works on: a stream has had its first event, a plain answer waits for its first byte."""
    key = gateway.signup(f"drain-{path.rpartition('/')[2]}-{stream}".lower())["api_key"]
    directive = "wait_ack" if stream else "hold"
    body: dict[str, Any] = {"model": "gpt-5-5", "max_tokens": 64, "stream": stream}
    body["messages"] = [{"role": "user", "content": f"a b c [[sim:{directive}]]"}]
    before = len(simulator.live())
    made = until.enter_context(RawStream(gateway.url, path, body, key))
    if stream:
        assert made.open().event() is not None
    eventually(lambda: len(simulator.live()) > before)
    return made


def test_what_runs_gets_its_time_and_nobody_new_is_let_in(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> None:
    gateway = gateway_of(simulator, tmp_path, further_environment(), 60)
    with ExitStack() as stack:
        stack.callback(gateway.kill)
        streams = [begun(gateway, simulator, path, stream=True, until=stack) for path in (CHAT, MESSAGES, FLAT)]
        plain = begun(gateway, simulator, CHAT, stream=False, until=stack)
        parts = urlsplit(gateway.url)
        address = (str(parts.hostname), parts.port or 0)
        with socket.create_connection(address, timeout=60) as idle:
            idle.sendall(READY)
            assert idle.recv(65536).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            gateway.signal_stop()
            # A connection that stands is closed, or told 503 if it asks before it is; no other can be made.
            eventually(lambda: not is_ready(idle))
            took_ms = (time.monotonic() - began) * 1000
        eventually(lambda: refuses(address))
        for one in simulator.live():
            simulator.ack_to_the_end(one["attempt"])
        for made in streams:
            assert b"error" not in made.rest()
        assert plain.open().status == 200
        assert gateway.wait() == 0
    assert problems(gateway.database, [one.begin["attempt"] for one in simulator.seen()]) == []
    outcomes = rows(gateway.database, "SELECT outcome_status FROM routing_outcomes")
    assert [row[0] for row in outcomes] == ["succeeded"] * 4
    engine = "PostgreSQL" if isinstance(gateway.database, str) else "SQLite"
    note("SIGTERM with streams open", engine, times=1, calls=4, more=f"not ready after {took_ms:.0f} ms")


def is_ready(peer: socket.socket) -> bool:
    try:
        peer.sendall(READY)
        return peer.recv(65536).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_is_left_at_the_end_of_the_drain_ends_with_an_error_and_a_settlement(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> None:
    gateway = gateway_of(simulator, tmp_path, further_environment(), 0.3)
    with ExitStack() as stack:
        stack.callback(gateway.kill)
        streams = {path: begun(gateway, simulator, path, stream=True, until=stack) for path in (CHAT, MESSAGES, FLAT)}
        plain = {path: begun(gateway, simulator, path, stream=False, until=stack) for path in (CHAT, MESSAGES)}
        assert gateway.stop() == 0
        for path, made in streams.items():
            last = made.rest().decode().strip().split("\n\n")
            (told,) = (event for event in last if "error" in event)
            assert made.ended, "the body ends as its framing demands"
            document = json.loads(told.partition("data: ")[2])
            assert document["error"], path
            assert "stopping" in told
        for path, made in plain.items():
            assert made.open().status == 503, path
            assert made.headers["retry-after"] == "1"
    assert simulator.wait_idle()
    assert {one.outcome for one in simulator.seen()} == {"client_gone"}
    assert problems(gateway.database, [one.begin["attempt"] for one in simulator.seen()]) == []
    outcomes = rows(gateway.database, "SELECT outcome_status, cost_picousd FROM routing_outcomes")
    assert [tuple(row) for row in outcomes] == [("failed_other", 0)] * 5, "a stop of ours is not the caller's to pay"


async def load_until_killed(gateway: GatewayProcess, keys: list[str], dice: random.Random, number: int) -> Round:
    """Keep ``CALLERS`` calls open, then SIGTERM, and SIGKILL at a moment of the drain."""
    seen = Round()
    names = iter(range(1_000_000))
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:

        async def caller() -> None:
            with suppress(httpx.TransportError):
                while True:
                    name = f"drain-{number}-{next(names)}"
                    await call(client, dice.choice(keys), name, body_of(dice, name), seen)

        tasks = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        wanted = dice.randint(5, 20)
        while len(seen.answered) < wanted:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(gateway.signal_stop)
        await asyncio.sleep(dice.uniform(0, 1.2))
        await asyncio.to_thread(gateway.kill)
        await asyncio.gather(*tasks)
    return seen


@pytest.mark.timeout(3600)
def test_a_gateway_that_drains_is_killed(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> None:
    dice = random.Random(SEED)
    environment = further_environment() | {"AINFERA_WORKERS": "1", "AINFERA_DRAIN_S": "0.5"}
    house = House(simulator, tmp_path / "data", environment)
    gateway = house.gateway().start()
    keys = [gateway.signup(f"drain-{number}")["api_key"] for number in range(4)]
    for number in range(DRAINS):
        seen = asyncio.run(load_until_killed(gateway, keys, dice, number))
        gateway = ready_again(house)
        try:
            check(house, gateway.database, seen, "failed_other", "client_cancelled")
        except BaseException:
            gateway.kill()
            raise
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 30
    note("SIGTERM, then kill -9 while it drains", house.engine, times=DRAINS, calls=simulator.count())
