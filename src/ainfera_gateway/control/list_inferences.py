"""Pages of ended calls by filters. Newest first, in the order in which calls ended.

A page costs an index range: without filters as many rows as it shows, with filters at most ``SCANNED_MAX``. A page may
therefore show less than was asked for, even nothing, and still say ``has_more``: the next one goes on from there. A
call that ends late stands before all that ended earlier, so a walk by ``after`` never misses one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, Subquery, select, tuple_
from sqlalchemy.engine import Connection

from ainfera_gateway.control.reads_inference import shown_outcome
from ainfera_gateway.control.tags import has_tag
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.storage.tables import inferences, routing_outcomes
from ainfera_gateway.storage.tenant_scope import tenant_reads

PAGE_MAX = 200
SCANNED_MAX = 5_000
"""Rows that one page looks at when it filters."""

_LEFT_OUT = frozenset({"decision", "verdict_versions"})
_COLUMNS = tuple(column for column in routing_outcomes.c if column.name not in _LEFT_OUT)
_EQUAL = ("model", "provider", "outcome_status", "dialect", "trace_id")


@dataclass(frozen=True, slots=True)
class CallFilter:
    """What a call must be; ``None`` asks nothing. ``agent_id`` is one of the tenant's own, which the caller checked.

    ``since_us`` is inclusive, ``until_us`` exclusive; both look at the moment the call ended.
    """

    agent_id: str | None = None
    model: str | None = None
    provider: str | None = None
    outcome_status: str | None = None
    dialect: str | None = None
    tag: str | None = None
    trace_id: str | None = None
    streamed: bool | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether it asks something that the range of the index does not answer by itself."""
        return any(getattr(self, name) is not None for name in (*_EQUAL, "tag", "streamed"))


def within(tenant_id: str, wanted: CallFilter) -> list[ColumnElement[bool]]:
    """The conditions that an index answers: whose calls, and when they ended."""
    table = routing_outcomes.c
    conditions = [table.tenant_id == tenant_id if wanted.agent_id is None else table.agent_id == wanted.agent_id]
    if wanted.since_us is not None:
        conditions.append(table.created_us >= wanted.since_us)
    if wanted.until_us is not None:
        conditions.append(table.created_us < wanted.until_us)
    return conditions


def page(
    reader: Engine, tenant_id: str, wanted: CallFilter, *, limit: int, before: str | None, after: str | None
) -> dict[str, Any]:
    """``{inferences, has_more, next_before, next_after}``.

    ``before`` and ``after`` are ids of ended calls: the page goes on towards older ones, or towards newer ones.
    ``next_before`` stands where older calls follow; ``next_after`` asks for what ended since this page.
    Raises 422 for a cursor that names no ended call.
    """
    upwards = after is not None
    with tenant_reads(reader, tenant_id) as connection:
        ranged = _ranged(connection, tenant_id, wanted, before=before, after=after)
        window = ranged.limit(SCANNED_MAX if wanted.narrows else limit + 1).subquery("ended")
        rows = connection.execute(_matching(connection, window, wanted, upwards=upwards).limit(limit + 1)).all()
        edge: str | None = None
        if len(rows) > limit:
            edge = rows[limit - 1].inference_id
        elif wanted.narrows:
            # Where the range was cut off, if it was: the walk goes on behind that call.
            last = ranged.with_only_columns(routing_outcomes.c.inference_id).offset(SCANNED_MAX - 1).limit(1)
            edge = connection.execute(last).scalar_one_or_none()
    shown = [_shown(row) for row in rows[:limit]]
    if upwards:
        shown.reverse()
    newest = shown[0]["inference_id"] if shown else after
    return {
        "inferences": shown,
        "has_more": edge is not None,
        "next_before": None if upwards else edge,
        "next_after": (edge or newest) if upwards else newest,
    }


def _ranged(
    connection: Connection, tenant_id: str, wanted: CallFilter, *, before: str | None, after: str | None
) -> Select[Any]:
    """The range of the index that a page walks, in its order."""
    table = routing_outcomes.c
    key = tuple_(table.created_us, table.inference_id)
    conditions = within(tenant_id, wanted)
    if before is not None:
        conditions.append(key < _position(connection, tenant_id, before, "before"))
    if after is not None:
        conditions.append(key > _position(connection, tenant_id, after, "after"))
    statement = select(*_COLUMNS).where(*conditions)
    if after is not None:
        return statement.order_by(table.created_us, table.inference_id)
    return statement.order_by(table.created_us.desc(), table.inference_id.desc())


def _position(connection: Connection, tenant_id: str, cursor: str, field: str) -> Any:
    """Where a cursor stands, as a row value."""
    table = routing_outcomes.c
    statement = select(table.created_us).where(table.inference_id == cursor, table.tenant_id == tenant_id)
    ended_us = connection.execute(statement).scalar_one_or_none()
    if ended_us is None:
        raise GatewayError(422, "validation_error", f"{field}: no ended call has this id", field=field)
    return tuple_(ended_us, cursor)


def _matching(connection: Connection, window: Subquery, wanted: CallFilter, *, upwards: bool) -> Select[Any]:
    """The calls of ``window`` that match, with what was written when they were accepted."""
    opened = inferences.c
    statement = select(*window.c, opened.receipt_id, opened.requested_model, opened.streamed).select_from(
        window.outerjoin(inferences, opened.id == window.c.inference_id)
    )
    equal = {name: getattr(wanted, name) for name in _EQUAL}
    statement = statement.where(*(window.c[name] == value for name, value in equal.items() if value is not None))
    if wanted.tag is not None:
        statement = statement.where(has_tag(connection, window.c.tags, wanted.tag))
    if wanted.streamed is not None:
        statement = statement.where(opened.streamed == int(wanted.streamed))
    if upwards:
        return statement.order_by(window.c.created_us, window.c.inference_id)
    return statement.order_by(window.c.created_us.desc(), window.c.inference_id.desc())


def _shown(row: Row[Any]) -> dict[str, Any]:
    """A refusal was never accepted: it has no receipt, and whether it asked for a stream is not known."""
    return {
        **shown_outcome(row),
        "receipt_id": row.receipt_id,
        "requested_model": row.requested_model,
        "stream": None if row.streamed is None else bool(row.streamed),
    }
