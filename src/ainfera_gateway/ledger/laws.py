"""The laws of the house as one query over what is stored. It runs in tests and in production; every count must be 0.

It is one statement on purpose: a statement sees one snapshot on both engines, so calls that settle meanwhile never
look like violations.
"""

# ruff: noqa: S608 - the texts are this file's constants; what a caller gives is bound.

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import text
from sqlalchemy.engine import Connection

from ainfera_gateway.ids import earliest_id

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
    attempt_without_call: int
    """Attempts of calls that were never accepted: something left for a provider without a record of it."""
    attempts_unlike_outcome: int
    """Ended calls with more or fewer attempts stored than their outcome counts."""
    hold_without_call: int
    """Money held for a call that was never accepted."""
    hold_of_ended_call: int
    """Money still held for a call that ended."""
    transfer_unbalanced: int
    """Transfers that do not take from one known account what they give to another, and so do not sum to zero."""
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


LAWS = tuple(field.name for field in fields(LawReport))
"""The names of all laws."""
CAPTURE_LAWS = ("outcome_without_call", "attempt_without_call")
"""What is broken when something left for a provider without a committed record of its call."""

_TERMINAL = ", ".join(f"'{name}'" for name in TERMINAL_EVENTS)
_MOVES = (
    "(SELECT account, SUM(amount) AS total FROM ("
    "SELECT credit_account AS account, amount_picousd AS amount FROM transfers"
    " UNION ALL SELECT debit_account, -amount_picousd FROM transfers) m"
    " WHERE account LIKE 'agent:%' GROUP BY account)"
)
_SIGNED = (
    "CASE 'agent:' || t.agent_id WHEN t.credit_account THEN t.amount_picousd"
    " WHEN t.debit_account THEN -t.amount_picousd ELSE 0 END"
)
_MOVED = (
    f"(SELECT t.agent_id, SUM({_SIGNED}) AS total FROM transfers t"
    " WHERE t.id >= :since AND t.agent_id IS NOT NULL GROUP BY t.agent_id)"
)
_BEFORE = (
    "(SELECT b.balance_after_picousd FROM transfers b WHERE b.agent_id = m.agent_id AND b.id < :since"
    " AND b.balance_after_picousd IS NOT NULL ORDER BY b.id DESC LIMIT 1)"
)
_WHOLE = f"(SELECT SUM({_SIGNED}) FROM transfers t WHERE t.agent_id = m.agent_id)"
_KNOWN = "({account} LIKE 'agent:%' OR {account} LIKE 'house:%' OR {account} LIKE 'external:%')"
# Outcomes below the bound of the retention may be gone. It is read in the same snapshot as they are.
_KEPT = (
    "(SELECT CASE WHEN :since > k.bound THEN :since ELSE k.bound END FROM"
    " (SELECT COALESCE((SELECT value FROM house_state WHERE name = 'outcomes_from'), '') AS bound) k)"
)
_ENDED = "EXISTS (SELECT 1 FROM routing_outcomes o WHERE o.inference_id = {id})"
_ACCEPTED = "EXISTS (SELECT 1 FROM inferences i WHERE i.id = {id})"
_DEBITS = "(SELECT COUNT(*) FROM transfers t WHERE t.inference_id = o.inference_id AND t.kind = 'debit')"
_EVENTS = (
    "(SELECT {inference_id} AS inference_id, COUNT(*) AS times FROM audit_events"
    f" WHERE id >= :since_events AND event_type IN ({_TERMINAL}) GROUP BY 1)"
)

_OF_CALLS = {
    "call_without_outcome": "SELECT COUNT(*) FROM inferences c WHERE c.id >= {kept}"
    f" AND NOT {_ENDED.format(id='c.id')} AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.inference_id = c.id)",
    "outcome_without_call": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= {kept}"
    f" AND o.outcome_status NOT LIKE 'rejected%' AND NOT {_ACCEPTED.format(id='o.inference_id')}",
    "outcome_without_one_debit": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= {kept}"
    f" AND {_ACCEPTED.format(id='o.inference_id')} AND {_DEBITS} <> 1",
    "debit_unlike_outcome": "SELECT COUNT(*) FROM transfers t"
    " LEFT JOIN routing_outcomes o ON o.inference_id = t.inference_id"
    " WHERE t.kind = 'debit' AND t.inference_id >= {kept}"
    " AND (o.inference_id IS NULL OR o.cost_picousd <> t.amount_picousd)",
    "refusal_with_debit": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= {kept}"
    f" AND o.outcome_status LIKE 'rejected%' AND {_DEBITS} > 0",
    "outcome_without_one_terminal_event": "SELECT COUNT(*) FROM routing_outcomes o"
    f" LEFT JOIN {_EVENTS} e ON e.inference_id = o.inference_id"
    " WHERE o.inference_id >= {kept} AND COALESCE(e.times, 0) <> 1",
    "terminal_event_without_outcome": f"SELECT COUNT(*) FROM {_EVENTS} e"
    f" WHERE e.inference_id >= {{kept}} AND NOT {_ENDED.format(id='e.inference_id')}",
    "attempt_without_call": "SELECT COUNT(*) FROM attempts a WHERE a.inference_id >= {kept}"
    f" AND NOT {_ACCEPTED.format(id='a.inference_id')}",
    "attempts_unlike_outcome": "SELECT COUNT(*) FROM routing_outcomes o WHERE o.inference_id >= {kept}"
    " AND o.attempts <> (SELECT COUNT(*) FROM attempts a WHERE a.inference_id = o.inference_id)",
    "hold_without_call": f"SELECT COUNT(*) FROM holds h WHERE NOT {_ACCEPTED.format(id='h.inference_id')}",
    "hold_of_ended_call": f"SELECT COUNT(*) FROM holds h WHERE {_ENDED.format(id='h.inference_id')}",
    "transfer_unbalanced": "SELECT COUNT(*) FROM transfers t WHERE t.id >= :since"
    " AND (t.amount_picousd < 0 OR t.debit_account = t.credit_account"
    f" OR NOT {_KNOWN.format(account='t.debit_account')} OR NOT {_KNOWN.format(account='t.credit_account')}"
    " OR t.agent_id IS NOT NULL"
    " AND 'agent:' || t.agent_id <> t.debit_account AND 'agent:' || t.agent_id <> t.credit_account)",
    "wallet_negative": "SELECT COUNT(*) FROM wallets w"
    " WHERE w.balance_picousd < 0 OR w.held_picousd < 0 OR w.held_picousd > w.balance_picousd",
    "held_unlike_holds": "SELECT COUNT(*) FROM wallets w LEFT JOIN"
    " (SELECT agent_id, SUM(amount_picousd) AS total FROM holds GROUP BY agent_id) h ON h.agent_id = w.agent_id"
    " WHERE w.held_picousd <> COALESCE(h.total, 0)",
}
_WHOLE_ACCOUNTS = {
    "wallet_unlike_transfers": f"SELECT COUNT(*) FROM wallets w LEFT JOIN {_MOVES} b"
    " ON b.account = 'agent:' || w.agent_id WHERE w.balance_picousd <> COALESCE(b.total, 0)",
    "account_without_wallet": f"SELECT COUNT(*) FROM {_MOVES} b"
    " WHERE NOT EXISTS (SELECT 1 FROM wallets w WHERE 'agent:' || w.agent_id = b.account)",
}
# An account that moved must stand where its last balance before the window and its moves since lead. Ids of several
# nodes may cross at the window's edge, so only the sum over all of its transfers makes a mismatch a violation; the
# CASE keeps that sum from being made for anybody else.
_MOVED_ACCOUNTS = {
    "wallet_unlike_transfers": f"SELECT COUNT(*) FROM {_MOVED} m JOIN wallets w ON w.agent_id = m.agent_id"
    f" WHERE CASE WHEN w.balance_picousd = m.total + COALESCE({_BEFORE}, 0) THEN 0"
    f" WHEN w.balance_picousd = {_WHOLE} THEN 0 ELSE 1 END = 1",
    "account_without_wallet": f"SELECT COUNT(*) FROM {_MOVED} m"
    " WHERE NOT EXISTS (SELECT 1 FROM wallets w WHERE w.agent_id = m.agent_id)",
}
_SKEW_US = 60_000_000


def check(conn: Connection, *, since_us: int | None = None) -> LawReport:
    """Count the violations of every law. Reads only.

    ``since_us`` (microseconds since the epoch) bounds the cost by the window: calls accepted and transfers made before
    it are left out, and so are accounts that have not moved since. None looks at everything that is stored.
    """
    sqlite = conn.dialect.name == "sqlite"
    inference_id = "json_extract(payload, '$.inference_id')" if sqlite else "(CAST(payload AS json) ->> 'inference_id')"
    laws = _OF_CALLS | (_WHOLE_ACCOUNTS if since_us is None else _MOVED_ACCOUNTS)
    marks = {"{inference_id}": inference_id, "{kept}": _KEPT}
    for mark, sql in marks.items():
        laws = {name: law.replace(mark, sql) for name, law in laws.items()}
    counts = ", ".join(f"({sql}) AS {name}" for name, sql in laws.items())
    bounds = {
        "since": "" if since_us is None else earliest_id(since_us),
        # The process that ended a call may have an earlier clock than the one that accepted it.
        "since_events": "" if since_us is None else earliest_id(since_us - _SKEW_US),
    }
    row = conn.execute(text(f"SELECT {counts}"), bounds).one()
    return LawReport(**row._mapping)  # noqa: SLF001 - the documented way to a row's names
