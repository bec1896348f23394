"""The values of the audit room: an event as it is stored, and a point up to which a chain is trusted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of a chain.

    ``payload`` is the canonical bytes that were hashed; ``ts`` RFC 3339 text in UTC with microseconds;
    ``previous_hash`` the SDK rule's predecessor, ``None`` at seq 0; the hashes 64 lower-case hex characters.
    """

    id: str
    agent_id: str
    seq: int
    event_type: str
    ts: str
    payload: bytes
    previous_hash: str | None
    event_hash: str
    verifier_hash: str
    v: int = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last event of a chain that is known to be good."""

    agent_id: str
    seq: int
    event_hash: str
    verifier_hash: str


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a verification found.

    ``event_count`` counts every good event from seq 0 on; ``failure_seq`` is the seq the first bad event carries (or
    the one that is missing); ``failure_reason`` a stable snake_case text; ``last`` the last good event, from which
    the next run may start.
    """

    event_count: int
    valid: bool
    failure_seq: int | None
    failure_reason: str | None
    last: Checkpoint | None
