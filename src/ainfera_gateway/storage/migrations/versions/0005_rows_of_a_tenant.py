"""PostgreSQL shows a tenant's reads that tenant's rows and no others, whatever the statement asks for

Reads for a tenant take the role ``ainfera_tenant`` for their transaction. Who may not make roles goes without it:
the statements' own conditions stay, and the gateway says so at its start.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OWN = "tenant_id = current_setting('ainfera.tenant', true)"
_POLICIES = {
    "tenants": "id = current_setting('ainfera.tenant', true)",
    **dict.fromkeys(
        ("agents", "api_keys", "wallets", "holds", "inferences", "routing_outcomes", "routing_policies"), _OWN
    ),
    **dict.fromkeys(
        ("agent_cards", "transfers", "audit_events", "chain_heads", "idempotency_keys"),
        "agent_id IN (SELECT id FROM agents)",
    ),
    **dict.fromkeys(("attempts", "settlement_corrections"), "inference_id IN (SELECT id FROM inferences)"),
}
_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ainfera_tenant') THEN
        CREATE ROLE ainfera_tenant NOLOGIN;
    END IF;
    GRANT ainfera_tenant TO CURRENT_USER;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN GRANT ainfera_tenant TO CURRENT_USER;
    WHEN insufficient_privilege THEN RAISE WARNING 'the role ainfera_tenant cannot be made or taken here';
END $$
"""
_GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ainfera_tenant') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO ainfera_tenant', current_schema());
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO ainfera_tenant', current_schema());
    END IF;
END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    op.execute(_ROLE)
    op.execute(_GRANTS)
    for table, condition in _POLICIES.items():
        # Whoever has not taken the role works for the house, as owner of the tables or with the owner's grants.
        op.execute(
            f"CREATE POLICY of_the_tenant ON {table} USING (CURRENT_USER <> 'ainfera_tenant' OR {condition})"
            " WITH CHECK (CURRENT_USER <> 'ainfera_tenant')"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    """Migrations go forward only."""
    raise RuntimeError("migrations go forward only; restore the backup instead")
