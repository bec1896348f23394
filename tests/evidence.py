"""Holds what the gateway stored against what the provider saw: every call once, paid once, proved once.

The provider's side is the simulator's own file, written before each answer. Every count here is made on its own, not
by asking the gateway; the laws of the house are asked as well. A problem is a sentence; no problems is an empty list.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ainfera.audit import AuditEvent
from ainfera.exceptions import AuditChainBroken
from ainfera.verify import verify_chain
from ainfera_verify.chain import GENESIS_HASH, compute_event_hash

from ainfera_gateway.ledger.laws import TERMINAL_EVENTS, check
from tests.stored import Stored, StoredReader, rows, stored_engine

__all__ = ["problems", "rows", "wait_settled"]

_PICO = Decimal(10) ** 12
# What an attempt's row may say when the provider never saw it.
NEVER_LEFT = ("not_sent", "backend_not_ready", "connection_failed", "request_not_carried")
# Recorded when nobody can know whether the request got out.
MAYBE_LEFT = ("process_died", "broken_off")


def problems(database: Stored, seen: Iterable[str | None], *, may_lack: bool = False) -> list[str]:
    """All that does not fit. ``seen`` are the attempt ids in the provider's file, one for each request.

    ``may_lack`` allows rows of attempts that the provider never saw although they were about to leave: those that a
    crash may have hit between the commit and the send.
    """
    found: list[str] = []
    connection = StoredReader(database)
    try:
        found += _attempts(connection, Counter(seen), may_lack=may_lack)
        found += _calls(connection)
        found += _money(connection)
        found += _chains(connection)
    finally:
        connection.close()
    with stored_engine(database) as engine, engine.connect() as laws:
        found += [f"law {name} is broken {times} times" for name, times in check(laws).broken.items()]
    return found


def _attempts(connection: StoredReader, seen: Counter[str | None], *, may_lack: bool) -> list[str]:
    found = [f"the provider saw attempt {name} {times} times" for name, times in seen.items() if times != 1]
    rows = connection.execute("SELECT id, outcome, reason FROM attempts").fetchall()
    stored = Counter(row[0] for row in rows)
    found += [f"attempt {name} is stored {times} times" for name, times in stored.items() if times != 1]
    found += [f"attempt {name} left and is not stored" for name in seen if name not in stored]
    for name, outcome, reason in rows:
        if name in seen:
            if reason in NEVER_LEFT:
                found.append(f"attempt {name} left, and its row says {reason}")
        elif outcome != "connect" and reason not in NEVER_LEFT and not (may_lack and reason in MAYBE_LEFT):
            found.append(f"attempt {name} is stored ({outcome}, {reason}), and the provider never saw it")
    return found


def _calls(connection: StoredReader) -> list[str]:
    found: list[str] = []
    calls = [row[0] for row in connection.execute("SELECT id FROM inferences")]
    outcomes = Counter(
        row[0]
        for row in connection.execute(
            "SELECT inference_id FROM routing_outcomes WHERE outcome_status NOT LIKE 'rejected%'"
        )
    )
    debits = Counter(row[0] for row in connection.execute("SELECT inference_id FROM transfers WHERE kind = 'debit'"))
    marks = ", ".join("?" * len(TERMINAL_EVENTS))
    events = Counter(
        json.loads(row[0])["inference_id"]
        for row in connection.execute(
            f"SELECT payload FROM audit_events WHERE event_type IN ({marks})", TERMINAL_EVENTS
        )
    )
    for name in calls:
        for what, counted in (("outcomes", outcomes), ("agent transfers", debits), ("terminal events", events)):
            if counted[name] != 1:
                found.append(f"call {name} has {counted[name]} {what}")
    known = set(calls)
    for what, counted in (("an outcome", outcomes), ("an agent transfer", debits)):
        found += [f"{what} belongs to no call: {name}" for name in counted if name not in known]
    return found


def _money(connection: StoredReader) -> list[str]:
    found: list[str] = []
    holds = connection.execute("SELECT COUNT(*), COALESCE(SUM(amount_picousd), 0) FROM holds").fetchone()
    if holds != (0, 0):
        found.append(f"{holds[0]} holds are left, of {holds[1]} pico-USD")
    balances: Counter[str] = Counter()
    paid: Counter[str] = Counter()
    debits = revenue = house = 0
    for agent_id, debit, credit, amount in connection.execute(
        "SELECT agent_id, debit_account, credit_account, amount_picousd FROM transfers"
    ):
        balances[debit] -= amount
        balances[credit] += amount
        if credit == "house:revenue":
            revenue += amount
            debits += amount if debit == f"agent:{agent_id}" else 0
            house += amount if debit != f"agent:{agent_id}" else 0
        if debit == f"agent:{agent_id}":
            paid[agent_id] += amount
    if sum(balances.values()) != 0:
        found.append("debits do not equal credits")
    if revenue != debits + house:
        found.append("revenue is not what agents and the house paid")
    for agent_id, balance, held, spent in connection.execute(
        "SELECT agent_id, balance_picousd, held_picousd, month_spent_picousd FROM wallets"
    ):
        if balance != balances[f"agent:{agent_id}"]:
            found.append(f"wallet {agent_id} holds {balance}, its transfers say {balances[f'agent:{agent_id}']}")
        if held != 0:
            found.append(f"wallet {agent_id} still holds {held} back")
        if spent != paid[agent_id]:
            found.append(f"wallet {agent_id} counts {spent} as spent, its debits are {paid[agent_id]}")
    return found


def _chains(connection: StoredReader) -> list[str]:
    found: list[str] = []
    chains: dict[str, list[tuple[Any, ...]]] = {}
    for row in connection.execute(
        "SELECT agent_id, seq, event_type, payload, previous_hash, event_hash, verifier_hash, created_us, id"
        " FROM audit_events ORDER BY agent_id, seq"
    ):
        chains.setdefault(row[0], []).append(row)
    costs = dict(
        connection.execute("SELECT inference_id, amount_picousd FROM transfers WHERE kind = 'debit'").fetchall()
    )
    for agent_id, chain in chains.items():
        events = [_event(row) for row in chain]
        try:
            verify_chain(events)
        except AuditChainBroken as broken:
            found.append(f"the published SDK rejects the chain of {agent_id}: {broken}")
        previous = GENESIS_HASH
        for row in chain:
            previous = compute_event_hash(previous, json.loads(row[3]))
            if previous != row[6]:
                found.append(f"the verifier's rule breaks at seq {row[1]} of {agent_id}")
                break
        for event in events:
            named = event.payload.get("inference_id")
            if event.event_type == "receipt.created" and Decimal(event.payload["cost_usd"]) * _PICO != costs.get(named):
                found.append(f"the chain of {agent_id} states another price of {named} than the ledger")
    return found


def _event(row: tuple[Any, ...]) -> AuditEvent:
    return AuditEvent.model_validate(
        {
            "id": row[8],
            "agent_id": row[0],
            "seq": row[1],
            "event_type": row[2],
            "payload": json.loads(row[3]),
            "previous_hash": row[4],
            "event_hash": row[5],
            "created_at": datetime.fromtimestamp(row[7] / 1_000_000, UTC).isoformat(),
        }
    )


def wait_settled(database: Stored, timeout_s: float = 60.0) -> None:
    """Return once no call is open; raises ``AssertionError`` when holds are still there after ``timeout_s``."""
    connection = StoredReader(database)
    end = time.monotonic() + timeout_s
    try:
        while (left := connection.execute("SELECT COUNT(*) FROM holds").fetchone()[0]) != 0:
            if time.monotonic() > end:
                raise AssertionError(f"{left} calls are still open after {timeout_s} s")
            time.sleep(0.02)
    finally:
        connection.close()
