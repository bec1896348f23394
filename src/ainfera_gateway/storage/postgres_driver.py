"""The same groups on PostgreSQL through asyncpg: rows locked in sorted order, one transaction, one commit.

A round trip costs more here than the rows do, so all writes of a group travel as one statement over arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg

from ainfera_gateway.errors import LedgerLocked
from ainfera_gateway.storage.engine import Database
from ainfera_gateway.storage.page import (
    HeadRow,
    HoldRow,
    IdempotencyRow,
    Keys,
    Page,
    Sealer,
    Unit,
    WalletRow,
    merged,
)
from ainfera_gateway.storage.plan import Batch, plan
from ainfera_gateway.storage.postgres_session import APPLICATION, WRITER, local
from ainfera_gateway.storage.sql import (
    HOLD_COLUMNS,
    IDEMPOTENCY_COLUMNS,
    STOPPED,
    WALLET_COLUMNS,
    Statement,
    as_set,
    statements,
)
from ainfera_gateway.storage.sqlite_driver import Outcome, UnreachableError, apply_all

STYLE = "numeric"
_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 30.0
_GOODBYE_TIMEOUT_S = 2.0
_COMPOSED_MAX = 256
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)


class PostgresDriver:
    """Runs groups on one asyncpg connection, opened anew when it was lost; see ``PostgresDriver.open``."""

    def __init__(
        self, database: Database, connection: Any, sealer: Sealer, now_us: Callable[[], int], owner: str
    ) -> None:
        self._owner = owner
        self._database = database
        self._limits = local(WRITER) if database.is_pooled else ""
        self._connection = connection
        self._sealer = sealer
        self._now_us = now_us
        self._statements = statements(STYLE)
        self._known: dict[tuple[Statement, ...], str] = {}

    @classmethod
    async def open(cls, database: Database, sealer: Sealer, now_us: Callable[[], int], owner: str) -> PostgresDriver:
        """Connect; raises ``OSError`` or ``asyncpg.PostgresError``."""
        return cls(database, await _connect(database), sealer, now_us, owner)

    async def close(self) -> None:
        """Say goodbye to the server; one that does not answer is left without."""
        try:
            await self._connection.close(timeout=_GOODBYE_TIMEOUT_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._connection.terminate()

    async def run(self, units: list[Unit]) -> list[Outcome]:
        """As the SQLite driver's ``run``; ``UnreachableError`` also when the connection is lost on the way.

        Raises ``LedgerLocked`` when somebody else keeps a row locked that is needed; nothing was written then.
        """
        if self._connection.is_closed():
            try:
                self._connection = await _connect(self._database)
            except (OSError, asyncpg.PostgresError) as exc:
                raise UnreachableError(str(exc)) from exc
        try:
            return await self._run(units)
        except Exception as exc:
            if isinstance(exc, _LOST) or self._connection.is_closed():
                self._connection.terminate()
                raise UnreachableError(str(exc), uncertain=True) from exc
            if isinstance(exc, asyncpg.LockNotAvailableError | asyncpg.QueryCanceledError):
                raise LedgerLocked from exc
            raise

    async def _run(self, units: list[Unit]) -> list[Outcome]:
        async with self._connection.transaction():
            if self._limits:
                await self._connection.execute(self._limits)
            page = await self._load(merged(units))
            outcomes = apply_all(units, page)
            for batches in together(plan(page, self._statements, STYLE, self._owner)):
                sql = self._composed(tuple(statement for statement, _ in batches))
                await self._connection.execute(sql, *(column for batch in batches for column in _arguments(*batch)))
        return outcomes

    def _composed(self, statements: tuple[Statement, ...]) -> str:
        sql = self._known.get(statements)
        if sql is None:
            sql = self._known[statements] = compose(statements)
            if len(self._known) > _COMPOSED_MAX:
                self._known.clear()
        return sql

    async def _load(self, keys: Keys) -> Page:
        page = Page(now_us=self._now_us(), sealer=self._sealer)
        fetch = self._connection.fetch
        if keys.agents:
            agents = list(keys.agents)
            # The columns are this package's own; the values are bound.
            for row in await fetch(
                f"SELECT {WALLET_COLUMNS}, {STOPPED} FROM wallets w JOIN agents a ON a.id = w.agent_id"  # noqa: S608
                " WHERE w.agent_id = ANY($1) ORDER BY w.agent_id FOR UPDATE OF w",
                agents,
            ):
                page.wallets[row[0]] = WalletRow(*row[:-1])
                page.stopped = None if row[-1] is None else row[-1] == "engaged"
            for row in await fetch(
                "SELECT agent_id, seq, event_hash, verifier_hash FROM chain_heads"
                " WHERE agent_id = ANY($1) ORDER BY agent_id FOR UPDATE",
                agents,
            ):
                page.heads[row[0]] = HeadRow(row[0], row[1], row[2], row[3], fresh=False)
        if keys.holds:
            for row in await fetch(
                f"SELECT {HOLD_COLUMNS} FROM holds WHERE inference_id = ANY($1)"  # noqa: S608
                " ORDER BY inference_id FOR UPDATE",
                list(keys.holds),
            ):
                page.holds[row[0]] = HoldRow(*row)
        if keys.idempotency:
            for row in await fetch(
                f"SELECT {IDEMPOTENCY_COLUMNS} FROM idempotency_keys"  # noqa: S608
                " WHERE (agent_id, key_hash) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
                [agent_id for agent_id, _ in keys.idempotency],
                [key_hash for _, key_hash in keys.idempotency],
            ):
                page.idempotency[(row[0], row[1])] = IdempotencyRow(*row)
        return page


def together(batches: list[Batch]) -> list[list[Batch]]:
    """Batches that may be one statement: parts of one statement do not see each other, so no table comes twice in it.

    Statements of a unit's own stand alone.
    """
    groups: list[list[Batch]] = []
    tables: set[str] = set()
    for batch in batches:
        write = batch[0].write
        if write is None or not groups or not tables or write.table in tables:
            groups.append([])
            tables = set()
        groups[-1].append(batch)
        if write is not None:
            tables.add(write.table)
    return groups


def compose(parts: tuple[Statement, ...]) -> str:
    """One statement of several writes: one round trip instead of one each."""
    if parts[0].write is None:
        return parts[0].sql
    sets, first = [], 1
    for part in parts:
        if part.write is not None:
            sets.append(as_set(part, part.write, first))
        first += len(part.columns)
    if len(sets) == 1:
        return sets[0]
    return "WITH " + ", ".join(f"w{i} AS ({sql})" for i, sql in enumerate(sets[:-1])) + " " + sets[-1]


def _arguments(statement: Statement, rows: list[tuple[Any, ...]]) -> list[Any]:
    return list(rows[0]) if statement.write is None else [list(column) for column in zip(*rows, strict=True)]


async def _connect(database: Database) -> Any:
    session: dict[str, Any] = {"server_settings": {"application_name": APPLICATION}}
    if database.is_pooled:
        # A statement under a name may be unknown on the server that has the next transaction.
        session["statement_cache_size"] = 0
    else:
        session["server_settings"] |= {name: str(ms) for name, ms in WRITER.items()}
    return await asyncpg.connect(
        database.dsn, timeout=_CONNECT_TIMEOUT_S, command_timeout=_COMMAND_TIMEOUT_S, **session
    )
