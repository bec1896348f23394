"""The laws of the house asked every minute by one process of those that serve, and what all of them show of it.

Nothing is mended here: a broken law is a gauge above 0 and an error line. What was found stands in ``house_state``,
so that each process shows the same figures, and the next one to ask goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from sqlalchemy import Engine, func, select, text
from sqlalchemy.engine import Connection

from ainfera_gateway.clock import Clock
from ainfera_gateway.ids import id_time_s
from ainfera_gateway.ledger.laws import CAPTURE_LAWS, check
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import holds, house_state

EVERY_S = 60
"""How often the laws are asked, by whichever process is first."""
LOOK_S = 5
"""How often a process looks whether its turn has come, or another's findings are there to be shown."""
STATEMENT_S = 30
"""The laws are given up after so long: a database that is slow has better things to do."""
NAME = "laws"

_FIRST_WINDOW_S = 15 * 60
_OVERLAP_S = 2 * 60
_WINDOW_MAX_S = 24 * 3600
_ADVISORY_LOCK = 0x41494E48

_BEGIN = (
    "INSERT INTO house_state (name, value, changed_us) VALUES (:name, :value, :changed_us)"
    " ON CONFLICT (name) DO NOTHING"
)
_SHOW = "UPDATE house_state SET value = :value, changed_us = :changed_us WHERE name = :name"

_log = logging.getLogger("ainfera.laws")


class Findings(msgspec.Struct, frozen=True):
    """What was found last. Times in microseconds since the epoch; ``checked_us`` 0: nobody has looked yet."""

    checked_us: int
    next_since_us: int
    broken: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class ShowFindings:
    """The unit that leaves findings for all processes; ``first``: only where there are none."""

    findings: Findings
    first: bool = False

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        value = msgspec.json.encode(self.findings).decode()
        page.execute(
            _BEGIN if self.first else _SHOW,
            {"name": NAME, "value": value, "changed_us": self.findings.checked_us},
        )


class LawWatch:
    """``begin`` once before the first call, ``run`` meanwhile."""

    def __init__(self, recorder: Recorder, reader: Engine, series: Series, clock: Clock) -> None:
        self._recorder = recorder
        self._reader = reader
        self._series = series
        self._clock = clock
        self._postgres = reader.dialect.name == "postgresql"
        self._uncaptured = 0

    async def begin(self) -> None:
        """Leave a place for findings. Raises what the recorder raises."""
        since_us = self._clock.now_us() - _us(_FIRST_WINDOW_S)
        await self._recorder.submit(ShowFindings(Findings(0, since_us), first=True))

    async def run(self, stop: asyncio.Event) -> None:
        """Ask and show until ``stop`` is set; what fails once is tried again the next time."""
        while not stop.is_set():
            try:
                await self.run_once()
            except Exception:  # noqa: BLE001 - the gauge of the age says that nobody could look
                _log.warning("the laws could not be asked", exc_info=True, extra={"event": "laws_not_asked"})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_S)

    async def run_once(self) -> bool:
        """Show the newest findings, made anew when they are ``EVERY_S`` old; returns whether this process made them.

        Raises what the engine or the recorder raises.
        """
        found = await asyncio.to_thread(self._read)
        mine = False
        if self._is_due(found):
            with contextlib.ExitStack() as stack:
                connection = await asyncio.to_thread(stack.enter_context, self._elected())
                if connection is not None:
                    found, mine = await asyncio.to_thread(self._ask, connection)
                    if mine:
                        # The others are kept out until all of them can see it.
                        await self._recorder.submit(ShowFindings(found))
        self._show(found, say=mine)
        return mine

    def _show(self, found: Findings, *, say: bool) -> None:
        if not found.checked_us:
            return
        self._series.note_laws(found.broken, found.checked_us)
        uncaptured = sum(found.broken.get(law, 0) for law in CAPTURE_LAWS)
        self._series.dispatch_without_capture.inc(amount=max(0, uncaptured - self._uncaptured))
        self._uncaptured = uncaptured
        if say and found.broken:
            _log.error("laws of the ledger are broken", extra={"event": "laws_broken", "laws": found.broken})

    def _is_due(self, found: Findings) -> bool:
        return self._clock.now_us() - found.checked_us >= _us(EVERY_S)

    def _read(self) -> Findings:
        with self._reader.connect() as connection:
            return _stored(connection)

    def _ask(self, connection: Connection) -> tuple[Findings, bool]:
        """What holds, and whether it was found now; another process may have been faster until this one was elected."""
        last = _stored(connection)
        if not self._is_due(last):
            return last, False
        now_us = self._clock.now_us()
        # Read before the laws are: a call that is open now and ends meanwhile stays in the next window.
        oldest = connection.execute(select(func.min(holds.c.inference_id))).scalar_one()
        broken = check(connection, since_us=last.next_since_us).broken
        if broken:
            following_us = last.next_since_us  # so that the gauge stays up until it is mended
        else:
            following_us = now_us - _us(_OVERLAP_S)
            if oldest is not None:
                following_us = min(following_us, id_time_s(oldest) * 1_000_000)
        return Findings(now_us, max(following_us, now_us - _us(_WINDOW_MAX_S)), broken), True

    @contextlib.contextmanager
    def _elected(self) -> Iterator[Connection | None]:
        """A connection to ask over, None while another process asks. The lock is its transaction's, as poolers need."""
        with self._reader.connect() as connection:
            if not self._postgres:
                yield connection
                return
            lock = text("SELECT pg_try_advisory_xact_lock(:key)")
            if not connection.execute(lock, {"key": _ADVISORY_LOCK}).scalar_one():
                yield None
                return
            connection.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": f"{STATEMENT_S}s"})
            yield connection


def _stored(connection: Connection) -> Findings:
    value = connection.execute(select(house_state.c.value).where(house_state.c.name == NAME)).scalar_one()
    return msgspec.json.decode(value, type=Findings)


def _us(seconds: int) -> int:
    return seconds * 1_000_000
