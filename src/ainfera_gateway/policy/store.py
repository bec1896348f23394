"""The newest verdict of each brand, read from the append-only table."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ainfera_gateway.policy.verdicts import Verdict, newest, verdict_of_row
from ainfera_gateway.storage.tables import brand_verdicts


def load_verdicts(connection: Connection) -> dict[str, Verdict]:
    """Brand to its newest verdict."""
    rows = connection.execute(select(brand_verdicts)).mappings()
    return newest(verdict_of_row(dict(row)) for row in rows)
