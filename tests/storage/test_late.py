"""Settlements that come late, on both engines: kept on disk whole, taken once, a correction where recovery was faster."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ainfera_gateway.clock import SystemClock
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.late import LateSettlements
from ainfera_gateway.inference.recover import Recovery
from ainfera_gateway.inference.settle import SettleCall
from ainfera_gateway.inference.spool import Owed, Spool
from ainfera_gateway.ledger.laws import check
from ainfera_gateway.storage.recorder import Recorder
from bench.calls import OpenAgent, ending, facts, opening
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, chain

ALICE = AGENTS[0]
HOLD_PICOUSD = 8_000_000_000
COST_PICOUSD = 4_000_000_000


def late(store: Store, recorder: Recorder, folder: Path, live: set[str] | None = None) -> LateSettlements:
    killswitch = KillSwitch(SystemClock(), threshold_picousd=10**18, enabled=True, pinned=True)
    return LateSettlements(recorder, store.reader(), Spool(folder), killswitch, live=set() if live is None else live)


async def opened(recorder: Recorder, *, wallet_picousd: int = 10 * HOLD_PICOUSD) -> SettleCall:
    """A call after T1; its T2 is the answer."""
    await recorder.submit(OpenAgent(ALICE, wallet_picousd))
    t1 = opening(facts(ALICE))
    await recorder.submit(t1)
    return ending(t1, charged_picousd=COST_PICOUSD)


def outcomes(store: Store) -> list[tuple[Any, ...]]:
    return store.rows("SELECT outcome_status, cost_picousd FROM routing_outcomes")


def moved(store: Store) -> list[tuple[Any, ...]]:
    """Kind and amount of all that left the agent's account."""
    return store.rows(
        "SELECT kind, amount_picousd FROM transfers WHERE debit_account = :account ORDER BY id",
        account=f"agent:{ALICE}",
    )


def wallet(store: Store) -> tuple[Any, ...]:
    (row,) = store.rows("SELECT balance_picousd, held_picousd, month_spent_picousd FROM wallets")
    return row


def lawful(store: Store) -> bool:
    with store.reader().connect() as conn:
        return check(conn).broken == {}


def test_what_is_kept_is_settled_as_if_at_once(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "spool"

    async def scenario() -> None:
        async with store.recorder() as recorder:
            t2 = await opened(recorder)
            live: set[str] = set()
            rooms = late(store, recorder, folder, live)
            await rooms.keep(t2.facts, t2.end)
            assert (len(rooms), live) == (1, {t2.facts.inference_id})
            (file,) = folder.iterdir()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert Spool(folder).read(t2.end.attempt.attempt_id) == Owed(t2.facts, t2.end)
            assert await rooms.run_once() == 1
            assert (len(rooms), live, list(folder.iterdir())) == (0, set(), [])
            # A file that comes back, as after a crash before its removal was on the disk, changes nothing.
            before = (outcomes(store), moved(store), wallet(store), chain(store, ALICE))
            await rooms.keep(t2.facts, t2.end)
            assert await rooms.run_once() == 1
            assert (outcomes(store), moved(store), wallet(store), chain(store, ALICE)) == before

    run(scenario())
    assert outcomes(store) == [("succeeded", COST_PICOUSD)]
    assert moved(store) == [("debit", COST_PICOUSD)]
    assert lawful(store)


def test_another_process_takes_what_a_dead_one_kept(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with store.recorder(owner="dead") as recorder:
            t2 = await opened(recorder)
            await late(store, recorder, tmp_path).keep(t2.facts, t2.end)
        async with store.recorder(owner="next") as recorder:
            assert await late(store, recorder, tmp_path).run_once() == 1
            recovery = Recovery(recorder, store.reader(), owner="next", live=set())
            assert await recovery.run_once() == 0

    run(scenario())
    assert outcomes(store) == [("succeeded", COST_PICOUSD)]


def test_a_process_lets_go_of_what_another_has_settled(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            t2 = await opened(recorder)
            live: set[str] = set()
            first = late(store, recorder, tmp_path, live)
            await first.keep(t2.facts, t2.end)
            assert await late(store, recorder, tmp_path).run_once() == 1
            assert await first.run_once() == 0
            assert (len(first), live) == (0, set())

    run(scenario())
    assert moved(store) == [("debit", COST_PICOUSD)]


@pytest.mark.parametrize("left_picousd", [HOLD_PICOUSD, COST_PICOUSD // 4])
def test_recovery_was_faster_so_a_correction_is_made_once(store: Store, tmp_path: Path, left_picousd: int) -> None:
    async def scenario() -> None:
        async with store.recorder(owner="dead") as recorder:
            t2 = await opened(recorder, wallet_picousd=HOLD_PICOUSD)
        async with store.recorder(owner="next") as recorder:
            assert await Recovery(recorder, store.reader(), owner="next", live=set()).run_once() == 1
            assert outcomes(store) == [("indeterminate", 0)]
            if left_picousd < HOLD_PICOUSD:
                other = opening(facts(ALICE))
                await recorder.submit(other)
                await recorder.submit(ending(other, charged_picousd=HOLD_PICOUSD - left_picousd))
            rooms = late(store, recorder, tmp_path)
            for _ in range(2):
                await rooms.keep(t2.facts, t2.end)
                assert await rooms.run_once() == 1

    run(scenario())
    paid = min(COST_PICOUSD, left_picousd)
    assert outcomes(store)[0] == ("indeterminate", 0), "the outcome stays"
    assert moved(store)[0] == ("debit", 0)
    assert moved(store)[-1] == ("adjustment", paid)
    spent = sum(amount for _, amount in moved(store))
    assert wallet(store) == (HOLD_PICOUSD - spent, 0, spent)
    assert store.rows("SELECT kind, amount_picousd FROM settlement_corrections ORDER BY kind") == [
        ("indeterminate_upper_bound", HOLD_PICOUSD),
        ("late_settlement", COST_PICOUSD),
    ]
    beyond = store.rows("SELECT amount_picousd FROM transfers WHERE debit_account = 'house:unreconciled'")
    assert beyond == ([] if paid == COST_PICOUSD else [(COST_PICOUSD - paid,)])
    assert lawful(store)


def test_a_call_that_was_never_opened_owes_nothing(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            await recorder.submit(OpenAgent(ALICE, HOLD_PICOUSD))
            t2 = ending(opening(facts(ALICE)), charged_picousd=COST_PICOUSD)
            rooms = late(store, recorder, tmp_path)
            rooms.note(Owed(t2.facts, t2.end))
            assert await rooms.run_once() == 1
            assert len(rooms) == 0

    run(scenario())
    assert (outcomes(store), moved(store)) == ([], [])


def test_a_file_that_cannot_be_read_harms_no_other(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            t2 = await opened(recorder)
            rooms = late(store, recorder, tmp_path)
            await rooms.keep(t2.facts, t2.end)
            (tmp_path / "0.json").write_bytes(b'{"facts": {"inference')
            (tmp_path / ".half").write_bytes(b"a draft of a process that died")
            assert await rooms.run_once() == 1

    run(scenario())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] in ".0") == [".half", "0.unreadable"]
    assert outcomes(store) == [("succeeded", COST_PICOUSD)]


def test_a_full_disk_leaves_it_in_memory(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        async with store.recorder() as recorder:
            t2 = await opened(recorder)
            rooms = late(store, recorder, tmp_path / "spool")
            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", full)
                await rooms.keep(t2.facts, t2.end)
            assert list((tmp_path / "spool").iterdir()) == [], "half a file is none"
            assert len(rooms) == 1
            assert await rooms.run_once() == 1

    run(scenario())
    assert outcomes(store) == [("succeeded", COST_PICOUSD)]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def flushed(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "rename", renamed)
    t2 = ending(opening(facts(ALICE)), charged_picousd=1)
    Spool(tmp_path).put(Owed(t2.facts, t2.end))
    assert done == ["file", "name", "folder"]
