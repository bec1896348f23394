"""One past for all databases: what the first 0001 lacked, and the source tag's one name

Databases of the first release were made by a revision 0001 to which columns, a table and indexes were added later.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COUNTS = ("cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "web_searches")


def upgrade() -> None:
    tables = set(sa.inspect(op.get_bind()).get_table_names())
    if "routing_policies" not in tables:
        _add_what_the_first_lacked()
    op.execute("UPDATE models SET aa_index_source = 'routing_backend_v1_lock' WHERE aa_index_source = 'aamc_v1_lock'")


def _add_what_the_first_lacked() -> None:
    for name in _COUNTS:
        op.add_column("routing_outcomes", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("ix_routing_outcomes_agent_id_inference_id", table_name="routing_outcomes")
    for owner in ("agent_id", "tenant_id"):
        op.create_index(
            op.f(f"ix_routing_outcomes_{owner}_created_us_inference_id"),
            "routing_outcomes",
            [owner, "created_us", "inference_id"],
        )
    op.drop_index("ix_agents_tenant_id", table_name="agents")
    op.create_index(op.f("ix_agents_tenant_id_id"), "agents", ["tenant_id", "id"])
    op.add_column("models", sa.Column("wire", sa.Text(), nullable=True))
    op.create_table(
        "routing_policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_policies")),
        sa.UniqueConstraint("tenant_id", "version", name=op.f("uq_routing_policies_tenant_id_version")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER routing_policies_no_{verb.lower()} BEFORE {verb} ON routing_policies "
                "BEGIN SELECT RAISE(ABORT, 'routing_policies is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER routing_policies_append_only BEFORE UPDATE OR DELETE ON routing_policies "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER routing_policies_no_truncate BEFORE TRUNCATE ON routing_policies "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Migrations go forward only."""
    raise RuntimeError("migrations go forward only; restore the backup instead")
