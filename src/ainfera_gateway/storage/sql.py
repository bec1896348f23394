"""The statements of the recorder, built once from the table definitions for one driver's parameter style."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import Table

from ainfera_gateway.storage.tables import metadata

_NAMED = re.compile(r":([a-z_]+)")
_UPDATED_HEAD = ("seq", "event_hash", "verifier_hash")
_UPDATED_WALLET = (
    "balance_picousd",
    "held_picousd",
    "day",
    "day_spent_picousd",
    "month",
    "month_spent_picousd",
    "calls",
    "rate_left_milli",
    "rate_us",
)
_UPDATED_HOLD = ("amount_picousd", "attempt_id", "ordinal", "provider", "model")

WALLET_COLUMNS = (
    "w.agent_id, w.tenant_id, w.balance_picousd, w.held_picousd, w.day, w.day_spent_picousd, w.month,"
    " w.month_spent_picousd, w.calls, a.status, a.per_call_cap_picousd, a.daily_cap_picousd, a.monthly_cap_picousd,"
    " w.rate_left_milli, w.rate_us"
)
STOPPED = "(SELECT value FROM house_state WHERE name = 'killswitch')"
"""The kill switch by hand, read with the wallets: a change made by any process binds the next transaction."""
HOLD_COLUMNS = (
    "inference_id, agent_id, tenant_id, amount_picousd, attempt_id, ordinal, provider, model, owner,"
    " idempotency_hash, created_us"
)
IDEMPOTENCY_COLUMNS = "agent_id, key_hash, fingerprint, inference_id, state, answer_sealed, created_us"


@dataclass(frozen=True, slots=True)
class Write:
    """What a statement does to which table, for a driver that writes a whole batch as one set."""

    verb: str
    table: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL in positional style and the order in which a row's values go into it.

    ``of_row`` and ``of_item`` take those values from a dict or from an object; they are made once, in C.
    """

    sql: str
    columns: tuple[str, ...]
    write: Write | None = None
    of_row: Callable[[Any], tuple[Any, ...]] = field(init=False, compare=False, repr=False)
    of_item: Callable[[Any], tuple[Any, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_row", _getter(itemgetter, self.columns))
        object.__setattr__(self, "of_item", _getter(attrgetter, self.columns))


def _getter(make: Callable[..., Callable[[Any], Any]], columns: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if not columns:
        return lambda _: ()
    get = make(*columns)
    # Of a single name both getters give the value itself.
    return get if len(columns) > 1 else lambda source: (get(source),)


def _mark(style: str, position: int) -> str:
    return "?" if style == "qmark" else f"${position}"


def insert(table: Table, style: str) -> Statement:
    """One row into ``table``, every column given."""
    columns = tuple(column.name for column in table.columns)
    marks = ", ".join(_mark(style, i + 1) for i in range(len(columns)))
    # The names come from the table definitions of this package, never from a caller.
    sql = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    return Statement(sql, columns, Write("insert", table.name))


def update(table: str, columns: tuple[str, ...], where: tuple[str, ...], style: str) -> Statement:
    """Set ``columns`` of the rows that match ``where`` exactly."""
    sets = ", ".join(f"{name} = {_mark(style, i + 1)}" for i, name in enumerate(columns))
    conditions = " AND ".join(f"{name} = {_mark(style, len(columns) + i + 1)}" for i, name in enumerate(where))
    sql = f"UPDATE {table} SET {sets} WHERE {conditions}"  # noqa: S608
    return Statement(sql, (*columns, *where), Write("update", table, where))


def delete(table: str, where: tuple[str, ...], style: str) -> Statement:
    """Remove the rows that match ``where`` exactly."""
    conditions = " AND ".join(f"{name} = {_mark(style, i + 1)}" for i, name in enumerate(where))
    return Statement(f"DELETE FROM {table} WHERE {conditions}", where, Write("delete", table, where))  # noqa: S608


def add(table: str, key: tuple[str, ...], amount: str, style: str) -> Statement:
    """Add to ``amount`` of the row with this key, which is made when it is not there."""
    columns = (*key, amount)
    marks = ", ".join(_mark(style, i + 1) for i in range(len(columns)))
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {_adding(table, key, amount)}"  # noqa: S608
    return Statement(sql, columns, Write("add", table, key))


def _adding(table: str, key: tuple[str, ...], amount: str) -> str:
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {amount} = {table}.{amount} + excluded.{amount}"


def as_set(statement: Statement, write: Write, first: int) -> str:
    """The statement over arrays, one a column, numbered from ``first`` on: a batch of any size is one set."""
    table, columns = metadata.tables[write.table], statement.columns
    arrays = ", ".join(f"${first + i}::{table.columns[name].type}[]" for i, name in enumerate(columns))
    names = ", ".join(columns)
    matches = " AND ".join(f"{write.table}.{name} = u.{name}" for name in write.where)
    if write.verb == "add":
        adding = _adding(write.table, write.where, columns[-1])
        return f"INSERT INTO {write.table} ({names}) SELECT * FROM unnest({arrays}) {adding}"  # noqa: S608
    if write.verb == "insert":
        return f"INSERT INTO {write.table} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608
    if write.verb == "update":
        sets = ", ".join(f"{name} = u.{name}" for name in columns if name not in write.where)
        return f"UPDATE {write.table} SET {sets} FROM unnest({arrays}) AS u({names}) WHERE {matches}"  # noqa: S608
    return f"DELETE FROM {write.table} USING unnest({arrays}) AS u({names}) WHERE {matches}"  # noqa: S608


@lru_cache(maxsize=256)
def positional(sql: str, style: str) -> Statement:
    """A statement written with ``:name`` in the driver's positional style."""
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        names.append(match.group(1))
        return _mark(style, len(names))

    return Statement(_NAMED.sub(replace, sql), tuple(names))


@dataclass(frozen=True, slots=True)
class Statements:
    """All fixed statements of one style."""

    inserts: dict[str, Statement]
    wallet: Statement
    head_update: Statement
    head_insert: Statement
    hold_update: Statement
    hold_delete: Statement
    idempotency_update: Statement
    idempotency_delete: Statement
    spend: Statement


def statements(style: str) -> Statements:
    """The statements for ``qmark`` (sqlite3) or ``numeric`` (asyncpg) parameters."""
    tables = metadata.tables
    return Statements(
        inserts={name: insert(table, style) for name, table in tables.items()},
        wallet=update("wallets", _UPDATED_WALLET, ("agent_id",), style),
        head_update=update("chain_heads", _UPDATED_HEAD, ("agent_id",), style),
        head_insert=insert(tables["chain_heads"], style),
        hold_update=update("holds", _UPDATED_HOLD, ("inference_id",), style),
        hold_delete=delete("holds", ("inference_id",), style),
        idempotency_update=update("idempotency_keys", ("state", "answer_sealed"), ("agent_id", "key_hash"), style),
        idempotency_delete=delete("idempotency_keys", ("agent_id", "key_hash"), style),
        spend=add("day_spend", ("owner", "day"), "spent_picousd", style),
    )
