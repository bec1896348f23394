"""Outcomes that are old enough go, in days on PostgreSQL and in small units elsewhere; money and evidence never do."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ainfera_gateway.ids import new_id
from ainfera_gateway.ledger.laws import check
from ainfera_gateway.storage import retention
from ainfera_gateway.storage.engine import Database, alembic_config, migrate
from ainfera_gateway.storage.partitions import AHEAD_DAYS, bound_of, drop_below, make_days, name_of
from ainfera_gateway.storage.retention import Retention
from bench.calls import OpenAgent, ending, facts, opening
from tests.postgres import Postgres
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS

AGENT = AGENTS[0]
KEPT_DAYS = 3
DAYS = 8
A_DAY = 3
"""Calls a day."""
EVER = ("transfers", "inferences", "attempts", "audit_events")
postgres_alone = pytest.mark.parametrize("engine_name", ["postgres"], indirect=True)


@dataclass
class Clock:
    us: int

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.us / 1e6, UTC).date()


@pytest.fixture
def clock() -> Clock:
    return Clock(int(datetime(2026, 7, 15, 9, 30, tzinfo=UTC).timestamp() * 1e6))


def id_of(day: date) -> str:
    """An id as it was made on that day."""
    return bound_of(day)[:13] + new_id()[13:]


def days_of(clock: Clock) -> list[date]:
    return [clock.today - timedelta(days=ago) for ago in reversed(range(DAYS))]


async def calls(store: Store, clock: Clock, *, open_since: date | None = None) -> None:
    """Three calls a day, and one that is still open where ``open_since`` is given."""
    async with store.recorder(clock.now_us) as recorder:
        await recorder.submit(OpenAgent(AGENT, 10**15))
        for day in days_of(clock):
            for _ in range(A_DAY):
                opened = opening(facts(AGENT, inference_id=id_of(day)))
                await recorder.submit(opened)
                await recorder.submit(ending(opened))
        if open_since is not None:
            await recorder.submit(opening(facts(AGENT, inference_id=id_of(open_since))))


async def look_after(store: Store, clock: Clock, days: int = KEPT_DAYS) -> None:
    async with store.recorder(clock.now_us) as recorder:
        kept = Retention(store.database, recorder, store.reader(), clock, days=days)
        await kept.make_room()
        await kept.expire(asyncio.Event())


def outcomes(store: Store) -> int:
    return int(store.value("SELECT COUNT(*) FROM routing_outcomes"))


def broken(store: Store) -> dict[str, int]:
    with store.reader().connect() as connection:
        return check(connection).broken


def parts(store: Store) -> set[str]:
    return {
        name
        for (name,) in store.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits i JOIN pg_class c"
            " ON c.oid = i.inhparent WHERE c.relname = 'routing_outcomes'"
        )
    }


def test_what_is_old_goes_and_the_books_stay_whole(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 4)
    run(calls(store, clock))
    before = {table: store.value(f"SELECT COUNT(*) FROM {table}") for table in EVER}
    run(look_after(store, clock))
    assert outcomes(store) == (KEPT_DAYS + 1) * A_DAY
    assert store.value("SELECT MIN(inference_id) FROM routing_outcomes") >= bound_of(clock.today - timedelta(KEPT_DAYS))
    assert {table: store.value(f"SELECT COUNT(*) FROM {table}") for table in EVER} == before
    assert broken(store) == {}
    changes = "SELECT value, changed_by FROM settings_changes WHERE name = 'outcomes_from'"
    assert store.rows(changes) == [(bound_of(clock.today - timedelta(KEPT_DAYS)), "retention")]
    run(look_after(store, clock))
    assert len(store.rows(changes)) == 1, "a bound that stands is not recorded again"


def test_all_are_kept_without_a_setting(store: Store, clock: Clock) -> None:
    run(calls(store, clock))
    run(look_after(store, clock, days=0))
    assert outcomes(store) == DAYS * A_DAY


def test_a_bound_never_goes_back(store: Store, clock: Clock) -> None:
    run(calls(store, clock))
    run(look_after(store, clock))
    run(look_after(store, clock, days=100))
    assert store.value("SELECT value FROM house_state WHERE name = 'outcomes_from'") == bound_of(
        clock.today - timedelta(KEPT_DAYS)
    )


def test_an_open_call_keeps_its_day(store: Store, clock: Clock) -> None:
    since = clock.today - timedelta(days=6)
    run(calls(store, clock, open_since=since))
    run(look_after(store, clock))
    assert outcomes(store) == 7 * A_DAY
    assert broken(store) == {}


def test_a_lost_outcome_above_the_bound_is_still_found(store: Store, clock: Clock) -> None:
    run(calls(store, clock))
    run(look_after(store, clock))
    store.drop_triggers()
    with store.tampering() as connection:
        connection.execute(
            text("DELETE FROM routing_outcomes WHERE inference_id = (SELECT MAX(inference_id) FROM routing_outcomes)")
        )
    assert broken(store).keys() >= {"call_without_outcome", "debit_unlike_outcome"}


def test_above_the_bound_nothing_is_let_go(store: Store, clock: Clock) -> None:
    run(calls(store, clock))
    with store.tampering() as connection:
        connection.execute(
            text("INSERT INTO house_state VALUES ('outcomes_from', :bound, 1)"), {"bound": bound_of(clock.today)}
        )
    with pytest.raises(DBAPIError, match="append-only"), store.tampering() as connection:
        connection.execute(text("DELETE FROM routing_outcomes"))
    with pytest.raises(DBAPIError, match="append-only"), store.tampering() as connection:
        connection.execute(text("UPDATE routing_outcomes SET cost_picousd = 0"))
    assert outcomes(store) == DAYS * A_DAY


@postgres_alone
def test_each_day_has_its_partition(store: Store, clock: Clock) -> None:
    engine = store.database.migration_engine()
    wanted = [name_of(clock.today + timedelta(days=ahead)) for ahead in range(AHEAD_DAYS + 1)]
    assert make_days(engine, clock.today) == wanted
    assert make_days(engine, clock.today) == []
    run(calls(store, clock))
    assert store.value(f"SELECT COUNT(*) FROM ONLY {name_of(clock.today)}") == A_DAY
    assert store.value("SELECT COUNT(*) FROM routing_outcomes_other") == (DAYS - 1) * A_DAY
    with pytest.raises(DBAPIError, match="append-only"), store.tampering() as connection:
        connection.exec_driver_sql(f"TRUNCATE {name_of(clock.today)}")
    with pytest.raises(DBAPIError, match="append-only"), store.tampering() as connection:
        connection.exec_driver_sql(f"DELETE FROM {name_of(clock.today)}")


@postgres_alone
def test_a_day_whose_rows_came_first_stays_where_it_is(store: Store, clock: Clock) -> None:
    run(calls(store, clock))
    made = make_days(store.database.migration_engine(), clock.today)
    assert made == [name_of(clock.today + timedelta(days=ahead)) for ahead in range(1, AHEAD_DAYS + 1)]


@postgres_alone
def test_whole_days_are_dropped(store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for day in (days_of(clock)[0], clock.today):
        make_days(store.database.migration_engine(), day)
    run(calls(store, clock))
    assert store.value("SELECT COUNT(*) FROM routing_outcomes_other") == 0
    with caplog.at_level(logging.INFO, logger="ainfera.retention"):
        run(look_after(store, clock))
    gone = [name_of(day) for day in days_of(clock)[: DAYS - KEPT_DAYS - 1]]
    assert [record.partitions for record in caplog.records if record.message == "days dropped"] == [gone]  # type: ignore[attr-defined]
    assert not parts(store) & set(gone)
    assert outcomes(store) == (KEPT_DAYS + 1) * A_DAY
    assert broken(store) == {}
    assert drop_below(store.database.migration_engine(), bound_of(days_of(clock)[0])) == []


@postgres_alone
def test_one_call_is_looked_up_in_its_day_alone(store: Store, clock: Clock) -> None:
    make_days(store.database.migration_engine(), clock.today)
    with store.reader().connect() as connection:
        lines = connection.execute(
            text(f"EXPLAIN SELECT * FROM routing_outcomes WHERE inference_id = '{id_of(clock.today)}'")
        ).scalars()
        plan = "\n".join(lines)
    assert plan.count("routing_outcomes_") - plan.count("routing_outcomes_pkey") >= 1
    assert {name for name in parts(store) if name in plan} == {name_of(clock.today)}


@postgres_alone
def test_who_may_not_make_tables_loses_nothing(
    postgres: Postgres, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.execute("DO $$ BEGIN CREATE ROLE writer_alone LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    with store.tampering() as connection:
        connection.exec_driver_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.exec_driver_sql(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer_alone"
        )
    weak = Store(Database(store.database.url.replace("//postgres:", "//writer_alone:")))
    run(calls(weak, clock))
    run(look_after(weak, clock))
    assert [record.event for record in caplog.records] == ["partitions_not_made"]  # type: ignore[attr-defined]
    assert outcomes(store) == (KEPT_DAYS + 1) * A_DAY, "what stands in no partition goes row by row"
    weak.close()


@postgres_alone
def test_what_stood_before_the_first_partition_is_one(empty_database: Database, clock: Clock) -> None:
    """The rows of an earlier schema are not copied; days begin where they end at the earliest, and they expire."""
    with empty_database.migration_engine().begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
    store = Store(empty_database)
    clock = replace(clock, us=int(datetime.now(UTC).timestamp() * 1e6))
    run(calls(store, clock))
    file = "SELECT pg_relation_filenode('{}')"
    node = store.value(file.format("routing_outcomes"))
    migrate(empty_database)
    assert store.value(file.format("routing_outcomes_before")) == node
    assert outcomes(store) == DAYS * A_DAY
    assert make_days(empty_database.migration_engine(), clock.today) == [name_of(clock.today + timedelta(days=7))]
    run(look_after(store, clock))
    assert outcomes(store) == (KEPT_DAYS + 1) * A_DAY
    assert broken(store) == {}
    clock.us += 30 * 86_400_000_000
    run(look_after(store, clock))
    assert "routing_outcomes_before" not in parts(store)
    store.close()
