"""Outcomes on PostgreSQL stand in one partition a UTC day, by their UUIDv7 ids, so that what expired goes at once.

What was there before the first partition is one partition itself (``..._before``); an id of a day that has none, say
of a clock that jumped, stands in ``..._other``.
"""

# ruff: noqa: S608 - the names are this file's own, made of dates; PostgreSQL binds nothing in statements like these.

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

from ainfera_gateway.ids import earliest_id, id_time_s, is_id
from ainfera_gateway.storage.postgres_session import MIGRATION, local

TABLE: Final = "routing_outcomes"
BEFORE: Final = f"{TABLE}_before"
OTHER: Final = f"{TABLE}_other"
PARTITIONED_AT: Final = "0006"
AHEAD_DAYS: Final = 7
"""So many days have their partition before they come: that long nobody may look after them."""

_LIMITS = {"lock_timeout": 1_000}
_PARTITION = re.compile(rf"{TABLE}_(\d{{8}}|before|other)")
_UPPER = re.compile(r"TO \('([^']*)'\)")
_MARGIN = timedelta(days=7)
_ADVISORY_LOCK = 0x41494E4A


def bound_of(day: date) -> str:
    """The id below which every call of an earlier UTC day stands."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return f"{earliest_id(int(start.timestamp()) * 1_000_000)}-0000-0000-000000000000"


def name_of(day: date) -> str:
    """The partition of a UTC day."""
    return f"{TABLE}_{day:%Y%m%d}"


def is_partition(name: str) -> bool:
    """Whether a table of this name is a part of another."""
    return _PARTITION.fullmatch(name) is not None


def make_days(engine: Engine, today: date) -> list[str]:
    """Make what is missing of the partitions from ``today`` on; returns their names.

    A day that has rows elsewhere already keeps them there. Raises what the engine raises, above all where this user
    may not make tables, and when a table's lock cannot be had within a second.
    """
    made = []
    for ahead in range(AHEAD_DAYS + 1):
        day = today + timedelta(days=ahead)
        with engine.begin() as connection:
            connection.exec_driver_sql(local(_LIMITS))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            uppers = _uppers(connection)
            low, high = bound_of(day), bound_of(day + timedelta(days=1))
            if name_of(day) in uppers or low < uppers.get(BEFORE, "") or _stands_in_other(connection, low, high):
                continue
            _make(connection, name_of(day), low, high)
            made.append(name_of(day))
    return made


def drop_below(engine: Engine, bound: str) -> list[str]:
    """Drop the partitions all of whose ids are below ``bound``; returns their names. Raises as ``make_days`` does."""
    with engine.connect() as connection:
        expired = sorted(name for name, upper in _uppers(connection).items() if upper <= bound)
    for name in expired:
        with engine.begin() as connection:
            connection.exec_driver_sql(local(_LIMITS))
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    return expired


def prove_bound(engine: Engine) -> None:
    """Before the migration that makes what stands a partition: have it proved, without a lock, where its ids end.

    A gateway of the earlier version may write meanwhile, for a week.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(local(MIGRATION))
        newest = connection.execute(text(f"SELECT max(inference_id) FROM {TABLE}")).scalar_one()
        connection.exec_driver_sql(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS below_bound")
        if newest is None:
            return
        last = datetime.now(UTC)
        if is_id(newest):
            last = max(last, datetime.fromtimestamp(id_time_s(newest), UTC))
        bound = bound_of((last + _MARGIN).date())
        connection.exec_driver_sql(
            f"ALTER TABLE {TABLE} ADD CONSTRAINT below_bound CHECK (inference_id < '{bound}') NOT VALID"
        )
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT below_bound")


def _uppers(connection: Connection) -> dict[str, str]:
    """Each partition but the one for the rest, and the id below which all of its rows are."""
    rows = connection.execute(
        text(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c"
            " ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(:table)"
        ),
        {"table": TABLE},
    )
    return {name: match[1] for name, bounds in rows if (match := _UPPER.search(bounds)) is not None}


def _stands_in_other(connection: Connection, low: str, high: str) -> bool:
    found = text(f"SELECT 1 FROM {OTHER} WHERE inference_id >= :low AND inference_id < :high LIMIT 1")
    return connection.execute(found, {"low": low, "high": high}).first() is not None


def _make(connection: Connection, name: str, low: str, high: str) -> None:
    # Made apart and attached then: calls go on meanwhile, which a table made as a part at once would stop.
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS)")
    connection.exec_driver_sql(
        f"CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON {name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    connection.exec_driver_sql(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")
