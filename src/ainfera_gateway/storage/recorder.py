"""The one writer of the way. Units that wait are put into one transaction (group commit).

On SQLite a thread of its own runs the groups, so an fsync never blocks the loop that relays streams; on PostgreSQL a
task does. A group that fails is rolled back and replayed in halves until the units that fail stand alone, so each
waiter gets only its own result. When the engine itself cannot be reached, nothing is replayed: a commit whose answer
was lost may have happened, and only the unit's own ids can tell.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ainfera_gateway.errors import LedgerLocked, ledger_unavailable, overloaded
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.engine import Database
from ainfera_gateway.storage.page import Sealer, Unit
from ainfera_gateway.storage.postgres_driver import PostgresDriver
from ainfera_gateway.storage.sqlite_driver import Outcome, SqliteDriver, UnreachableError

GROUP_MAX = 256
QUEUE_MAX = 8192

_log = logging.getLogger("ainfera.recorder")


class Recorder(Protocol):
    """What the rooms above see of either engine."""

    async def submit(self, unit: Unit) -> Any:
        """Apply and commit ``unit``. Raises its refusal, ``overloaded`` when the queue is full, or the engine's error."""
        ...

    def submit_from_thread(self, unit: Unit) -> Any:
        """The same for a control-plane handler, which runs in a worker thread."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        ...


class SqliteRecorder:
    """Group commit on a dedicated writer thread."""

    def __init__(self, driver: SqliteDriver) -> None:
        self._driver = driver
        self._queue: deque[tuple[Unit, concurrent.futures.Future[Any] | asyncio.Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self.commits = 0
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    async def submit(self, unit: Unit) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._put(unit, future)
        return await future

    def submit_from_thread(self, unit: Unit) -> Any:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._put(unit, future)
        return future.result()

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        self._driver.close()

    def _put(self, unit: Unit, future: concurrent.futures.Future[Any] | asyncio.Future[Any]) -> None:
        with self._wake:
            if self._closing or len(self._queue) >= QUEUE_MAX:
                raise overloaded("The recorder is full or stopping; nothing was sent.")
            self._queue.append((unit, future))
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                taken = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_MAX))]
            units = [unit for unit, _ in taken]
            outcomes = self._run(units)
            waiting = [(future, outcome) for (_, future), outcome in zip(taken, outcomes, strict=True)]
            for future, outcome in waiting:
                if isinstance(future, concurrent.futures.Future):
                    _resolve(future, outcome)
            try:
                self._loop.call_soon_threadsafe(_resolve_all, waiting)
            except RuntimeError:
                # The loop is gone: what was committed stays committed, and nobody waits for it any more.
                _log.warning("loop closed before its waiters were told", extra={"event": "recorder_loop_closed"})

    def _run(self, units: list[Unit]) -> list[Outcome]:
        try:
            outcomes = self._driver.run(units)
            self.commits += 1
        except UnreachableError as exc:
            return _unavailable(units, exc)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it is its waiter's to see
            if len(units) == 1:
                return [(None, exc)]
            _log.warning("group replayed in halves", extra={"event": "group_replayed", "units": len(units)})
            half = len(units) // 2
            return self._run(units[:half]) + self._run(units[half:])
        return outcomes


class PostgresRecorder:
    """Group commit on a task of the loop, over one asyncpg connection."""

    def __init__(self, driver: PostgresDriver) -> None:
        self._driver = driver
        self._queue: deque[tuple[Unit, asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self.commits = 0
        self._task = asyncio.create_task(self._work(), name="recorder")

    async def submit(self, unit: Unit) -> Any:
        if self._closing or len(self._queue) >= QUEUE_MAX:
            raise overloaded("The recorder is full or stopping; nothing was sent.")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append((unit, future))
        self._wake.set()
        return await future

    def submit_from_thread(self, unit: Unit) -> Any:
        return asyncio.run_coroutine_threadsafe(self.submit(unit), self._loop).result()

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        await self._task
        await self._driver.close()

    async def _work(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_MAX))]
            outcomes = await self._run([unit for unit, _ in taken])
            _resolve_all([(future, outcome) for (_, future), outcome in zip(taken, outcomes, strict=True)])

    async def _run(self, units: list[Unit]) -> list[Outcome]:
        try:
            outcomes = await self._driver.run(units)
            self.commits += 1
        except UnreachableError as exc:
            return _unavailable(units, exc)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it is its waiter's to see
            if len(units) == 1:
                return [(None, exc)]
            if isinstance(exc, LedgerLocked):
                apart = _by_agents(units)
                return [(None, exc)] * len(units) if len(apart) == 1 else await self._run_apart(units, apart)
            _log.warning("group replayed in halves", extra={"event": "group_replayed", "units": len(units)})
            half = len(units) // 2
            return await self._run(units[:half]) + await self._run(units[half:])
        return outcomes

    async def _run_apart(self, units: list[Unit], apart: list[list[int]]) -> list[Outcome]:
        """Somebody else keeps a row locked: each agent waits for its own rows and for nobody else's."""
        _log.warning("group replayed by agents", extra={"event": "group_locked", "units": len(units)})
        outcomes: list[Outcome] = [(None, None)] * len(units)
        for places in apart:
            for place, outcome in zip(places, await self._run([units[place] for place in places]), strict=True):
                outcomes[place] = outcome
        return outcomes


async def open_recorder(
    database: Database, sealer: Sealer, now_us: Callable[[], int], owner: str = ""
) -> SqliteRecorder | PostgresRecorder:
    """The recorder of ``database`` on the running loop; its schema must be there already.

    ``owner`` names this process among those that write to the database; a new name by default.
    """
    owner = owner or new_id()
    if database.is_sqlite:
        return SqliteRecorder(SqliteDriver(database.path, sealer, now_us, owner))
    return PostgresRecorder(await PostgresDriver.open(database, sealer, now_us, owner))


def _by_agents(units: list[Unit]) -> list[list[int]]:
    """The places of the units, those of the same agents together, in the order of their arrival."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, unit in enumerate(units):
        found.setdefault(tuple(unit.keys().agents), []).append(place)
    return list(found.values())


def _unavailable(units: list[Unit], cause: UnreachableError) -> list[Outcome]:
    _log.error("the ledger cannot be reached", extra={"event": "ledger_unavailable", "units": len(units)})
    outcomes: list[Outcome] = []
    for _ in units:
        error = ledger_unavailable(uncertain=cause.uncertain)
        error.__cause__ = cause
        outcomes.append((None, error))
    return outcomes


def _resolve(future: concurrent.futures.Future[Any] | asyncio.Future[Any], outcome: Outcome) -> None:
    value, error = outcome
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _resolve_all(waiting: list[tuple[Any, Outcome]]) -> None:
    for future, outcome in waiting:
        _resolve(future, outcome)
