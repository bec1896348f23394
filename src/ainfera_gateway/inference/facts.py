"""What the way knows without asking the database each time: keys, agents, catalog and verdicts in memory.

Keys and agents live for a second, so that a change made elsewhere binds within it; a change made through this
process drops them at once. Memory may refuse early; what binds is checked again in T1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.clock import Clock
from ainfera_gateway.ids import is_id
from ainfera_gateway.routing.store import tenant_aliases
from ainfera_gateway.storage.read import read_soon
from ainfera_gateway.storage.tables import agents, api_keys

_LIFE_S = 1.0
_ENTRIES_MAX = 50_000


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """One agent as decisions see it. ``aliases`` are its tenant's own names for models."""

    agent_id: str
    tenant_id: str
    owner_handle: str
    handle: str
    status: str
    allowed_brands: tuple[str, ...] | None
    preset: str | None
    aliases: Mapping[str, str]


class _Remembered:
    """A bounded map whose entries live for ``_LIFE_S``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[float, Any]] = {}

    def get(self, key: str) -> tuple[bool, Any]:
        entry = self._entries.get(key)
        if entry is None or entry[0] < self._clock.monotonic_s():
            return False, None
        return True, entry[1]

    def put(self, key: str, value: Any) -> None:
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = (self._clock.monotonic_s() + _LIFE_S, value)

    def clear(self) -> None:
        self._entries.clear()


class Facts:
    """Keys and agents, read through ``reader`` in a worker thread when memory does not know them."""

    def __init__(self, reader: Engine, clock: Clock) -> None:
        self._reader = reader
        self._keys = _Remembered(clock)
        self._agents = _Remembered(clock)
        self._generation = 0

    def forget(self) -> None:
        """Something changed through this process: ask the database again. May be called from any thread."""
        self._generation += 1
        self._keys.clear()
        self._agents.clear()

    def known_key(self, key_hash: str) -> tuple[bool, Caller | None]:
        """(known, caller) from memory alone."""
        return self._keys.get(key_hash)

    async def key(self, key_hash: str) -> Caller | None:
        """The caller of a key hash, by one indexed read; ``None`` for unknown and revoked keys."""
        caller: Caller | None = await self._read(self._keys, key_hash, self._read_key)
        return caller

    async def agent(self, reference: str, tenant_id: str) -> AgentFacts | None:
        """An agent of the tenant by UUID or, where only one can be meant, by handle."""
        known, value = self._agents.get(f"{tenant_id}/{reference}")
        if known:
            return value if isinstance(value, AgentFacts) else None
        found: AgentFacts | None = await self._read(self._agents, f"{tenant_id}/{reference}", self._read_agent)
        return found

    async def _read(self, memory: _Remembered, key: str, read: Callable[[str], Any]) -> Any:
        generation = self._generation
        value = await read_soon(read, key)
        if generation == self._generation:
            memory.put(key, value)
        return value

    def _read_key(self, key_hash: str) -> Caller | None:
        statement = select(
            api_keys.c.id, api_keys.c.tenant_id, api_keys.c.agent_id, api_keys.c.scope, api_keys.c.key_hash
        ).where(api_keys.c.key_hash == key_hash, api_keys.c.revoked_us.is_(None))
        with self._reader.connect() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else Caller(*row)

    def _read_agent(self, reference: str) -> AgentFacts | None:
        tenant_id, _, name = reference.partition("/")
        column = agents.c.id if is_id(name) else agents.c.handle
        statement = (
            select(
                agents.c.id,
                agents.c.tenant_id,
                agents.c.owner_handle,
                agents.c.handle,
                agents.c.status,
                agents.c.allowed_brands,
                agents.c.preset,
            )
            .where(agents.c.tenant_id == tenant_id, column == name)
            .limit(2)
        )
        with self._reader.connect() as connection:
            rows = connection.execute(statement).all()
            aliases = tenant_aliases(connection, tenant_id) if len(rows) == 1 else {}
        if len(rows) != 1:
            return None
        row = rows[0]
        brands = None if row.allowed_brands is None else tuple(json.loads(row.allowed_brands))
        return AgentFacts(row.id, row.tenant_id, row.owner_handle, row.handle, row.status, brands, row.preset, aliases)
