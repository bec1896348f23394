"""Small units of work for what the real ones never do."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from ainfera_gateway.audit.chain import Link, append
from ainfera_gateway.storage.page import Keys, Page, Refused

AGENTS = tuple(f"0193a000-0000-7000-8000-0000000000{n:02x}" for n in range(16, 32))
"""Agent ids for tests, in sorted order."""


@dataclass(frozen=True)
class Append:
    """One event more on an agent's chain; the answer is its seq."""

    agent_id: str
    note: str = ""
    seen: list[str] = field(default_factory=list)

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> int:
        self.seen.append(self.note)
        return page.append(self.agent_id, "agent.activated", {"note": self.note})


@dataclass(frozen=True)
class Poison:
    """A unit whose rows the database refuses: the same transfer id twice."""

    agent_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> int:
        page.append(self.agent_id, "agent.activated", {"note": "poison"})
        page.insert("settings_changes", setting("poison"))
        page.insert("settings_changes", setting("poison"))
        return 0


@dataclass(frozen=True)
class Broken:
    """A unit with a bug: it fails in the middle of its writes."""

    agent_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> int:
        page.append(self.agent_id, "agent.activated", {"note": "broken"})
        raise ZeroDivisionError("broken")


@dataclass(frozen=True)
class Decline:
    """A unit that refuses."""

    error: Exception

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> int:
        raise Refused(self.error)


@dataclass(frozen=True)
class Insert:
    """One row into any table."""

    table: str
    row: dict[str, Any]

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> int:
        page.insert(self.table, self.row)
        return 1


def setting(id_: str) -> dict[str, Any]:
    return {"id": id_, "name": "n", "value": "v", "changed_by": "t", "created_us": 1}


def chain(store: Any, agent_id: str) -> list[dict[str, Any]]:
    """The payloads of a chain, after a real re-hash of every link under both rules."""
    rows = store.rows(
        "SELECT seq, payload, previous_hash, event_hash, verifier_hash FROM audit_events"
        " WHERE agent_id = :agent_id ORDER BY seq",
        agent_id=agent_id,
    )
    link: Link | None = None
    for expected_seq, (seq, payload, previous_hash, event_hash, verifier_hash) in enumerate(rows):
        assert seq == expected_seq
        assert previous_hash == (link.event_hash if link else None)
        link = append(link, payload.encode())
        assert link == (event_hash, verifier_hash)
    if link is not None:
        head = store.rows("SELECT seq, event_hash, verifier_hash FROM chain_heads WHERE agent_id = :a", a=agent_id)
        assert head == [(len(rows) - 1, *link)]
    return [json.loads(payload) for _, payload, _, _, _ in rows]


async def gather(recorder: Any, units: list[Any]) -> list[Any]:
    """Submit all at once; a unit's exception stands in its place."""
    return await asyncio.gather(*(recorder.submit(unit) for unit in units), return_exceptions=True)
