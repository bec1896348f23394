"""The laws of the house as one query over what is stored. It runs in tests and in production; every count must be 0.

It is one statement on purpose: a statement sees one snapshot on both engines, so calls that settle meanwhile never
look like violations.
"""

# ruff: noqa: S608 - the texts are this file's constants; what a caller gives is bound.

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import text
from sqlalchemy.engine import Connection

TERMINAL_EVENTS = (
    "inference.failed",
    "inference.rejected_cap_violation",
    "inference.rejected_insufficient_funds",
    "inference.rejected_killswitch",
    "inference.rejected_no_candidate",
    "receipt.created",
)
"""The event types that end a call; a test holds them equal to the audit room's, which is no import of this one."""


@dataclass(frozen=True, slots=True)
class LawReport:
    """How often each law is broken."""

    call_without_outcome: int
    """Accepted calls that neither ended nor are open."""
    outcome_without_call: int
    """Outcomes of calls that were never accepted, other than refusals."""
    outcome_without_one_debit: int
    """Ended calls with no agent transfer or more than one."""
    debit_unlike_outcome: int
    """Agent transfers whose amount is not the cost of the outcome, or that have none."""
    refusal_with_debit: int
    """Refused calls that were charged."""
    outcome_without_one_terminal_event: int
    """Ended or refused calls whose chain does not say so exactly once."""
    terminal_event_without_outcome: int
    """Chains that end a call of which no outcome is stored."""
    attempts_unlike_outcome: int
    """Ended calls with more or fewer attempts stored than their outcome counts."""
    hold_without_call: int
    """Money held for a call that was never accepted."""
    hold_of_ended_call: int
    """Money still held for a call that ended."""
    wallet_unlike_transfers: int
    """Wallets whose balance is not the sum of their account's transfers."""
    account_without_wallet: int
    """Agent accounts that moved money and have no wallet."""
    wallet_negative: int
    """Wallets with a balance below zero or below what is held."""
    held_unlike_holds: int
    """Wallets whose held amount is not the sum of their open holds."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def broken(self) -> dict[str, int]:
        """The laws that are broken, by name."""
        return {field.name: count for field in fields(self) if (count := getattr(self, field.name))}


_TERMINAL = ", ".join(f"'{name}'" for name in TERMINAL_EVENTS)
_MOVES = (
    "(SELECT account, SUM(amount) AS total FROM ("
    "SELECT credit_account AS account, amount_picousd AS amount FROM transfers"
    " UNION ALL SELECT debit_account, -amount_picousd FROM transfers) m"
    " WHERE account LIKE 'agent:%' GROUP BY account)"
)
_ENDED = "EXISTS (SELECT 1 FROM routing_outcomes o WHERE o.inference_id = {id})"
_ACCEPTED = "EXISTS (SELECT 1 FROM inferences i WHERE i.id = {id})"
_DEBITS = "(SELECT COUNT(*) FROM transfers t WHERE t.inference_id = o.inference_id AND t.kind = 'debit')"
_EVENTS = (
    "(SELECT {inference_id} AS inference_id, COUNT(*) AS times FROM audit_events"
    f" WHERE id >= :since AND event_type IN ({_TERMINAL}) GROUP BY 1)"
)

_LAWS = {
    "call_without_outcome": "SELECT COUNT(*) FROM inferences c WHERE c.id >= :since"
    f" AND NOT {_ENDED.format(id='c.id')} AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.inference_id = c.id)",
    "outcome_without_call": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= :since"
    f" AND o.outcome_status NOT LIKE 'rejected%' AND NOT {_ACCEPTED.format(id='o.inference_id')}",
    "outcome_without_one_debit": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= :since"
    f" AND {_ACCEPTED.format(id='o.inference_id')} AND {_DEBITS} <> 1",
    "debit_unlike_outcome": "SELECT COUNT(*) FROM transfers t"
    " LEFT JOIN routing_outcomes o ON o.inference_id = t.inference_id"
    " WHERE t.kind = 'debit' AND t.inference_id >= :since"
    " AND (o.inference_id IS NULL OR o.cost_picousd <> t.amount_picousd)",
    "refusal_with_debit": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= :since"
    f" AND o.outcome_status LIKE 'rejected%' AND {_DEBITS} > 0",
    "outcome_without_one_terminal_event": "SELECT COUNT(*) FROM routing_outcomes o"
    f" LEFT JOIN {_EVENTS} e ON e.inference_id = o.inference_id"
    " WHERE o.inference_id >= :since AND COALESCE(e.times, 0) <> 1",
    "terminal_event_without_outcome": f"SELECT COUNT(*) FROM {_EVENTS} e"
    f" WHERE e.inference_id >= :since AND NOT {_ENDED.format(id='e.inference_id')}",
    "attempts_unlike_outcome": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= :since"
    " AND o.attempts <> (SELECT COUNT(*) FROM attempts a WHERE a.inference_id = o.inference_id)",
    "hold_without_call": f"SELECT COUNT(*) FROM holds h WHERE NOT {_ACCEPTED.format(id='h.inference_id')}",
    "hold_of_ended_call": f"SELECT COUNT(*) FROM holds h WHERE {_ENDED.format(id='h.inference_id')}",
    "wallet_unlike_transfers": f"SELECT COUNT(*) FROM wallets w LEFT JOIN {_MOVES} b"
    " ON b.account = 'agent:' || w.agent_id WHERE w.balance_picousd <> COALESCE(b.total, 0)",
    "account_without_wallet": f"SELECT COUNT(*) FROM {_MOVES} b"
    " WHERE NOT EXISTS (SELECT 1 FROM wallets w WHERE 'agent:' || w.agent_id = b.account)",
    "wallet_negative": "SELECT COUNT(*) FROM wallets w"
    " WHERE w.balance_picousd < 0 OR w.held_picousd < 0 OR w.held_picousd > w.balance_picousd",
    "held_unlike_holds": "SELECT COUNT(*) FROM wallets w WHERE w.held_picousd <>"
    " (SELECT COALESCE(SUM(h.amount_picousd), 0) FROM holds h WHERE h.agent_id = w.agent_id)",
}


def check(conn: Connection, *, since_id: str = "") -> LawReport:
    """Count the violations of every law.

    ``since_id`` (a UUIDv7) leaves out calls that were accepted before it, which bounds the laws about calls by the
    window; those about accounts always look at every transfer. Reads only.
    """
    sqlite = conn.dialect.name == "sqlite"
    inference_id = "json_extract(payload, '$.inference_id')" if sqlite else "(CAST(payload AS json) ->> 'inference_id')"
    counts = ", ".join(f"({sql.replace('{inference_id}', inference_id)}) AS {name}" for name, sql in _LAWS.items())
    row = conn.execute(text(f"SELECT {counts}"), {"since": since_id}).one()
    return LawReport(**row._mapping)  # noqa: SLF001 - the documented way to a row's names
