"""How long outcomes are kept. Money and evidence (transfers, calls, attempts, events, the log) are kept for ever.

The bound is recorded first, in ``house_state`` and for good in ``settings_changes``; only below it does the database
let rows go. PostgreSQL drops whole days; what stands in no day's partition, and everything on SQLite, goes in small
units through the recorder, between the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Engine, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from ainfera_gateway.clock import Clock
from ainfera_gateway.ids import id_time_s, is_id, new_id
from ainfera_gateway.storage.engine import Database
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.partitions import bound_of, drop_below, make_days
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import holds, house_state, routing_outcomes

NAME: Final = "outcomes_from"
"""In ``house_state``: outcomes of calls whose id is below this value may be gone."""
EVERY_S: Final = 3600
CHUNK: Final = 500
"""Rows of one unit: a few milliseconds of the writer."""
_PAUSE_S = 0.05

_RAISE = (
    "INSERT INTO house_state (name, value, changed_us) VALUES (:name, :value, :changed_us)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_us = excluded.changed_us"
    " WHERE excluded.value > house_state.value"
)
_DROP = (
    "DELETE FROM routing_outcomes WHERE inference_id IN"
    " (SELECT inference_id FROM routing_outcomes WHERE inference_id < :bound ORDER BY inference_id LIMIT :chunk)"
)

_log = logging.getLogger("ainfera.retention")


@dataclass(frozen=True, slots=True)
class RaiseBound:
    """The unit that records from where on outcomes are kept. It never goes back."""

    bound: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        page.execute(_RAISE, {"name": NAME, "value": self.bound, "changed_us": page.now_us})
        page.insert(
            "settings_changes",
            {
                "id": new_id(),
                "name": NAME,
                "value": self.bound,
                "changed_by": "retention",
                "created_us": page.now_us,
            },
        )


@dataclass(frozen=True, slots=True)
class DropSome:
    """The unit that removes the oldest outcomes below the bound, at most ``CHUNK``."""

    bound: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        page.execute(_DROP, {"bound": self.bound, "chunk": CHUNK})


def kept_from(connection: Connection) -> str:
    """The id below which outcomes may be gone; empty where all are kept."""
    value = connection.execute(select(house_state.c.value).where(house_state.c.name == NAME)).scalar_one_or_none()
    return value or ""


class Retention:
    """``run`` while the gateway serves. ``days`` whole UTC days are kept, and today; 0 keeps all."""

    def __init__(self, database: Database, recorder: Recorder, reader: Engine, clock: Clock, *, days: int) -> None:
        self._recorder = recorder
        self._reader = reader
        self._clock = clock
        self._days = days
        self._engine = None if database.is_sqlite else database.migration_engine()

    async def run(self, stop: asyncio.Event) -> None:
        """Look after the days to come and those gone by until ``stop`` is set; what fails is tried again later."""
        while not stop.is_set():
            try:
                await self.make_room()
                await self.expire(stop)
            except Exception:  # noqa: BLE001 - calls do not depend on it, and an hour later it is tried again
                _log.warning("outcomes could not be looked after", exc_info=True, extra={"event": "retention_failed"})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_S)

    async def make_room(self) -> None:
        """Make the partitions of the next days. Without the right to, rows go into the one for the rest."""
        if self._engine is None:
            return
        try:
            await asyncio.to_thread(make_days, self._engine, self._now().date())
        except SQLAlchemyError as exc:
            _log.warning(
                "partitions for the next days could not be made",
                extra={"event": "partitions_not_made", "reason": type(exc.__cause__ or exc).__name__},
            )

    async def expire(self, stop: asyncio.Event) -> None:
        """Raise the bound as far as it may be raised, and remove what is below it. Raises what the engine raises."""
        if self._days and (due := await asyncio.to_thread(self._due)) is not None:
            await self._recorder.submit(RaiseBound(due))
        bound = await asyncio.to_thread(self._bound)
        if not bound:
            return
        if self._engine is not None and (dropped := await asyncio.to_thread(drop_below, self._engine, bound)):
            _log.info("days dropped", extra={"event": "outcomes_dropped", "partitions": dropped})
        while not stop.is_set() and await asyncio.to_thread(self._stands_below, bound):
            await self._recorder.submit(DropSome(bound))
            await asyncio.sleep(_PAUSE_S)

    def _due(self) -> str | None:
        """The bound that the setting wants, where it is above the one in force."""
        first_day = (self._now() - timedelta(days=self._days)).date()
        with self._reader.connect() as connection:
            oldest = connection.execute(select(func.min(holds.c.inference_id))).scalar_one()
        if oldest is not None and is_id(oldest):
            # A call that is still open will have its outcome yet.
            first_day = min(first_day, datetime.fromtimestamp(id_time_s(oldest), UTC).date())
        bound = bound_of(first_day)
        return bound if bound > self._bound() else None

    def _bound(self) -> str:
        with self._reader.connect() as connection:
            return kept_from(connection)

    def _stands_below(self, bound: str) -> bool:
        found = select(routing_outcomes.c.inference_id).where(routing_outcomes.c.inference_id < bound).limit(1)
        with self._reader.connect() as connection:
            return connection.execute(found).first() is not None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_us() / 1_000_000, UTC)
