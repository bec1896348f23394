"""The closed set of audit events, and the one shape of their payloads."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

PAYLOAD_VERSION = 1


class EventType(StrEnum):
    """Every type of event that a chain may hold."""

    AGENT_REGISTERED = "agent.registered"
    AGENT_SUSPENDED = "agent.suspended"
    AGENT_ACTIVATED = "agent.activated"
    AGENT_CARD_MINTED = "agent_card.minted"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    WALLET_GRANTED = "wallet.granted"
    WALLET_TOPPED_UP = "wallet.topped_up"
    SPEND_POLICY_UPDATED = "spend_policy.updated"
    VERDICT_UPDATED = "verdict.updated"
    KILLSWITCH_CHANGED = "killswitch.changed"
    INFERENCE_ROUTED = "inference.routed"
    PROVIDER_RESPONDED = "provider.responded"
    RECEIPT_CREATED = "receipt.created"
    INFERENCE_FAILED = "inference.failed"
    REJECTED_CAP_VIOLATION = "inference.rejected_cap_violation"
    REJECTED_INSUFFICIENT_FUNDS = "inference.rejected_insufficient_funds"
    REJECTED_NO_CANDIDATE = "inference.rejected_no_candidate"
    REJECTED_KILLSWITCH = "inference.rejected_killswitch"


EVENT_TYPES: frozenset[str] = frozenset(EventType)

TERMINAL_EVENT_TYPES: frozenset[str] = frozenset(
    {
        EventType.RECEIPT_CREATED,
        EventType.INFERENCE_FAILED,
        EventType.REJECTED_CAP_VIOLATION,
        EventType.REJECTED_INSUFFICIENT_FUNDS,
        EventType.REJECTED_NO_CANDIDATE,
        EventType.REJECTED_KILLSWITCH,
    }
)
"""The types that end an inference: each accepted or refused call has exactly one of them."""

REQUIRED_FIELDS: Mapping[str, frozenset[str]] = {
    EventType.INFERENCE_ROUTED: frozenset(
        {"model", "provider", "router", "decision_hash", "request_hash", "projected_cost_usd"}
    ),
    EventType.PROVIDER_RESPONDED: frozenset({"attempt", "status", "usage", "latency_ms", "response_hash"}),
    EventType.RECEIPT_CREATED: frozenset(
        {"receipt_id", "cost_usd", "ledger_entry_id", "balance_after_usd", "outcome_status"}
    ),
}

COMMON_FIELDS = ("v", "event_type", "agent_id", "seq", "ts", "trace_id")
"""What stands in every payload, because neither published rule hashes the columns beside it."""


class EventError(ValueError):
    """The event is not one that the chain may hold."""


def payload(
    event_type: str, agent_id: str, seq: int, ts_iso: str, trace_id: str | None, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """The payload of one event: ``fields`` and the common members.

    ``seq`` counts from 0 per agent; ``ts_iso`` is RFC 3339 text in UTC and must equal the row's own time; ``trace_id``
    is 32 hex characters, or ``None`` for what no request caused. Raises ``EventError`` for an unknown type, a
    missing field of the type, or a field that would hide a common member.
    """
    if event_type not in EVENT_TYPES:
        raise EventError(f"unknown event type {event_type!r}")
    required = REQUIRED_FIELDS.get(event_type)
    if required is not None and not required <= fields.keys():
        raise EventError(f"{event_type} lacks {', '.join(sorted(required - fields.keys()))}")
    made: dict[str, Any] = {
        **fields,
        "v": PAYLOAD_VERSION,
        "event_type": str(event_type),
        "agent_id": agent_id,
        "seq": seq,
        "ts": ts_iso,
        "trace_id": trace_id,
    }
    if len(made) != len(fields) + len(COMMON_FIELDS):
        hidden = sorted(set(COMMON_FIELDS) & fields.keys())
        raise EventError(f"a field may not be named {', '.join(hidden)}")
    return made
