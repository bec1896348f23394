"""The connection is cut when a COMMIT passes, so that nobody knows whether it counted: nothing is lost or doubled.

``CRASH_SEED`` and ``CRASH_CUTS`` in the environment choose other moments and more of them.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.crash.report import note
from tests.crash.test_kill import SEED, Round, body_of, call
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.postgres import Postgres
from tests.postgres_proxy import CommitCutter
from tests.simulator.process import Simulator

CUTS = int(os.environ.get("CRASH_CUTS", "20"))
CALLERS = 16


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


@pytest.fixture
def cutter(postgres: Postgres, postgres_template: str) -> Iterator[CommitCutter]:
    name = postgres.create(postgres_template)
    with CommitCutter(postgres.url(name)) as running:
        yield running
    postgres.drop(name)


@pytest.fixture
def gateway(simulator: Simulator, cutter: CommitCutter, tmp_path: Path) -> Iterator[GatewayProcess]:
    environment = provider_environment(simulator.base_url) | {
        "AINFERA_DATABASE_URL": cutter.url,
        "AINFERA_SPEND_KILLSWITCH_USD": "1000",
        "AINFERA_ATTEMPT_TIMEOUT_S": "1",
    }
    with GatewayProcess(tmp_path / "data", environment) as running:
        yield running


async def load_and_cut(gateway: GatewayProcess, cutter: CommitCutter, keys: list[str], dice: random.Random) -> Round:
    """Keep ``CALLERS`` calls open while commits are cut; a caller that is refused makes the next call."""
    seen = Round()
    names = iter(range(1_000_000))
    stopping = asyncio.Event()

    async def caller(client: httpx.AsyncClient) -> None:
        while not stopping.is_set():
            name = f"cut-{next(names)}"
            await call(client, dice.choice(keys), name, body_of(dice, name), seen)

    async with httpx.AsyncClient(base_url=gateway.url, timeout=100) as client:
        tasks = [asyncio.create_task(caller(client)) for _ in range(CALLERS)]
        for number in range(CUTS):
            wanted = len(seen.answered) + dice.randint(1, 6)
            while len(seen.answered) < wanted:
                await asyncio.sleep(0.002)
            done = cutter.cut(after=number % 4 != 3)
            await asyncio.to_thread(done.wait, 60)
            assert done.is_set(), "no commit passed"
        stopping.set()
        await asyncio.gather(*tasks)
    return seen


@pytest.mark.timeout(3600)
def test_commits_whose_answer_is_lost(gateway: GatewayProcess, cutter: CommitCutter, simulator: Simulator) -> None:
    dice = random.Random(SEED)
    keys = [gateway.signup(f"cut-{number}")["api_key"] for number in range(4)]
    seen = asyncio.run(load_and_cut(gateway, cutter, keys, dice))
    assert simulator.wait_idle()
    wait_settled(gateway.database)
    attempts = [one.begin["attempt"] for one in simulator.seen()]
    assert problems(gateway.database, attempts) == []
    outcomes = dict(rows(gateway.database, "SELECT inference_id, outcome_status FROM routing_outcomes"))
    assert {outcomes.get(name) for name in seen.answered.values()} == {"succeeded"}, "an answer that was given is kept"
    assert set(outcomes.values()) <= {"succeeded", "failed_provider_error", "failed_other"}, "nothing is unknown"
    assert sum(line.get("event") == "ledger_unavailable" for line in gateway.log) >= CUTS // 2, "units were in the way"
    assert gateway.stop() == 0
    note("connection cut at a COMMIT, mostly after it was sent", "PostgreSQL", times=CUTS, calls=len(attempts))
