"""Who calls, as the door found out from the headers alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """A recognised key: its tenant, the agent it is bound to (or none), and its scope (``owner`` or ``inference``)."""

    key_id: str
    tenant_id: str
    agent_id: str | None
    scope: str
    key_hash: str
