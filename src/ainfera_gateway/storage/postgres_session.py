"""What every session on PostgreSQL is told: who it is, and how long it may wait, work, and hold a transaction open.

Behind a pooler that gives each transaction another server connection (PgBouncer, ``pool_mode = transaction``) nothing
may outlive a transaction: the same limits are set inside each, and no statement is prepared under a name. The address
says so with ``pgbouncer=true``, which only we read.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

POOLED: Final = "pgbouncer"
APPLICATION: Final = "ainfera-gateway"

WRITER: Final = {"lock_timeout": 1_000, "statement_timeout": 10_000, "idle_in_transaction_session_timeout": 10_000}
"""Milliseconds. A wallet that somebody else keeps locked must not stop the calls of all others; one that a frozen
process of ours keeps locked is free again after the last of them."""
READER: Final = {"lock_timeout": 2_000, "statement_timeout": 15_000, "idle_in_transaction_session_timeout": 60_000}
MIGRATION: Final = {"lock_timeout": 5_000}
"""Whoever waits for a table's lock makes all who come after wait too: better to try again in a quiet moment."""


def is_pooled(url: str) -> bool:
    """Whether the address leads to a pooler of transactions."""
    return dict(parse_qsl(urlsplit(url).query)).get(POOLED, "").lower() in {"true", "1", "on", "yes"}


def without_pooled(url: str) -> str:
    """The address as drivers take it."""
    parts = urlsplit(url)
    if POOLED not in parts.query:
        return url
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != POOLED]
    return urlunsplit(parts._replace(query=urlencode(kept, safe="/")))


def startup(limits: dict[str, int]) -> str:
    """The limits as the start of a session takes them (libpq's ``options``)."""
    return " ".join(f"-c {name}={ms}" for name, ms in limits.items())


def local(limits: dict[str, int]) -> str:
    """One statement that sets the limits for this transaction alone."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{ms}', true)" for name, ms in limits.items())
