"""Turns an applied page into an ordered list of batched statements. Pure; both drivers run the same list."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.storage.page import HoldRow, IdempotencyRow, Page
from ainfera_gateway.storage.sql import Statement, Statements, positional

Batch = tuple[Statement, list[tuple[Any, ...]]]

_INSERT_FIRST = ("tenants", "agents", "wallets")


def _values(statement: Statement, rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [statement.of_row(row) for row in rows]


def _of(statement: Statement, items: list[Any]) -> list[tuple[Any, ...]]:
    return [statement.of_item(item) for item in items]


def plan(page: Page, known: Statements, style: str, owner: str) -> list[Batch]:
    """The writes of a group: parents before children, one statement a kind, rows in sorted key order.

    ``owner`` is the process that writes: sums which all processes add to have a row for each of them.
    """
    batches: list[Batch] = []
    for table in (*_INSERT_FIRST, *(name for name in page.inserts if name not in _INSERT_FIRST)):
        if rows := page.inserts.get(table):
            statement = known.inserts[table]
            batches.append((statement, _values(statement, rows)))
    if wallets := sorted((w for w in page.wallets.values() if w.dirty), key=lambda w: w.agent_id):
        batches.append((known.wallet, _of(known.wallet, wallets)))
    _plan_heads(page, known, batches)
    _plan_holds(sorted(page.holds.values(), key=lambda h: h.inference_id), known, batches)
    _plan_idempotency(sorted(page.idempotency.values(), key=lambda r: (r.agent_id, r.key_hash)), known, batches)
    if page.spent:
        batches.append((known.spend, [(owner, day, amount) for day, amount in sorted(page.spent.items())]))
    for sql, parameters in page.statements:
        statement = positional(sql, style)
        batches.append((statement, [statement.of_row(parameters)]))
    return batches


def _plan_heads(page: Page, known: Statements, batches: list[Batch]) -> None:
    heads = sorted((h for h in page.heads.values() if h.dirty), key=lambda h: h.agent_id)
    if fresh := [h for h in heads if h.fresh]:
        rows = [
            {
                "agent_id": h.agent_id,
                "seq": h.seq,
                "event_hash": h.event_hash,
                "verifier_hash": h.verifier_hash,
                "positioned_seq": -1,
            }
            for h in fresh
        ]
        batches.append((known.head_insert, _values(known.head_insert, rows)))
    if grown := [h for h in heads if not h.fresh]:
        batches.append((known.head_update, _of(known.head_update, grown)))


def _plan_holds(holds: list[HoldRow], known: Statements, batches: list[Batch]) -> None:
    if new := [h for h in holds if h.state == "new"]:
        statement = known.inserts["holds"]
        batches.append((statement, _of(statement, new)))
    if changed := [h for h in holds if h.state == "changed"]:
        batches.append((known.hold_update, _of(known.hold_update, changed)))
    if released := [h for h in holds if h.state == "released"]:
        batches.append((known.hold_delete, _of(known.hold_delete, released)))


def _plan_idempotency(rows: list[IdempotencyRow], known: Statements, batches: list[Batch]) -> None:
    if new := [r for r in rows if r.change == "insert"]:
        statement = known.inserts["idempotency_keys"]
        batches.append((statement, _of(statement, new)))
    if changed := [r for r in rows if r.change == "update"]:
        batches.append((known.idempotency_update, _of(known.idempotency_update, changed)))
    if removed := [r for r in rows if r.change == "delete"]:
        batches.append((known.idempotency_delete, _of(known.idempotency_delete, removed)))
