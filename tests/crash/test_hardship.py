"""A full disk, a clock that jumps, two that recover at once, a start with many open holds.

``CRASH_HARDSHIPS`` and ``CRASH_HOLDS`` in the environment ask for more rounds and more holds.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ainfera_gateway.audit.keys import load_or_create_keys
from ainfera_gateway.audit.seal import seal
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.engine import Database, migrate
from ainfera_gateway.storage.recorder import open_recorder
from bench.calls import OpenAgent, facts, opening
from tests.crash.report import note
from tests.crash.test_outage import CALLERS, Held, check, eventually, kept, refusal
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.postgres import Postgres, running_postgres
from tests.simulator.process import Simulator

ROUNDS = int(os.environ.get("CRASH_HARDSHIPS", "1"))
HOLDS = int(os.environ.get("CRASH_HOLDS", "1000"))
HOUR_S = 3600


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


def environment_of(simulator: Simulator) -> dict[str, str]:
    return provider_environment(simulator.base_url) | {"AINFERA_SPEND_KILLSWITCH_USD": "1000"}


def fill_disk(gateway: GatewayProcess) -> None:
    """From now on, no file of the gateway takes another byte."""
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (1, hard))


def free_disk(gateway: GatewayProcess) -> None:
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.timeout(600)
def test_the_disk_is_full_under_sqlite(simulator: Simulator, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "data", environment_of(simulator)) as gateway:
        key = gateway.signup("disk")["api_key"]
        told: dict[str, str] = {}
        for _ in range(ROUNDS):
            held = Held(gateway, simulator, key)
            fill_disk(gateway)
            refused = refusal(gateway, key)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable"), refused.text
            held.release()
            told |= held.costs()
            free_disk(gateway)
            eventually(lambda: refusal(gateway, key).status_code == 200, "the gateway is not back")
        check(gateway, simulator, told)
        assert gateway.stop() == 0
    note("disk full, database and spool", "SQLite", times=ROUNDS, calls=len(simulator.seen()))


@pytest.mark.timeout(600)
def test_the_disk_is_full_while_the_server_is_away(simulator: Simulator, tmp_path: Path) -> None:
    with running_postgres() as server:
        url = server.url(server.create())
        migrate(Database(url))
        with GatewayProcess(tmp_path / "data", environment_of(simulator) | {"AINFERA_DATABASE_URL": url}) as gateway:
            key = gateway.signup("disk")["api_key"]
            told: dict[str, str] = {}
            for _ in range(ROUNDS):
                held = Held(gateway, simulator, key)
                server.stop_at_once()
                fill_disk(gateway)
                held.release()
                told |= held.costs()
                assert kept(gateway) == 0, "nothing could be kept on disk"
                server.start()
                free_disk(gateway)
                eventually(lambda: refusal(gateway, key).status_code == 200, "the gateway is not back")
            check(gateway, simulator, told)
            assert gateway.stop() == 0
    note("disk full, spool, server stopped", "PostgreSQL", times=ROUNDS, calls=len(simulator.seen()))


@pytest.mark.timeout(600)
def test_the_clock_jumps(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> None:
    environment = environment_of(simulator) | further_environment()
    faults = tmp_path / "fault"
    clock = tmp_path / "fault.clock"
    gateway = GatewayProcess(tmp_path / "data", environment, faults=faults).start()
    try:
        key = gateway.signup("clock")["api_key"]
        told: dict[str, str] = {}
        for jump_s in (HOUR_S, -HOUR_S, 25 * HOUR_S, 0) * ROUNDS:
            held = Held(gateway, simulator, key)
            clock.write_text(str(jump_s))
            assert refusal(gateway, key).status_code == 200
            time.sleep(1.5)  # a turn of the timer that recovers what nobody works on
            held.release()
            told |= held.costs()
        check(gateway, simulator, told)
        ((spread_us,),) = rows(gateway.database, "SELECT MAX(created_us) - MIN(created_us) FROM transfers")
        assert spread_us > 25 * HOUR_S * 1_000_000, "the clock did jump"
        held = Held(gateway, simulator, key)
        gateway.kill()
        clock.write_text(str(-2 * HOUR_S))
        gateway.start()
        wait_settled(gateway.database)
        held.abandon()
        attempts = [one.begin["attempt"] for one in simulator.seen()]
        assert problems(gateway.database, attempts, may_lack=True) == []
    finally:
        gateway.kill()
    engine = "PostgreSQL" if "AINFERA_DATABASE_URL" in environment else "SQLite"
    note("clock jumps by hours, forth and back", engine, times=4 * ROUNDS + 1, calls=len(attempts))


@pytest.mark.timeout(600)
def test_two_recover_at_once(simulator: Simulator, tmp_path: Path, postgres: Postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    environment = environment_of(simulator) | {"AINFERA_DATABASE_URL": postgres.url(name)}
    for number in range(ROUNDS):
        with GatewayProcess(tmp_path / "data", environment) as gateway:
            held = Held(gateway, simulator, gateway.signup(f"two-{number}")["api_key"])
            gateway.kill()
            held.abandon()
        with GatewayProcess(tmp_path / "data", environment | {"AINFERA_WORKERS": "2"}) as gateway:
            wait_settled(gateway.database)
            assert gateway.stop() == 0
            recovered = Counter(line["inference_id"] for line in gateway.log if line.get("event") == "recovered")
            assert (len(recovered), set(recovered.values())) == (CALLERS, {1})
    attempts = [one.begin["attempt"] for one in simulator.seen()]
    assert problems(gateway.database, attempts, may_lack=True) == []
    postgres.drop(name)
    note("two recover at once", "PostgreSQL", times=ROUNDS, calls=len(attempts))


async def open_calls(database: Database, data_dir: Path) -> None:
    """``HOLDS`` calls of four agents, accepted by a process that is gone."""
    data_dir.mkdir(parents=True)
    load_or_create_keys(data_dir, None)
    migrate(database)
    recorder = await open_recorder(database, seal, SystemClock().now_us, "gone")
    agents = [new_id() for _ in range(4)]
    for number, agent in enumerate(agents):
        await recorder.submit(OpenAgent(agent, 10**18, tenant_id=f"0193a000-0000-7000-8000-00000000000{number}"))
    calls = [facts(agents[n % 4], tenant_id=f"0193a000-0000-7000-8000-00000000000{n % 4}") for n in range(HOLDS)]
    for begin in range(0, HOLDS, 500):
        await asyncio.gather(*(recorder.submit(opening(call)) for call in calls[begin : begin + 500]))
    await recorder.close()


@pytest.mark.timeout(600)
def test_a_start_with_many_open_holds(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> None:
    environment = environment_of(simulator) | further_environment()
    data_dir = tmp_path / "data"
    url = environment.get("AINFERA_DATABASE_URL")
    asyncio.run(open_calls(Database(url or f"sqlite:///{data_dir / 'ainfera.db'}"), data_dir))
    gateway = GatewayProcess(data_dir, environment)
    assert rows(gateway.database, "SELECT COUNT(*) FROM holds") == [(HOLDS,)]
    began_s = time.monotonic()
    gateway.start()
    ready_s = time.monotonic() - began_s
    try:
        wait_settled(gateway.database)
        settled_s = time.monotonic() - began_s
        key = gateway.signup("after")["api_key"]
        assert refusal(gateway, key).status_code == 200
        assert gateway.stop() == 0
    finally:
        gateway.kill()
    assert problems(gateway.database, [one.begin["attempt"] for one in simulator.seen()], may_lack=True) == []
    outcomes = Counter(row[0] for row in rows(gateway.database, "SELECT outcome_status FROM routing_outcomes"))
    assert outcomes == {"indeterminate": HOLDS, "succeeded": 1}
    engine = "PostgreSQL" if url else "SQLite"
    more = f"ready after {ready_s:.1f} s, all settled after {settled_s:.1f} s"
    note("start with open holds", engine, times=HOLDS, more=more)
