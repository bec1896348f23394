"""The laws in production: what is broken stands in the gauge and in one error line, whichever process asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from ainfera_gateway.cli.audit_database import fsck_database
from ainfera_gateway.ledger.laws import LAWS
from ainfera_gateway.ledger.watch import EVERY_S, LawWatch
from ainfera_gateway.metrics.registry import Registry
from ainfera_gateway.metrics.series import Series
from bench.calls import ending, facts, opening
from tests.storage.conftest import Store, run
from tests.storage.test_laws import ALICE, ENDED, ENDED_US, OPEN, VIOLATIONS, healthy, tamper

MINUTE_US = 60_000_000


@dataclass
class Clock:
    us: int = ENDED_US + 5 * MINUTE_US

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6


class Process:
    """One gateway's part in it: its gauges, and a turn of its watch."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.series = Series(Registry(), clock, version="1", laws=LAWS)

    async def turn(self) -> bool:
        async with self._store.recorder() as recorder:
            watch = LawWatch(recorder, self._store.reader(), self.series, self._clock)
            await watch.begin()
            return await watch.run_once()

    @property
    def gauges(self) -> dict[str, int]:
        (family,) = (one for one in self.series.registry.metrics() if one.name == "ainfera_laws_broken")
        return {values[0]: int(series.value) for values, series in family.items()}  # type: ignore[union-attr]

    @property
    def broken(self) -> set[str]:
        return {law for law, times in self.gauges.items() if times}


def test_sound_books_show_0_under_every_law(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    run(healthy(store))
    process = Process(store, Clock())
    assert process.gauges == dict.fromkeys(LAWS, 0)
    assert run(process.turn())
    assert process.gauges == dict.fromkeys(LAWS, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("story", "tampering", "broken"), VIOLATIONS, ids=[story for story, _, _ in VIOLATIONS])
def test_a_broken_law_stands_in_the_gauge_and_in_a_line(
    store: Store, caplog: pytest.LogCaptureFixture, story: str, tampering: str, broken: set[str]
) -> None:
    run(healthy(store))
    clock = Clock()
    process = Process(store, clock)
    assert run(process.turn())
    assert process.broken == set()
    tamper(store, tampering)
    clock.us += MINUTE_US
    assert run(process.turn()), story
    assert process.broken == broken
    (record,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert (record.__dict__["event"], set(record.__dict__["laws"])) == ("laws_broken", broken)
    sent = process.series.dispatch_without_capture.at().value
    assert (sent > 0) == bool(broken & {"outcome_without_call", "attempt_without_call"})


def test_the_gauge_stays_up_until_the_books_are_mended(store: Store) -> None:
    run(healthy(store))
    clock = Clock()
    process = Process(store, clock)
    assert run(process.turn())
    tamper(store, f"UPDATE routing_outcomes SET cost_picousd = cost_picousd + 1 WHERE inference_id = '{ENDED}'")
    for _ in range(4):
        clock.us += 60 * MINUTE_US
        assert run(process.turn())
        assert process.broken == {"debit_unlike_outcome"}
    tamper(store, f"UPDATE routing_outcomes SET cost_picousd = cost_picousd - 1 WHERE inference_id = '{ENDED}'")
    clock.us += MINUTE_US
    assert run(process.turn())
    assert process.broken == set()


def test_a_call_that_is_open_for_long_is_asked_after_when_it_has_ended(store: Store) -> None:
    run(healthy(store))
    clock = Clock()
    process = Process(store, clock)
    for _ in range(3):
        clock.us += 60 * MINUTE_US
        assert run(process.turn())
    tamper(store, f"DELETE FROM holds WHERE inference_id = '{OPEN}'")
    clock.us += MINUTE_US
    assert run(process.turn())
    assert "call_without_outcome" in process.broken


def test_the_window_moves_on_behind_calls_that_ended(store: Store) -> None:
    run(healthy(store))
    clock = Clock()
    process = Process(store, clock)
    run(_end(store, OPEN))
    for _ in range(2):
        clock.us += 60 * MINUTE_US
        assert run(process.turn())
    tamper(store, f"DELETE FROM attempts WHERE inference_id = '{ENDED}'")
    clock.us += MINUTE_US
    assert run(process.turn())
    assert process.broken == set(), "what was found well is not asked again"


async def _end(store: Store, inference_id: str) -> None:
    async with store.recorder() as recorder:
        await recorder.submit(ending(opening(facts(ALICE, inference_id=inference_id))))


def test_one_process_asks_and_the_others_show_it(store: Store) -> None:
    run(healthy(store))
    clock = Clock()
    first, second = Process(store, clock), Process(store, clock)
    tamper(store, f"DELETE FROM attempts WHERE inference_id = '{ENDED}'")
    assert run(first.turn())
    assert not run(second.turn())
    assert first.gauges == second.gauges
    assert second.broken == {"attempts_unlike_outcome"}
    clock.us += int(EVERY_S * 1_000_000)
    assert run(second.turn()), "whoever is first after a minute"
    assert not run(first.turn())


def test_fsck_asks_the_laws_of_all_that_is_stored(store: Store) -> None:
    run(healthy(store))
    assert fsck_database(store.database, [], None).problems == []
    tamper(store, f"DELETE FROM attempts WHERE inference_id = '{ENDED}'")
    assert fsck_database(store.database, [], None).problems == [
        "the law attempts_unlike_outcome of the ledger is broken 1 times"
    ]
