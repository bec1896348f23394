"""What the recorder is given to grow a chain: payload, canonical text and both hashes of the next event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ainfera_gateway.audit.canonical_json import canonical_json
from ainfera_gateway.audit.chain import Link, append
from ainfera_gateway.audit.event_types import payload
from ainfera_gateway.clock import iso
from ainfera_gateway.storage.page import SealedEvent


def seal(
    *,
    agent_id: str,
    seq: int,
    event_type: str,
    now_us: int,
    fields: Mapping[str, Any],
    previous: tuple[str, str] | None,
) -> SealedEvent:
    """The stored form of one event. ``fields`` may carry ``trace_id``; the rest is the event's own.

    Raises ``EventError`` or ``CanonicalError`` for what a chain may not hold.
    """
    own = dict(fields)
    trace_id = own.pop("trace_id", None)
    text = canonical_json(payload(event_type, agent_id, seq, iso(now_us), trace_id, own))
    link = append(None if previous is None else Link(*previous), text)
    return SealedEvent(text.decode(), link.event_hash, link.verifier_hash)
