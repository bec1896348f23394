"""What holds for all processes of one database."""

from __future__ import annotations

from sqlalchemy import Index, Table

from ainfera_gateway.storage.tables.columns import big_column, id_column, metadata, text_column

settings_changes = Table(
    "settings_changes",
    metadata,
    id_column(),
    text_column("name"),
    text_column("value"),
    text_column("changed_by"),
    big_column("created_us"),
    Index(None, "name", "id"),
)

house_state = Table(
    "house_state",
    metadata,
    id_column("name"),
    text_column("value"),
    big_column("changed_us"),
)
"""What holds now for all processes of one database; ``settings_changes`` is its record."""

worker_leases = Table(
    "worker_leases",
    metadata,
    id_column("owner"),
    big_column("seen_us"),
)
"""Processes that serve, and when the database last heard of each, by the database's own clock."""
