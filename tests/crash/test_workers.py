"""kill -9 of one of two workers, again and again while the other serves: nothing is lost, nothing is doubled.

``CRASH_SEED`` and ``CRASH_WORKER_KILLS`` in the environment choose other moments and more of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.crash.report import note
from tests.crash.test_kill import SEED, Round, body_of, call
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.postgres import Postgres
from tests.simulator.process import Simulator

KILLS = int(os.environ.get("CRASH_WORKER_KILLS", "10"))
CALLERS = 24


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


@pytest.fixture
def gateway(
    simulator: Simulator, tmp_path: Path, postgres: Postgres, postgres_template: str
) -> Iterator[GatewayProcess]:
    name = postgres.create(postgres_template)
    environment = provider_environment(simulator.base_url) | {
        "AINFERA_DATABASE_URL": postgres.url(name),
        "AINFERA_WORKERS": "2",
        "AINFERA_SPEND_KILLSWITCH_USD": "1000",
        "AINFERA_ATTEMPT_TIMEOUT_S": "5",
    }
    with GatewayProcess(tmp_path / "data", environment) as running:
        yield running
    postgres.drop(name)


def workers_of(gateway: GatewayProcess) -> list[int]:
    """The process ids of the workers that live now; one that was killed is there until its parent has taken note."""
    return [int(pid) for pid in Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()]


def deaths_of(gateway: GatewayProcess) -> int:
    """How many workers the gateway has said to have died."""
    return sum(line.get("event") == "worker_died" for line in gateway.log)


async def eventually_two(gateway: GatewayProcess) -> list[int]:
    async with asyncio.timeout(100):
        while len(found := workers_of(gateway)) < 2:
            await asyncio.sleep(0.05)
    return found


async def load_and_kill(gateway: GatewayProcess, keys: list[str], dice: random.Random) -> Round:
    """Keep ``CALLERS`` calls open while workers die; a caller whose connection breaks makes the next call."""
    seen = Round()
    names = iter(range(1_000_000))
    stopping = asyncio.Event()

    async def caller() -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=100, limits=limits) as client:
            while not stopping.is_set():
                name = f"worker-{next(names)}"
                try:
                    await call(client, dice.choice(keys), name, body_of(dice, name), seen)
                except httpx.TransportError:
                    seen.in_flight -= 1

    tasks = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    for number in range(KILLS):
        # A kill that the gateway has not noticed yet would be followed by one of the same process.
        wanted = len(seen.answered) + dice.randint(2, 8)
        while deaths_of(gateway) < number or len(seen.answered) < wanted:
            await asyncio.sleep(0.005)
        os.kill(dice.choice(await eventually_two(gateway)), signal.SIGKILL)
    while deaths_of(gateway) < KILLS:
        await asyncio.sleep(0.005)
    stopping.set()
    await asyncio.gather(*tasks)
    return seen


@pytest.mark.timeout(3600)
def test_one_worker_dies_while_the_other_serves(gateway: GatewayProcess, simulator: Simulator) -> None:
    dice = random.Random(SEED)
    keys = [gateway.signup(f"worker-{number}")["api_key"] for number in range(4)]
    seen = asyncio.run(load_and_kill(gateway, keys, dice))
    assert simulator.wait_idle()
    # Who takes a dead worker's place settles what that one left open: nobody waits for a lease to run out.
    wait_settled(gateway.database)
    assert problems(gateway.database, [one.begin["attempt"] for one in simulator.seen()], may_lack=True) == []
    outcomes = dict(rows(gateway.database, "SELECT inference_id, outcome_status FROM routing_outcomes"))
    assert {outcomes.get(name) for name in seen.answered.values()} <= {"succeeded"}, "an answer that was given is kept"
    counted = Counter(outcomes.values())
    assert set(counted) <= {"succeeded", "indeterminate", "failed_provider_error", "client_cancelled"}
    assert counted["indeterminate"] >= KILLS, "calls were open each time"
    assert deaths_of(gateway) == KILLS
    assert gateway.stop() == 0
    note("kill -9 of one of two workers", "PostgreSQL", times=KILLS, calls=simulator.count())
