"""The chains of events, their positions in the log, and the log's tree."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, UniqueConstraint, text

from ainfera_gateway.storage.tables.columns import big_column, id_column, metadata, text_column

audit_events = Table(
    "audit_events",
    metadata,
    id_column(),
    text_column("agent_id"),
    big_column("seq"),
    text_column("event_type"),
    text_column("payload"),
    text_column("previous_hash", null=True),
    text_column("event_hash"),
    text_column("verifier_hash"),
    big_column("created_us"),
    UniqueConstraint("agent_id", "seq"),
)

chain_heads = Table(
    "chain_heads",
    metadata,
    id_column("agent_id"),
    big_column("seq"),
    text_column("event_hash"),
    text_column("verifier_hash"),
    big_column("positioned_seq"),
    Index(
        "ix_chain_heads_unpositioned",
        "agent_id",
        sqlite_where=text("positioned_seq < seq"),
        postgresql_where=text("positioned_seq < seq"),
    ),
)

log_positions = Table(
    "log_positions",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    text_column("agent_id"),
    big_column("seq"),
    text_column("event_type"),
    text_column("event_hash"),
    big_column("created_us"),
    UniqueConstraint("agent_id", "seq"),
)

log_nodes = Table(
    "log_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    text_column("hash"),
)
"""Hashes of the log's complete subtrees at each eighth level above the leaves, which follow from ``log_positions``."""

log_checkpoints = Table(
    "log_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    text_column("root"),
    text_column("note"),
    big_column("created_us"),
)
