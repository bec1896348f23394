"""One SQLite connection that runs a group in one durable transaction (WAL, synchronous=FULL, BEGIN IMMEDIATE)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ainfera_gateway.storage.page import (
    HeadRow,
    HoldRow,
    IdempotencyRow,
    Keys,
    Page,
    Refused,
    Sealer,
    Unit,
    WalletRow,
    merged,
)
from ainfera_gateway.storage.plan import plan
from ainfera_gateway.storage.sql import HOLD_COLUMNS, IDEMPOTENCY_COLUMNS, STOPPED, WALLET_COLUMNS, statements

STYLE = "qmark"
Outcome = tuple[Any, BaseException | None]


class UnreachableError(Exception):
    """The engine cannot be written at all now; trying the units one by one would not help.

    ``uncertain`` when the connection was lost on the way: the group may have been committed all the same.
    """

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


def connect(path: str, *, synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection with the settings that durability rests on. May be used by one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


class SqliteDriver:
    """Loads, applies, writes and commits groups of units on one connection."""

    def __init__(
        self, path: str, sealer: Sealer, now_us: Callable[[], int], owner: str, *, synchronous: str = "FULL"
    ) -> None:
        self._owner = owner
        self._connection = connect(path, synchronous=synchronous)
        self._sealer = sealer
        self._now_us = now_us
        self._statements = statements(STYLE)

    def close(self) -> None:
        self._connection.close()

    def run(self, units: list[Unit]) -> list[Outcome]:
        """Commit all units that do not refuse, in one transaction.

        A refusal reaches its own waiter alone. Any other failure raises after a rollback: nothing was written.
        ``UnreachableError`` means that no transaction could be begun.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            raise UnreachableError(str(exc)) from exc
        try:
            page = self._load(merged(units))
            outcomes = apply_all(units, page)
            for statement, rows in plan(page, self._statements, STYLE, self._owner):
                if len(rows) == 1:
                    connection.execute(statement.sql, rows[0])
                else:
                    connection.executemany(statement.sql, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def _load(self, keys: Keys) -> Page:
        page = Page(now_us=self._now_us(), sealer=self._sealer)
        fetch = self._connection.execute
        if keys.agents:
            marks = ", ".join("?" * len(keys.agents))
            # The marks are placeholders; the values are bound.
            for row in fetch(
                f"SELECT {WALLET_COLUMNS}, {STOPPED} FROM wallets w JOIN agents a ON a.id = w.agent_id"  # noqa: S608
                f" WHERE w.agent_id IN ({marks})",
                keys.agents,
            ):
                page.wallets[row[0]] = WalletRow(*row[:-1])
                page.stopped = None if row[-1] is None else row[-1] == "engaged"
            for row in fetch(
                f"SELECT agent_id, seq, event_hash, verifier_hash FROM chain_heads WHERE agent_id IN ({marks})",  # noqa: S608
                keys.agents,
            ):
                page.heads[row[0]] = HeadRow(row[0], row[1], row[2], row[3], fresh=False)
        if keys.holds:
            marks = ", ".join("?" * len(keys.holds))
            for row in fetch(f"SELECT {HOLD_COLUMNS} FROM holds WHERE inference_id IN ({marks})", keys.holds):  # noqa: S608
                page.holds[row[0]] = HoldRow(*row)
        for agent_id, key_hash in keys.idempotency:
            for row in fetch(
                f"SELECT {IDEMPOTENCY_COLUMNS} FROM idempotency_keys WHERE agent_id = ? AND key_hash = ?",  # noqa: S608
                (agent_id, key_hash),
            ):
                page.idempotency[(row[0], row[1])] = IdempotencyRow(*row)
        return page


def apply_all(units: list[Unit], page: Page) -> list[Outcome]:
    """Apply units in arrival order; a ``Refused`` is that unit's own result."""
    outcomes: list[Outcome] = []
    for unit in units:
        try:
            outcomes.append((unit.apply(page), None))
        except Refused as refusal:
            outcomes.append((None, refusal.error))
    return outcomes
