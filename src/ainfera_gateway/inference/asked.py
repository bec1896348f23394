"""What comes to the planner: who asks, and what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.wire.parsed import Parsed


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, under which trace, and what of the request's head belongs to its dialect."""

    caller: Caller
    trace_id: str
    span_id: str
    forwarded: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked; with the hash of the Idempotency-Key and the fingerprint of the request, if a key came along."""

    parsed: Parsed
    key_hash: str | None = None
    fingerprint: str = ""
