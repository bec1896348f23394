"""Reads of one call: its state, its decision, its receipt."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.engine import Connection

from ainfera_gateway.catalog.price import usd_per_million
from ainfera_gateway.catalog.store import stored_lines
from ainfera_gateway.clock import iso
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.reads_log import proof_of
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.ids import is_id
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.retention import kept_from
from ainfera_gateway.storage.tables import (
    attempts,
    audit_events,
    holds,
    inferences,
    log_positions,
    routing_outcomes,
    transfers,
)
from ainfera_gateway.storage.tenant_scope import tenant_reads

_NEIGHBOURS_MAX = 1_000
"""Events of other calls that may stand between a transfer and its event, where several processes write."""

_TERMINAL = ("receipt.created", "inference.failed")


def one(control: Control, tenant_id: str, inference_id: str, base_url: str) -> dict[str, Any]:
    """A call with its attempts, and the salt of its hashes, which only its owner may read. Raises 404."""
    with tenant_reads(control.reader, tenant_id) as connection:
        call = _call(connection, tenant_id, inference_id)
        outcome = _outcome_row(connection, tenant_id, inference_id)
        if call is None and outcome is None:
            raise not_found()
        tried = connection.execute(
            select(attempts).where(attempts.c.inference_id == inference_id).order_by(attempts.c.ordinal)
        ).all()
        held = connection.execute(
            select(holds.c.amount_picousd).where(holds.c.inference_id == inference_id)
        ).scalar_one_or_none()
        if outcome is None and held is None and inference_id < kept_from(connection):
            raise _expired()
    shown: dict[str, Any] = {} if call is None else _opened(call, base_url)
    if outcome is None:
        shown |= {"outcome_status": None, "held_usd": format_usd(held or 0)}
    else:
        shown |= shown_outcome(outcome)
    return {**shown, "attempt_list": [_attempt(row) for row in tried]}


def decision(control: Control, tenant_id: str, inference_id: str) -> dict[str, Any]:
    """The recorded decision: every candidate with its reason, and the rules that made it. Raises 404."""
    with tenant_reads(control.reader, tenant_id) as connection:
        outcome = _outcome_row(connection, tenant_id, inference_id)
        call = _call(connection, tenant_id, inference_id)
    if outcome is None and call is None:
        raise not_found()
    shown: dict[str, Any] = {"inference_id": inference_id}
    if call is not None:
        shown |= {"decision_hash": call.decision_hash, "requested_model": call.requested_model}
    if outcome is not None:
        shown |= {name: getattr(outcome, name) for name in _DECIDED}
        shown["verdict_versions"] = json.loads(outcome.verdict_versions)
        shown["projected_cost_usd"] = format_usd(outcome.projected_picousd)
        shown["chosen"] = None if outcome.model is None else {"model": outcome.model, "provider": outcome.provider}
    recorded = call.decision if call is not None else outcome.decision if outcome is not None else "{}"
    return {**shown, "decision": json.loads(recorded)}


def receipt(control: Control, tenant_id: str, receipt_id: str, base_url: str) -> dict[str, Any]:
    """The proof of one ended call. Raises 404 for open calls as for unknown ones."""
    if not is_id(receipt_id):
        raise not_found()
    with tenant_reads(control.reader, tenant_id) as connection:
        call = connection.execute(
            select(inferences).where(inferences.c.receipt_id == receipt_id, inferences.c.tenant_id == tenant_id)
        ).one_or_none()
        outcome = None if call is None else _outcome_row(connection, tenant_id, call.id)
        if call is not None and outcome is None and call.id < kept_from(connection):
            raise _expired()
        if call is None or outcome is None:
            raise not_found()
        event = _terminal_event(connection, call.agent_id, call.id)
        proof = None if event is None else proof_of(connection, call.agent_id, event[0])
        position = None if event is None else _position(connection, call.agent_id, event[0])
        price = _price(connection, outcome.model, outcome.created_us)
    return {
        "receipt_id": receipt_id,
        "inference_id": call.id,
        "agent_id": call.agent_id,
        "audit_url": f"{base_url}/v1/audit/{call.agent_id}/verify",
        "cost_usd": format_usd(outcome.cost_picousd),
        "model": outcome.model,
        "provider": outcome.provider,
        "usage": _usage(outcome),
        "price": price,
        "seq": None if event is None else event[0],
        "event_hash": None if event is None else event[1],
        "outcome_status": outcome.outcome_status,
        "created_at": iso(outcome.created_us),
        "position": position,
        "proof": proof,
        "proof_status": "pending" if proof is None else "included",
    }


def _expired() -> GatewayError:
    message = "The outcome of this call is no longer kept. Its transfers and its audit events are."
    return GatewayError(404, "not_found", message)


_DECIDED = (
    "policy_name",
    "policy_semver",
    "ruleset_hash",
    "decision_rule",
    "decision_type",
    "task_type",
    "task_type_source",
    "propensity",
    "outcome_status",
)


def _call(connection: Connection, tenant_id: str, inference_id: str) -> Row[Any] | None:
    if not is_id(inference_id):
        return None
    return connection.execute(
        select(inferences).where(inferences.c.id == inference_id, inferences.c.tenant_id == tenant_id)
    ).one_or_none()


def _outcome_row(connection: Connection, tenant_id: str, inference_id: str) -> Row[Any] | None:
    if not is_id(inference_id):
        return None
    return connection.execute(
        select(routing_outcomes).where(
            routing_outcomes.c.inference_id == inference_id, routing_outcomes.c.tenant_id == tenant_id
        )
    ).one_or_none()


def _terminal_event(connection: Connection, agent_id: str, inference_id: str) -> tuple[int, str] | None:
    """(seq, event hash) of the event that ended a call.

    It was written right after the call's transfer, and ids grow: a few rows of the primary key find it, however long
    the chain is.
    """
    paid = connection.execute(
        select(transfers.c.id).where(transfers.c.inference_id == inference_id, transfers.c.kind == "debit")
    ).scalar_one_or_none()
    if paid is None:
        return None
    rows = connection.execute(
        select(audit_events.c.agent_id, audit_events.c.seq, audit_events.c.event_hash, audit_events.c.payload)
        .where(audit_events.c.id > paid, audit_events.c.event_type.in_(_TERMINAL))
        .order_by(audit_events.c.id)
        .limit(_NEIGHBOURS_MAX)
    )
    for row in rows:
        if row.agent_id == agent_id and json.loads(row.payload).get("inference_id") == inference_id:
            return row.seq, row.event_hash
    return None


def _position(connection: Connection, agent_id: str, seq: int) -> int | None:
    statement = select(log_positions.c.position).where(log_positions.c.agent_id == agent_id, log_positions.c.seq == seq)
    return connection.execute(statement).scalar_one_or_none()


def _price(connection: Connection, model: str | None, at_us: int) -> dict[str, Any] | None:
    """The list price in force at ``at_us``, by class, in USD per million tokens."""
    if model is None:
        return None
    lines = {name: usd_per_million(picousd) for name, picousd in stored_lines(connection, model, at_us).items()}
    return {f"{name}_per_million_usd": usd for name, usd in sorted(lines.items())} or None


def _usage(row: Row[Any]) -> dict[str, Any]:
    return {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cache_write_1h_tokens": row.cache_write_1h_tokens,
        "audio_input_tokens": row.audio_input_tokens,
        "audio_output_tokens": row.audio_output_tokens,
        "web_searches": row.web_searches,
        "source": row.usage_source,
    }


def shown_outcome(row: Row[Any]) -> dict[str, Any]:
    """An ended call as lists and single reads show it."""
    return {
        "inference_id": row.inference_id,
        "agent_id": row.agent_id,
        "trace_id": row.trace_id,
        "dialect": row.dialect,
        "task_type": row.task_type,
        "decision_rule": row.decision_rule,
        "decision_type": row.decision_type,
        "model": row.model,
        "provider": row.provider,
        "outcome_status": row.outcome_status,
        "refusal_code": row.refusal_code,
        "cost_usd": format_usd(row.cost_picousd),
        "projected_cost_usd": format_usd(row.projected_picousd),
        "usage": _usage(row),
        "attempts": row.attempts,
        "ttft_ms": None if row.ttft_us is None else row.ttft_us // 1000,
        "latency_ms": row.latency_us // 1000,
        "tags": None if row.tags is None else json.loads(row.tags),
        "created_at": iso(row.created_us),
    }


def _opened(row: Row[Any], base_url: str) -> dict[str, Any]:
    return {
        "inference_id": row.id,
        "receipt_id": row.receipt_id,
        "agent_id": row.agent_id,
        "trace_id": row.trace_id,
        "dialect": row.dialect,
        "stream": bool(row.streamed),
        "requested_model": row.requested_model,
        "decision_hash": row.decision_hash,
        "request_hash": row.request_hash,
        "hash_salt": row.hash_salt,
        "projected_cost_usd": format_usd(row.projected_picousd),
        "audit_url": f"{base_url}/v1/audit/{row.agent_id}/verify",
        "opened_at": iso(row.created_us),
    }


def _attempt(row: Row[Any]) -> dict[str, Any]:
    return {
        "attempt_id": row.id,
        "ordinal": row.ordinal,
        "provider": row.provider,
        "model": row.model,
        "outcome": row.outcome,
        "upstream_status": row.upstream_status,
        "reason": row.reason,
        "ttft_ms": None if row.ttft_us is None else row.ttft_us // 1000,
        "latency_ms": row.latency_us // 1000,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": format_usd(row.cost_picousd),
        "usage_source": row.usage_source,
    }
