"""A writer that is killed in the middle loses nothing it was told, and leaves nothing half."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ainfera_gateway.ledger.laws import check
from bench.calls import ending, facts, opening
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, chain

ROOT = Path(__file__).parents[2]
ACKNOWLEDGED_BEFORE_KILL = 400


def _killed_writer(url: str) -> list[list[str]]:
    """Run the writer, kill it after so many lines, and return the whole lines it had written."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.writer", url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(ACKNOWLEDGED_BEFORE_KILL)]
    process.kill()
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -9
    return [line.split() for line in lines if line.endswith("\n")]


def test_kill_9_leaves_no_torn_group_and_loses_nothing_acknowledged(store: Store) -> None:
    said = _killed_writer(store.database.url)
    assert len(said) >= ACKNOWLEDGED_BEFORE_KILL
    stored = {
        "reserved": {row[0] for row in store.rows("SELECT id FROM inferences")},
        "settled": {row[0] for row in store.rows("SELECT inference_id FROM routing_outcomes")},
    }
    for word, inference_id in said:
        assert inference_id in stored[word]
    with store.reader().connect() as conn:
        assert check(conn).broken == {}
    for agent_id in AGENTS:
        chain(store, agent_id)
    if store.database.is_sqlite:
        assert store.value("PRAGMA integrity_check") == "ok"
    held = store.value("SELECT COUNT(*) FROM holds")
    assert held == len(stored["reserved"]) - len(stored["settled"])

    async def go_on() -> None:
        async with store.recorder() as recorder:
            t1 = opening(facts(AGENTS[0]))
            await recorder.submit(t1)
            await recorder.submit(ending(t1))

    run(go_on())
    with store.reader().connect() as conn:
        assert check(conn).broken == {}
