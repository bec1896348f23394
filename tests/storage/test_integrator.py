"""Global positions: contiguous, complete, each event once, and never against a chain's own order."""

from __future__ import annotations

import asyncio
import inspect
from itertools import pairwise
from typing import Any

import pytest

from ainfera_gateway.audit import integrator as integrator_module
from ainfera_gateway.audit.integrator import Event, Integrator, height, in_order, public_page
from bench.calls import OpenAgent
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, Append, gather

ALICE, BOB, CAROL = AGENTS[:3]


def positions(store: Store) -> list[tuple[Any, ...]]:
    """The log, checked: contiguous from 0, equal to the events, each chain in its own order."""
    log = store.rows(
        "SELECT position, agent_id, seq, event_type, event_hash, created_us FROM log_positions ORDER BY position"
    )
    assert [row[0] for row in log] == list(range(len(log)))
    events = store.rows("SELECT agent_id, seq, event_type, event_hash, created_us FROM audit_events")
    assert {row[1:] for row in log} <= set(events)
    seen: dict[str, int] = {}
    for _, agent_id, seq, *_ in log:
        assert seq == seen.get(agent_id, -1) + 1
        seen[agent_id] = seq
    heads = store.rows("SELECT agent_id, positioned_seq FROM chain_heads WHERE positioned_seq >= 0")
    assert dict(heads) == seen
    return log


def test_every_event_gets_one_position_and_a_second_run_none(store: Store) -> None:
    async def scenario() -> list[int]:
        async with store.recorder() as recorder:
            integrator = Integrator(recorder, store.reader())
            given = [await integrator.run_once()]
            await gather(recorder, [Append(AGENTS[n % 5]) for n in range(123)])
            given += [await integrator.run_once(), await integrator.run_once()]
            await recorder.submit(Append(ALICE))
            return [*given, await integrator.run_once()]

    assert run(scenario()) == [0, 123, 0, 1]
    log = positions(store)
    assert len(log) == 124
    assert all(earlier[5] <= later[5] for earlier, later in pairwise(log)), "in the order of time"
    with store.reader().connect() as conn:
        assert height(conn).height == 124
        assert height(conn).latest_us == log[-1][5]


def test_a_backlog_is_worked_off_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrator_module, "BATCH_MAX", 7)

    async def scenario() -> int:
        async with store.recorder() as recorder:
            await gather(recorder, [Append(AGENTS[n % 3]) for n in range(100)])
            return await Integrator(recorder, store.reader()).run_once()

    assert run(scenario()) == 100
    assert len(positions(store)) == 100


def test_appends_during_integration_are_neither_lost_nor_doubled(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            integrator, stop = Integrator(recorder, store.reader()), asyncio.Event()
            running = asyncio.create_task(integrator.run(stop, interval_s=0.001))
            for _ in range(25):
                await gather(recorder, [Append(AGENTS[n % 16]) for n in range(40)])
            stop.set()
            await running

    run(scenario())
    assert len(positions(store)) == 1000


def test_an_event_is_positioned_in_the_next_turn_and_turns_come_within_a_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = 0, 0
    run_once = Integrator.run_once

    async def counted(self: Integrator) -> int:
        nonlocal begun, ended
        begun += 1
        given = await run_once(self)
        ended = begun
        return given

    monkeypatch.setattr(Integrator, "run_once", counted)

    async def scenario() -> None:
        async with store.recorder() as recorder:
            stop = asyncio.Event()
            running = asyncio.create_task(Integrator(recorder, store.reader()).run(stop))
            for number in range(1, 4):
                await recorder.submit(Append(ALICE))
                following = begun + 1
                while ended < following:
                    await asyncio.sleep(0.01)
                assert await asyncio.to_thread(store.value, "SELECT COUNT(*) FROM log_positions") == number
            stop.set()
            await running

    run(scenario())
    assert len(positions(store)) == 3
    assert inspect.signature(Integrator.run).parameters["interval_s"].default < 1


def test_two_integrators_give_each_event_one_position(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as one, store.recorder() as two:
            integrators = [Integrator(one, store.reader()), Integrator(two, store.reader())]
            for _ in range(10):
                await gather(one, [Append(AGENTS[n % 4]) for n in range(20)])
                await asyncio.gather(*(each.run_once() for each in integrators), return_exceptions=True)
            await integrators[0].run_once()

    run(scenario())
    assert len(positions(store)) == 200


@pytest.mark.parametrize("engine_name", ["postgres"], indirect=True)
def test_only_the_holder_of_the_lock_integrates(store: Store) -> None:
    async def scenario() -> tuple[int, int]:
        async with store.recorder() as recorder:
            await gather(recorder, [Append(ALICE) for _ in range(5)])
            integrator = Integrator(recorder, store.reader())
            with integrator._elected() as elected:
                assert elected
                refused = await integrator.run_once()
            return refused, await integrator.run_once()

    assert run(scenario()) == (0, 5)


def test_a_failing_turn_is_told_and_the_next_one_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read, failures = Integrator._read, [OSError("no route")]

    def once(self: Integrator, from_agent: str) -> Any:
        if failures:
            raise failures.pop()
        return read(self, from_agent)

    monkeypatch.setattr(Integrator, "_read", once)

    async def scenario() -> None:
        async with store.recorder() as recorder:
            await recorder.submit(Append(ALICE))
            stop = asyncio.Event()
            running = asyncio.create_task(Integrator(recorder, store.reader()).run(stop, interval_s=0.001))
            while failures:
                await asyncio.sleep(0.001)
            stop.set()
            await running

    run(scenario())
    assert len(positions(store)) == 1
    assert [record.event for record in caplog.records] == ["integrator_failed"]


def test_a_clock_that_steps_back_never_turns_a_chain_around(store: Store) -> None:
    times = iter([1_000, 5_000, 2_000, 3_000, 2_500])

    async def scenario() -> None:
        async with store.recorder(now_us=lambda: next(times)) as recorder:
            for agent_id in (ALICE, ALICE, ALICE, BOB):
                await recorder.submit(Append(agent_id))
            await Integrator(recorder, store.reader()).run_once()

    run(scenario())
    assert [(row[1], row[2]) for row in positions(store)] == [(ALICE, 0), (BOB, 0), (ALICE, 1), (ALICE, 2)]


def test_events_of_one_moment_are_ordered_by_id() -> None:
    events = [Event(id_, agent, 0, "t", "h", 7, -1) for agent, id_ in ((ALICE, "c"), (BOB, "a"), (CAROL, "b"))]
    assert [event.id for event in in_order(events)] == ["a", "b", "c"]


def test_the_public_page_shows_public_tenants_newest_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            await recorder.submit(OpenAgent(ALICE, tenant_id="tenant-a"))
            await recorder.submit(OpenAgent(BOB, tenant_id="tenant-b", visibility="private"))
            await recorder.submit(OpenAgent(CAROL, tenant_id="tenant-c"))
            await Integrator(recorder, store.reader()).run_once()

    with store.reader().connect() as conn:
        assert (height(conn).height, height(conn).latest_us) == (0, None)
        assert public_page(conn, 10) == []
    run(scenario())
    with store.reader().connect() as conn:
        page = public_page(conn, 10)
        assert [(row.position, row.agent_handle) for row in page] == [(2, CAROL[-12:]), (0, ALICE[-12:])]
        assert page[0].event_type == "agent.registered"
        assert not {ALICE, BOB, CAROL} & {str(value) for row in page for value in (row.event_hash, row.agent_name)}
        assert [row.position for row in public_page(conn, 1)] == [2]
        monkeypatch.setattr(integrator_module, "PUBLIC_SCAN_MAX", 2)
        assert [row.position for row in public_page(conn, 10)] == [2]
