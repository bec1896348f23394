"""Global positions: every event of every chain gets one place in one contiguous order, after its commit.

Appending to a chain takes no global number, so that agents do not wait for each other; one integrator numbers what
was committed. It writes through the recorder, which stays the only writer. On PostgreSQL an advisory lock elects it
among several processes; should two overlap all the same, the unique keys of ``log_positions`` let one of them win.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

from ainfera_gateway.storage.page import Keys, Page, Unit
from ainfera_gateway.storage.recorder import Recorder

BATCH_MAX = 2_000
"""Events positioned by one unit, so that a backlog never makes one transaction long."""
PUBLIC_SCAN_MAX = 20_000
"""How far back from the newest event the public page looks for rows it may show."""

_ADVISORY_LOCK = 0x41494E47

# The partial index on unpositioned heads makes this cheap however many chains there are. One statement sees one
# snapshot, and by this order a batch that is cut short still holds a gapless prefix of each chain.
_UNPOSITIONED = text(
    "SELECT e.id, e.agent_id, e.seq, e.event_type, e.event_hash, e.created_us, h.positioned_seq"
    " FROM chain_heads h JOIN audit_events e ON e.agent_id = h.agent_id AND e.seq > h.positioned_seq AND e.seq <= h.seq"
    " WHERE h.positioned_seq < h.seq AND h.agent_id >= :from_agent"
    " ORDER BY h.agent_id, e.seq LIMIT :limit"
)
# Runs after the batch's rows are in, and for all of its chains at once.
_REACHED = (
    "UPDATE chain_heads SET positioned_seq ="
    " (SELECT MAX(p.seq) FROM log_positions p WHERE p.agent_id = chain_heads.agent_id)"
    " WHERE agent_id IN (SELECT n.agent_id FROM log_positions n WHERE n.position >= :first)"
)
_NEWEST = text("SELECT position, created_us FROM log_positions ORDER BY position DESC LIMIT 1")
_PUBLIC = text(
    "SELECT p.position, p.event_type, a.owner_handle, a.handle, a.name, p.event_hash, p.created_us"
    " FROM log_positions p JOIN agents a ON a.id = p.agent_id JOIN tenants t ON t.id = a.tenant_id"
    " WHERE p.position >= :oldest AND t.audit_visibility = 'public'"
    " ORDER BY p.position DESC LIMIT :limit"
)

_log = logging.getLogger("ainfera.integrator")

Grow = Callable[[Connection], Unit | None]


@dataclass(frozen=True, slots=True)
class Event:
    """A committed event that has no position yet."""

    id: str
    agent_id: str
    seq: int
    event_type: str
    event_hash: str
    created_us: int
    positioned_seq: int


@dataclass(frozen=True, slots=True)
class Height:
    """How many events have a position, and when the newest of them was made (``None`` while there is none)."""

    height: int
    latest_us: int | None


@dataclass(frozen=True, slots=True)
class PublicEvent:
    """One row of the public mirror; it names no agent id."""

    position: int
    event_type: str
    owner_handle: str
    agent_handle: str
    agent_name: str
    event_hash: str
    created_us: int


@dataclass(frozen=True, slots=True)
class AssignPositions:
    """The unit that numbers ``events`` contiguously from ``first`` on; ``submit`` returns how many."""

    first: int
    events: tuple[Event, ...]
    lock_heads: bool

    def keys(self) -> Keys:
        # Where rows are locked, they are locked in the order that every other group uses.
        return Keys(agents=tuple(sorted({event.agent_id for event in self.events})) if self.lock_heads else ())

    def apply(self, page: Page) -> int:
        for position, event in enumerate(self.events, self.first):
            page.insert(
                "log_positions",
                {
                    "position": position,
                    "agent_id": event.agent_id,
                    "seq": event.seq,
                    "event_type": event.event_type,
                    "event_hash": event.event_hash,
                    "created_us": event.created_us,
                },
            )
        page.execute(_REACHED, {"first": self.first})
        return len(self.events)


def in_order(events: list[Event]) -> tuple[Event, ...]:
    """Events (sorted by chain, then seq) in the order of the log: by time and id, yet never against a chain's own.

    Clocks step back and differ between processes; merging whole chains keeps each in its own order regardless.
    """
    chains = [list(chain) for _, chain in groupby(events, key=lambda event: event.agent_id)]
    return tuple(merge(*chains, key=lambda event: (event.created_us, event.id)))


def height(conn: Connection) -> Height:
    """Read with one index look-up."""
    row = conn.execute(_NEWEST).first()
    return Height(0, None) if row is None else Height(row.position + 1, row.created_us)


def public_page(conn: Connection, limit: int) -> list[PublicEvent]:
    """The newest ``limit`` positioned events of public tenants, newest first; private ones leave gaps.

    Looks at the newest ``PUBLIC_SCAN_MAX`` events only, since nobody needs a credential to ask.
    """
    oldest = height(conn).height - PUBLIC_SCAN_MAX
    return [PublicEvent(*row) for row in conn.execute(_PUBLIC, {"oldest": oldest, "limit": limit})]


class Integrator:
    """Positions what was committed. ``reader_engine`` serves the reads; writes go through ``recorder``.

    ``grow`` says, over a connection, what the log above the positions stores next, None when it is complete.
    """

    def __init__(self, recorder: Recorder, reader_engine: Engine, grow: Grow | None = None) -> None:
        self._recorder = recorder
        self._grow = grow
        self._engine = reader_engine
        self._postgres = reader_engine.dialect.name == "postgresql"

    async def run_once(self) -> int:
        """Give positions to all that was committed before the call; returns how many were given.

        0 as well when another process holds the lock. Raises what the engine or the recorder raises.
        """
        with contextlib.ExitStack() as stack:
            if self._postgres and not await asyncio.to_thread(stack.enter_context, self._elected()):
                return 0
            given = await self._pass()
            await self._grow_log()
            return given

    async def _grow_log(self) -> None:
        while self._grow is not None:
            unit = await asyncio.to_thread(self._next_growth, self._grow)
            if unit is None:
                return
            await self._recorder.submit(unit)

    def _next_growth(self, grow: Grow) -> Unit | None:
        with self._engine.connect() as conn:
            return grow(conn)

    async def run(self, stop: asyncio.Event, interval_s: float = 0.5) -> None:
        """Run until ``stop`` is set, then once more, so that a clean shutdown leaves nothing unpositioned."""
        while not stop.is_set():
            await self._try_once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), interval_s)
        await self._try_once()

    async def _try_once(self) -> None:
        try:
            await self.run_once()
        except Exception:  # noqa: BLE001 - whatever it was, the next turn is due all the same
            # The next turn starts from what is committed, so nothing is lost by waiting for it.
            _log.warning("positions were not given", exc_info=True, extra={"event": "integrator_failed"})

    async def _pass(self) -> int:
        given, from_agent = 0, ""
        while True:
            first, events = await asyncio.to_thread(self._read, from_agent)
            if not events:
                return given
            unit = AssignPositions(first, in_order(events), lock_heads=self._postgres)
            given += int(await self._recorder.submit(unit))
            if len(events) < BATCH_MAX:
                return given
            from_agent = events[-1].agent_id

    def _read(self, from_agent: str) -> tuple[int, list[Event]]:
        with self._engine.connect() as conn:
            rows = conn.execute(_UNPOSITIONED, {"from_agent": from_agent, "limit": BATCH_MAX})
            events = [Event(*row) for row in rows]
            return height(conn).height, events

    @contextlib.contextmanager
    def _elected(self) -> Iterator[bool]:
        """Whether this process is the integrator now. The lock is its transaction's, as poolers need.

        The transaction is idle for as long as the turn takes; with READ COMMITTED it holds no snapshot meanwhile, so
        that it keeps nothing from being vacuumed.
        """
        with self._engine.connect() as conn:
            lock = text("SELECT pg_try_advisory_xact_lock(:key)")
            yield bool(conn.execute(lock, {"key": _ADVISORY_LOCK}).scalar_one())
