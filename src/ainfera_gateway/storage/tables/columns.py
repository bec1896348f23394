"""The metadata that every table stands in, and the columns that most of them have."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text_column(name: str, *, null: bool = False) -> Column[str]:
    """A text, also for decimals, JSON and lists."""
    return Column(name, Text, nullable=null)


def big_column(name: str, *, null: bool = False) -> Column[int]:
    """An integer of 64 bits: money in pico-USD, a moment in microseconds, a count."""
    return Column(name, BigInteger, nullable=null)


def id_column(name: str = "id") -> Column[str]:
    """The primary key of a table whose rows have a name or an id."""
    return Column(name, Text, primary_key=True)
