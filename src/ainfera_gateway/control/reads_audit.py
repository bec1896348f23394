"""Reads of the chains: both projections, the server's own verification, exports, the public mirror."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, Row, select
from sqlalchemy.engine import Connection

from ainfera_gateway.agents.handles import canonical_uri
from ainfera_gateway.audit import integrator
from ainfera_gateway.audit.events import Checkpoint, StoredEvent, VerifyResult
from ainfera_gateway.audit.export import Manifest, annex_iv_document, annex_iv_zip, sdk_projection, verifier_projection
from ainfera_gateway.audit.verify import verify_rows
from ainfera_gateway.clock import iso
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import AgentRow
from ainfera_gateway.control.register import shown_agent
from ainfera_gateway.errors import not_found
from ainfera_gateway.storage.tables import audit_events, chain_heads

PAGE_MAX = 500
SEQ_MAX = 2**53
_CHUNK = 1_000
_REMEMBERED_MAX = 10_000


class VerifiedHeads:
    """Up to where each chain was found good, so that verifying again costs only what is new. Memory of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heads: dict[str, Checkpoint] = {}

    def get(self, agent_id: str) -> Checkpoint | None:
        return self._heads.get(agent_id)

    def put(self, reached: Checkpoint) -> None:
        with self._lock:
            known = self._heads.pop(reached.agent_id, None)
            if len(self._heads) >= _REMEMBERED_MAX:
                self._heads.pop(next(iter(self._heads)))
            self._heads[reached.agent_id] = reached if known is None or known.seq <= reached.seq else known

    def forget(self, agent_id: str) -> None:
        with self._lock:
            self._heads.pop(agent_id, None)


def stored_event(row: Row[Any]) -> StoredEvent:
    """A row of ``audit_events`` as the audit room takes it."""
    return StoredEvent(
        id=row.id,
        agent_id=row.agent_id,
        seq=row.seq,
        event_type=row.event_type,
        ts=iso(row.created_us),
        payload=row.payload.encode("utf-8"),
        previous_hash=row.previous_hash,
        event_hash=row.event_hash,
        verifier_hash=row.verifier_hash,
    )


def sdk_page(
    control: Control, agent: AgentRow, *, limit: int, since_seq: int | None, descending: bool
) -> dict[str, Any]:
    """``{agent_id, events}``; ``since_seq`` is exclusive and in newest-first order the bound from above."""
    column = audit_events.c.seq
    statement = select(audit_events).where(audit_events.c.agent_id == agent.id).limit(limit)
    if since_seq is not None:
        statement = statement.where(column < since_seq if descending else column > since_seq)
    statement = statement.order_by(column.desc() if descending else column)
    with control.reader.connect() as connection:
        rows = connection.execute(statement).all()
    return {"agent_id": agent.id, "events": [sdk_projection(stored_event(row)) for row in rows]}


def verifier_page(
    control: Control, agent: AgentRow, *, limit: int, after_seq: int | None, base_url: str
) -> dict[str, Any]:
    """``{events, has_more}`` in the verifier's form, oldest first; ``after_seq`` is exclusive."""
    first = 0 if after_seq is None else after_seq + 1
    with control.reader.connect() as connection:
        rows = _rows(connection, agent.id, first, limit + 1)
        before = _verifier_hash(connection, agent.id, first - 1)
    return {
        "events": list(_verifier_events(control, rows[:limit], before, base_url)),
        "has_more": len(rows) > limit,
    }


def verifier_event(control: Control, agent: AgentRow, seq: int, base_url: str) -> dict[str, Any]:
    """One event in the verifier's form. Raises 404 when the chain has no such seq."""
    with control.reader.connect() as connection:
        rows = _rows(connection, agent.id, seq, 1)
        before = _verifier_hash(connection, agent.id, seq - 1)
    if not rows or rows[0].seq != seq:
        raise not_found()
    return next(_verifier_events(control, rows, before, base_url))


def verify(control: Control, agent: AgentRow, heads: VerifiedHeads, *, full: bool) -> dict[str, Any]:
    """``{agent_id, event_count, valid, failure_seq, failure_reason}`` after a real re-hash.

    Incremental from where the last verification of this process ended; ``full`` begins at seq 0. A break is found
    again on each run, because memory only ever holds what was good, and is dropped when the store contradicts it.
    """
    result = _verified(control, agent, None if full else heads.get(agent.id))
    if not result.valid and not full:
        heads.forget(agent.id)
        result = _verified(control, agent, None)
    if result.valid and result.last is not None:
        heads.put(result.last)
    elif not result.valid:
        heads.forget(agent.id)
    return {
        "agent_id": agent.id,
        "event_count": result.event_count,
        "valid": result.valid,
        "failure_seq": result.failure_seq,
        "failure_reason": result.failure_reason,
    }


def annex_iv(control: Control, agent: AgentRow, base_url: str, *, owner: bool) -> dict[str, Any]:
    """The export as JSON; the agent's own facts are complete only for its owner."""
    result = _verified(control, agent, None)
    shown = shown_agent(control, agent)
    if not owner:
        shown = {name: shown[name] for name in _PUBLIC_FACTS}
    return annex_iv_document(
        _manifest(control, agent, base_url),
        shown,
        result,
        _all_verifier_events(control, agent, base_url),
        control.public_key_document,
    )


def annex_iv_packed(control: Control, agent: AgentRow, base_url: str) -> bytes:
    """The export as the zip that the offline verifier opens."""
    events = _all_verifier_events(control, agent, base_url)
    return annex_iv_zip(_manifest(control, agent, base_url), events, control.public_key_document)


def public_mirror(control: Control, limit: int) -> dict[str, Any]:
    """The newest events of all public chains, newest first; no agent id."""
    host = control.settings.did_host
    with control.reader.connect() as connection:
        rows = integrator.public_page(connection, limit)
    return {
        "events": [
            {
                "seq": row.position,
                "event_type": row.event_type,
                "owner_handle": row.owner_handle,
                "agent_name": row.agent_name,
                "canonical_uri": canonical_uri(row.owner_handle, row.agent_handle, host),
                "event_hash": row.event_hash,
                "created_at": iso(row.created_us),
            }
            for row in rows
        ]
    }


def height(control: Control) -> dict[str, Any]:
    """``{height, latest_at}`` over all chains, as far as positions are given."""
    with control.reader.connect() as connection:
        found = integrator.height(connection)
    return {"height": found.height, "latest_at": None if found.latest_us is None else iso(found.latest_us)}


_PUBLIC_FACTS = (
    "id",
    "tenant_id",
    "name",
    "status",
    "public_key_ed25519",
    "kid",
    "created_at",
    "handle",
    "owner_handle",
    "canonical_uri",
    "did_web",
)


def _verified(control: Control, agent: AgentRow, start: Checkpoint | None) -> VerifyResult:
    # Head and events of one moment: what is committed meanwhile must not look like a chain that outgrew its head.
    with _snapshot(control.reader) as connection:
        head = _head(connection, agent.id)
        rows = _stream(connection, agent.id, 0 if start is None else start.seq + 1)
        return verify_rows(map(stored_event, rows), start, agent_id=agent.id, head=head)


@contextlib.contextmanager
def _snapshot(reader: Engine) -> Iterator[Connection]:
    """A connection whose statements all see one state of the database."""
    with reader.connect() as connection:
        if reader.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
            yield connection
        else:
            yield connection.execution_options(isolation_level="REPEATABLE READ")


def _head(connection: Connection, agent_id: str) -> Checkpoint | None:
    row = connection.execute(
        select(chain_heads.c.seq, chain_heads.c.event_hash, chain_heads.c.verifier_hash).where(
            chain_heads.c.agent_id == agent_id
        )
    ).one_or_none()
    return None if row is None or row.seq < 0 else Checkpoint(agent_id, row.seq, row.event_hash, row.verifier_hash)


def _rows(connection: Connection, agent_id: str, first: int, limit: int) -> list[Row[Any]]:
    statement = (
        select(audit_events)
        .where(audit_events.c.agent_id == agent_id, audit_events.c.seq >= first)
        .order_by(audit_events.c.seq)
        .limit(limit)
    )
    return list(connection.execute(statement).all())


def _stream(connection: Connection, agent_id: str, first: int) -> Iterator[Row[Any]]:
    """Rows in order, in chunks, so that a long chain never stands in memory whole."""
    while True:
        rows = _rows(connection, agent_id, first, _CHUNK)
        yield from rows
        if len(rows) < _CHUNK:
            return
        first = rows[-1].seq + 1


def _verifier_hash(connection: Connection, agent_id: str, seq: int) -> str | None:
    if seq < 0:
        return None
    statement = select(audit_events.c.verifier_hash).where(
        audit_events.c.agent_id == agent_id, audit_events.c.seq == seq
    )
    return connection.execute(statement).scalar_one_or_none()


def _all_verifier_events(control: Control, agent: AgentRow, base_url: str) -> Iterator[dict[str, Any]]:
    with control.reader.connect() as connection:
        yield from _verifier_events(control, _stream(connection, agent.id, 0), None, base_url)


def _verifier_events(
    control: Control, rows: Iterator[Row[Any]] | list[Row[Any]], before: str | None, base_url: str
) -> Iterator[dict[str, Any]]:
    for row in rows:
        receipt_id = json.loads(row.payload).get("receipt_id")
        url = f"{base_url}/v1/receipts/{receipt_id}" if isinstance(receipt_id, str) else None
        yield verifier_projection(stored_event(row), before, control.chain_hmac_key, url)
        before = row.verifier_hash


def _manifest(control: Control, agent: AgentRow, base_url: str) -> Manifest:
    return Manifest(issuer=base_url, issued_at=iso(control.clock.now_us()), agent_id=agent.id, tenant=agent.tenant_id)
