"""The recorder's promises, the same on both engines."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.storage import recorder as recorder_module
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.recorder import PostgresRecorder, SqliteRecorder
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, Append, Broken, Decline, Insert, Poison, chain, gather, setting

ALICE, BOB = AGENTS[:2]
ENGINE_ERRORS = (sqlite3.IntegrityError, asyncpg.UniqueViolationError)


@dataclass(frozen=True)
class Gate:
    """A unit that holds the writer until it is let go, so that a test decides what the next group holds."""

    entered: threading.Event = field(default_factory=threading.Event)
    leave: threading.Event = field(default_factory=threading.Event)

    def keys(self) -> Keys:
        return Keys()

    def apply(self, _page: Page) -> None:
        self.entered.set()
        assert self.leave.wait(60)


async def as_one_group(recorder: Any, units: list[Any], *, queued: int | None = None) -> list[Any]:
    """Submit ``units`` so that they reach the writer as one group (of ``queued``, when the rest finds no room)."""
    if isinstance(recorder, PostgresRecorder):
        # All are queued before the writer's task runs again.
        return await gather(recorder, units)
    gate = Gate()
    first = asyncio.create_task(recorder.submit(gate))
    await asyncio.to_thread(gate.entered.wait)
    waiting = asyncio.create_task(gather(recorder, units))
    while len(recorder._queue) < (queued or len(units)):
        await asyncio.sleep(0)
    gate.leave.set()
    await first
    return await waiting


def test_what_waits_is_committed_together(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            before = recorder.commits
            seqs = await as_one_group(recorder, [Append(AGENTS[n % 16]) for n in range(200)])
            assert seqs == [n // 16 for n in range(200)]
            # The group itself, and what held the writer while it was filled.
            assert 1 <= recorder.commits - before <= 2

    run(scenario())
    for agent_id in AGENTS:
        assert len(chain(store, agent_id)) in {12, 13}


def test_a_lone_unit_does_not_wait_for_company(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            for expected in range(5):
                assert await recorder.submit(Append(ALICE)) == expected
            assert recorder.commits == 5

    run(scenario())


@pytest.mark.parametrize("bad", [Poison(ALICE), Broken(ALICE)], ids=["poison", "broken"])
@pytest.mark.parametrize("place", [0, 25, 49])
def test_a_bad_unit_among_fifty_harms_nobody_else(store: Store, bad: Any, place: int) -> None:
    good = [Append(AGENTS[n % 2], str(n)) for n in range(49)]
    units: list[Any] = [*good[:place], bad, *good[place:]]

    async def scenario() -> list[Any]:
        async with store.recorder() as recorder:
            return await as_one_group(recorder, units)

    results = run(scenario())
    failure = results.pop(place)
    assert isinstance(failure, ENGINE_ERRORS if isinstance(bad, Poison) else ZeroDivisionError)
    assert results == [n // 2 for n in range(49)], "in arrival order, as if the bad one had never come"
    assert [event["note"] for event in chain(store, ALICE)] == [str(n) for n in range(0, 49, 2)]
    assert [event["note"] for event in chain(store, BOB)] == [str(n) for n in range(1, 49, 2)]
    assert store.value("SELECT COUNT(*) FROM settings_changes") == 0


def test_three_bad_units_in_one_group_get_their_own_errors(store: Store) -> None:
    units = [Append(ALICE), Poison(ALICE), Append(BOB), Broken(BOB), Broken(ALICE), Append(ALICE)]

    async def scenario() -> list[Any]:
        async with store.recorder() as recorder:
            return await as_one_group(recorder, units)

    results = run(scenario())
    assert [type(result) for result in (results[3], results[4])] == [ZeroDivisionError] * 2
    assert isinstance(results[1], ENGINE_ERRORS)
    assert [results[0], results[2], results[5]] == [0, 0, 1]


def test_a_refusal_is_its_waiters_alone_and_costs_no_replay(store: Store) -> None:
    units: list[Any] = [Append(ALICE, str(n), seen=[]) for n in range(20)]
    refusal = not_found()
    units.insert(7, Decline(refusal))

    async def scenario() -> list[Any]:
        async with store.recorder() as recorder:
            return await as_one_group(recorder, units)

    results = run(scenario())
    assert results.pop(7) is refusal
    assert results == list(range(20))
    assert all(len(unit.seen) == 1 for unit in units if isinstance(unit, Append))


def test_units_are_admitted_in_arrival_order(store: Store) -> None:
    async def scenario() -> list[Any]:
        async with store.recorder() as recorder:
            return await gather(recorder, [Append(ALICE, str(n)) for n in range(600)])

    assert run(scenario()) == list(range(600))
    assert [event["note"] for event in chain(store, ALICE)] == [str(n) for n in range(600)]


def test_sixty_four_writers_on_one_chain_leave_no_gap_and_no_fork(store: Store) -> None:
    async def scenario() -> list[int]:
        async with store.recorder() as recorder:

            async def writer(number: int) -> list[int]:
                if number % 2:
                    return [await recorder.submit(Append(ALICE)) for _ in range(4)]
                return [await asyncio.to_thread(recorder.submit_from_thread, Append(ALICE)) for _ in range(4)]

            answers = await asyncio.gather(*(writer(number) for number in range(64)))
            return sorted(seq for answer in answers for seq in answer)

    assert run(scenario()) == list(range(256))
    assert len(chain(store, ALICE)) == 256


def test_two_recorders_on_one_database_share_a_chain(store: Store) -> None:
    """What two processes do; both start from a chain that has no head yet."""

    async def scenario() -> list[int]:
        async with store.recorder() as one, store.recorder() as two:
            answers = await asyncio.gather(
                *(gather(recorder, [Append(ALICE), Append(BOB)]) for _ in range(30) for recorder in (one, two))
            )
            return sorted(seq for answer in answers for seq in answer)

    answers = run(scenario())
    assert answers == sorted([*range(60), *range(60)])
    assert len(chain(store, ALICE)) == len(chain(store, BOB)) == 60


def test_a_full_queue_refuses_instead_of_growing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_MAX", 4)

    async def scenario() -> list[Any]:
        async with store.recorder() as recorder:
            return await as_one_group(recorder, [Append(ALICE) for _ in range(6)], queued=4)

    results = run(scenario())
    assert results[:4] == list(range(4))
    assert [(error.status, error.code) for error in results[4:]] == [(503, "overloaded")] * 2
    assert results[4].headers["retry-after"] == "1"
    assert len(chain(store, ALICE)) == 4


def test_close_finishes_what_is_queued_and_takes_no_more(store: Store) -> None:
    async def scenario() -> tuple[list[Any], GatewayError]:
        async with store.recorder() as recorder, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(gather(recorder, [Append(ALICE) for _ in range(100)]))
            # One turn for the gathering task, one for the submissions that it starts.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await recorder.close()
            with pytest.raises(GatewayError) as late:
                await recorder.submit(Append(ALICE))
            return await waiting, late.value

    done, late = run(scenario())
    assert done == list(range(100))
    assert late.code == "overloaded"
    assert len(chain(store, ALICE)) == 100


def test_a_waiter_who_leaves_does_not_undo_its_unit(store: Store) -> None:
    async def scenario() -> int:
        async with store.recorder() as recorder:
            leaving = asyncio.create_task(recorder.submit(Append(ALICE)))
            await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            return await recorder.submit(Append(ALICE))

    assert run(scenario()) == 1
    assert len(chain(store, ALICE)) == 2


def test_two_thirds_of_a_group_with_the_same_row_lose(store: Store) -> None:
    async def scenario() -> list[Any]:
        async with store.recorder() as recorder:
            return await as_one_group(recorder, [Insert("settings_changes", setting("same")) for _ in range(3)])

    results = run(scenario())
    assert results[0] == 1
    assert all(isinstance(result, ENGINE_ERRORS) for result in results[1:])
    assert store.value("SELECT COUNT(*) FROM settings_changes") == 1


def test_an_engine_out_of_reach_is_503_for_all_and_comes_back(store: Store) -> None:
    async def scenario() -> tuple[list[Any], int]:
        async with store.recorder() as recorder:
            await recorder.submit(Append(ALICE))
            if isinstance(recorder, SqliteRecorder):
                lost = await _while_sqlite_is_locked(store, recorder)
            else:
                lost = await _while_the_connection_dies(store, recorder)
            return lost, await recorder.submit(Append(ALICE))

    lost, seq = run(scenario())
    assert [(error.status, error.code) for error in lost] == [(503, "ledger_unavailable")] * 5
    assert seq == 1
    assert len(chain(store, ALICE)) == 2


async def _while_sqlite_is_locked(store: Store, recorder: SqliteRecorder) -> list[Any]:
    recorder._driver._connection.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(store.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        return await five_appends(recorder)
    finally:
        other.execute("ROLLBACK")
        other.close()


async def five_appends(recorder: Any) -> list[Any]:
    return await gather(recorder, [Append(ALICE) for _ in range(5)])


async def _while_the_connection_dies(store: Store, recorder: PostgresRecorder) -> list[Any]:
    """The writer's connection is ended while its group waits for a lock, in the middle of the transaction."""
    admin = await asyncpg.connect(store.database.url)
    pid = recorder._driver._connection.get_server_pid()
    async with admin.transaction():
        await admin.execute("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(five_appends(recorder))
        while not await admin.fetchval("SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", pid):
            await asyncio.sleep(0.005)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        lost = await waiting
    await admin.close()
    return lost
