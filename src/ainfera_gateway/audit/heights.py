"""How high the chains are, for the gauges."""

from __future__ import annotations

from sqlalchemy import Engine, func, select

from ainfera_gateway.storage.tables import audit_events, chain_heads


def chain_figures(reader: Engine) -> tuple[int, int | None]:
    """Events of all chains, and when the newest was written (microseconds since the epoch)."""
    with reader.connect() as connection:
        height = connection.execute(select(func.coalesce(func.sum(chain_heads.c.seq + 1), 0))).scalar_one()
        newest = connection.execute(
            select(audit_events.c.created_us).order_by(audit_events.c.id.desc()).limit(1)
        ).scalar_one_or_none()
    return int(height), None if newest is None else int(newest)
