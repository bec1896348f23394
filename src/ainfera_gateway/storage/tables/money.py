"""Wallets, transfers, holds, and what a day has cost. A row of ``transfers`` is balanced by itself."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, text

from ainfera_gateway.storage.tables.columns import big_column, id_column, metadata, text_column

wallets = Table(
    "wallets",
    metadata,
    id_column("agent_id"),
    text_column("tenant_id"),
    big_column("balance_picousd"),
    big_column("held_picousd"),
    text_column("day"),
    big_column("day_spent_picousd"),
    text_column("month"),
    big_column("month_spent_picousd"),
    big_column("calls"),
    # A token bucket for calls, in thousandths of a call; a wallet that was never called is as full as can be.
    Column("rate_left_milli", BigInteger, nullable=False, server_default="0"),
    Column("rate_us", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("balance_picousd >= 0", name="balance"),
    CheckConstraint("held_picousd >= 0 AND held_picousd <= balance_picousd", name="held"),
)

transfers = Table(
    "transfers",
    metadata,
    id_column(),
    text_column("agent_id", null=True),
    text_column("inference_id", null=True),
    text_column("debit_account"),
    text_column("credit_account"),
    big_column("amount_picousd"),
    text_column("kind"),
    text_column("memo", null=True),
    big_column("balance_after_picousd", null=True),
    big_column("created_us"),
    CheckConstraint("amount_picousd >= 0", name="amount"),
    CheckConstraint("debit_account <> credit_account", name="accounts"),
    Index(None, "agent_id", "id"),
    Index(
        "uq_transfers_agent_debit",
        "inference_id",
        unique=True,
        sqlite_where=text("kind = 'debit'"),
        postgresql_where=text("kind = 'debit'"),
    ),
)

holds = Table(
    "holds",
    metadata,
    id_column("inference_id"),
    text_column("agent_id"),
    text_column("tenant_id"),
    big_column("amount_picousd"),
    text_column("attempt_id"),
    Column("ordinal", Integer, nullable=False),
    text_column("provider"),
    text_column("model"),
    text_column("owner"),
    text_column("idempotency_hash", null=True),
    big_column("created_us"),
    CheckConstraint("amount_picousd >= 0", name="amount"),
)

day_spend = Table(
    "day_spend",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    big_column("spent_picousd"),
    Index(None, "day"),
)
"""What agents paid on a UTC day, a row for each process that settled: nobody waits for another's row."""
