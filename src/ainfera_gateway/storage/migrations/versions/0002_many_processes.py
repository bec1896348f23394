"""What several processes on one database share: the day's spend, the switches, leases, and each wallet's rate

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "house_state",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_house_state")),
    )
    op.create_table(
        "day_spend",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("spent_picousd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "day", name=op.f("pk_day_spend")),
    )
    op.create_index(op.f("ix_day_spend_day"), "day_spend", ["day"], unique=False)
    op.create_table(
        "worker_leases",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_worker_leases")),
    )
    # Constant defaults: neither engine rewrites the table for them.
    for name in ("rate_left_milli", "rate_us"):
        op.add_column("wallets", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    # What the newest rows of the record say holds from now on here.
    op.execute(
        "INSERT INTO house_state (name, value, changed_us)"
        " SELECT s.name, s.value, s.created_us FROM settings_changes s"
        " WHERE s.id = (SELECT MAX(n.id) FROM settings_changes n WHERE n.name = s.name)"
    )
    today = datetime.now(UTC).date().isoformat()
    op.execute(
        sa.text(
            "INSERT INTO day_spend (owner, day, spent_picousd)"
            " SELECT 'before', :day, COALESCE(SUM(day_spent_picousd), 0) FROM wallets WHERE day = :day"
        ).bindparams(day=today)
    )


def downgrade() -> None:
    """Migrations go forward only."""
    raise RuntimeError("migrations go forward only; restore the backup instead")
