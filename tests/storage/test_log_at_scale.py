"""Chains and log, many times over: many processes on one chain, and no false alarm about sound logs.

``CRASH_APPENDS`` and ``CRASH_LOGS`` in the environment ask for more of each.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ainfera_gateway.audit.fsck import check_log
from ainfera_gateway.audit.keys import load_or_create_keys
from ainfera_gateway.audit.seal import seal
from ainfera_gateway.cli.audit_database import verify_in_database
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.storage.engine import Database
from ainfera_gateway.storage.recorder import open_recorder
from bench.calls import OpenAgent
from tests.crash.report import note
from tests.crash.test_kill import SEED
from tests.postgres import Postgres
from tests.storage.conftest import Store, run
from tests.storage.test_log import grown
from tests.storage.units import AGENTS

APPENDS = int(os.environ.get("CRASH_APPENDS", "100"))
LOGS = int(os.environ.get("CRASH_LOGS", "5"))
PROCESSES = 8
ROOT = Path(__file__).resolve().parents[2]


async def opened(database: Database) -> None:
    recorder = await open_recorder(database, seal, SystemClock().now_us)
    await recorder.submit(OpenAgent(AGENTS[0]))
    await recorder.close()


@pytest.mark.timeout(3600)
def test_eight_processes_append_to_one_chain(postgres: Postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    command = [sys.executable, "-m", "tests.storage.appender", database.url, str(APPENDS)]
    run(opened(database))
    before = verify_in_database(database, AGENTS[0]).event_count
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(PROCESSES)]
    assert [process.wait(3000) for process in running] == [0] * PROCESSES
    found = verify_in_database(database, AGENTS[0])
    assert (found.valid, found.event_count) == (True, before + PROCESSES * APPENDS), "no fork, no gap"
    postgres.drop(name)
    note("an event appended to one chain by eight processes", "PostgreSQL", times=PROCESSES * APPENDS)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(LOGS))
def test_no_alarm_about_a_sound_log(store: Store, tmp_path: Path, number: int) -> None:
    dice = random.Random(f"{SEED}-{number}")
    keys = load_or_create_keys(tmp_path)
    counts = [dice.choice((0, 1, 7, dice.randint(1, 600))) for _ in range(dice.randint(1, 6))] + [1]
    seen = grown(store, keys, counts)
    with store.reader().connect() as connection:
        found = check_log(connection, [keys.checkpoint_key.public_key()], dice.choice(seen))
    assert (found.problems, found.events) == ([], sum(counts))
    if number == LOGS - 1:
        note("a sound log, checked", "SQLite" if store.database.is_sqlite else "PostgreSQL", times=LOGS)
