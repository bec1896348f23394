"""Reads what a gateway has stored, past the gateway, from whichever database it was told to use."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

Stored = Path | str
"""An SQLite file, or the URL of a PostgreSQL database."""


class StoredReader:
    """One connection; ``execute`` takes ``?`` for values on either engine and answers with a cursor."""

    def __init__(self, stored: Stored) -> None:
        self._connection: Any
        if isinstance(stored, Path):
            self._connection = sqlite3.connect(f"file:{stored}?mode=ro", uri=True, timeout=10)
            self._marks = "?"
        else:
            self._connection = psycopg.connect(stored, autocommit=True)
            self._marks = "%s"

    def execute(self, sql: str, values: Any = ()) -> Any:
        if values and self._marks != "?":
            sql = sql.replace("%", "%%").replace("?", self._marks)
        return (
            self._connection.execute(sql, values or None)
            if self._marks != "?"
            else self._connection.execute(sql, values)
        )

    def close(self) -> None:
        self._connection.close()


def rows(stored: Stored, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with contextlib.closing(StoredReader(stored)) as reader:
        return [tuple(row) for row in reader.execute(sql, values)]


def named_rows(stored: Stored, sql: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of a query by column."""
    with contextlib.closing(StoredReader(stored)) as reader:
        cursor = reader.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


@contextlib.contextmanager
def stored_engine(stored: Stored) -> Iterator[Engine]:
    """An engine for what the house itself asks of its database."""
    if isinstance(stored, Path):
        engine = create_engine(f"sqlite:///file:{stored}?mode=ro&uri=true", poolclass=NullPool)
    else:
        engine = create_engine(stored.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()
