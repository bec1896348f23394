"""Tags in SQL: a call's tags are one JSON array of text, opened by the engine's own function."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, TableValuedAlias, cast, exists, func, select
from sqlalchemy.engine import Connection


def opened_tags(connection: Connection, column: ColumnElement[Any]) -> TableValuedAlias:
    """One row a tag, in its column ``value``; none where the column is null."""
    if connection.dialect.name == "sqlite":
        return func.json_each(column).table_valued("value")
    return func.json_array_elements_text(cast(column, JSON)).table_valued("value")


def has_tag(connection: Connection, column: ColumnElement[Any], tag: str) -> ColumnElement[bool]:
    """Whether ``tag`` is one of the call's."""
    opened = opened_tags(connection, column)
    return exists(select(opened.c.value).where(opened.c.value == tag))
