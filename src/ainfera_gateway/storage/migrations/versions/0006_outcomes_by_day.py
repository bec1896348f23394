"""Outcomes in one partition a UTC day on PostgreSQL, and rows below a recorded bound may go, on both engines

What stood before becomes one partition as it is: nothing is copied. A row of a time that no partition was made for
stands in ``routing_outcomes_other``.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLE = "routing_outcomes"
_BEFORE = "routing_outcomes_before"
_INDEXES = (
    "ix_routing_outcomes_tenant_id_created_us_inference_id",
    "ix_routing_outcomes_agent_id_created_us_inference_id",
)
_EXPIRED = "OLD.inference_id < COALESCE((SELECT value FROM house_state WHERE name = 'outcomes_from'), '')"
_REFUSE = f"""
CREATE FUNCTION refuse_change_of_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'DELETE' THEN
        IF {_EXPIRED} THEN RETURN OLD; END IF;
    END IF;
    RAISE EXCEPTION 'routing_outcomes is append-only';
END $$
"""
# The same rows as before, looked up by the one call that is read instead of through a list of all of a tenant's.
_OF_ITS_CALL = {
    table: f"EXISTS (SELECT 1 FROM inferences i WHERE i.id = {table}.inference_id)"
    for table in ("attempts", "settlement_corrections")
}
_OWN = "tenant_id = current_setting('ainfera.tenant', true)"
_PROVED = (
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conname = 'below_bound' AND conrelid = to_regclass(:table)"
)
_REVOKE = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ainfera_tenant') THEN
        REVOKE ALL ON routing_outcomes_before FROM ainfera_tenant;
    END IF;
END $$
"""
_GRANT = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ainfera_tenant') THEN
        GRANT SELECT ON routing_outcomes TO ainfera_tenant;
    END IF;
END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER routing_outcomes_no_delete")
        op.execute(
            f"CREATE TRIGGER routing_outcomes_no_delete BEFORE DELETE ON {_TABLE} WHEN NOT ({_EXPIRED}) "
            f"BEGIN SELECT RAISE(ABORT, '{_TABLE} is append-only'); END"
        )
        return
    op.execute(_REFUSE)
    _set_aside()
    _make_parent()
    for table, condition in _OF_ITS_CALL.items():
        op.execute(f"DROP POLICY of_the_tenant ON {table}")
        _wall(table, condition)
    _wall(_TABLE, _OWN)
    op.execute(_GRANT)


def _set_aside() -> None:
    op.execute(f"ALTER TABLE {_TABLE} RENAME TO {_BEFORE}")
    for name in ("pk_routing_outcomes", *_INDEXES):
        op.execute(f"ALTER INDEX {name} RENAME TO {name.replace(_TABLE, _BEFORE)}")
    op.execute(f"DROP TRIGGER routing_outcomes_append_only ON {_BEFORE}")
    op.execute(f"DROP POLICY of_the_tenant ON {_BEFORE}")
    op.execute(f"ALTER TABLE {_BEFORE} DISABLE ROW LEVEL SECURITY")
    op.execute(_REVOKE)


def _make_parent() -> None:
    op.execute(f"CREATE TABLE {_TABLE} (LIKE {_BEFORE} INCLUDING DEFAULTS) PARTITION BY RANGE (inference_id)")
    op.execute(f"ALTER TABLE {_TABLE} ADD CONSTRAINT pk_routing_outcomes PRIMARY KEY (inference_id)")
    op.create_index(_INDEXES[0], _TABLE, ["tenant_id", "created_us", "inference_id"])
    op.create_index(_INDEXES[1], _TABLE, ["agent_id", "created_us", "inference_id"])
    op.execute(
        f"CREATE TRIGGER routing_outcomes_append_only BEFORE UPDATE OR DELETE ON {_TABLE} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change_of_kept()"
    )
    op.execute(
        f"CREATE TRIGGER routing_outcomes_no_truncate BEFORE TRUNCATE ON {_TABLE} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    _take_in_what_stood_before()
    op.execute(f"CREATE TABLE routing_outcomes_other PARTITION OF {_TABLE} DEFAULT")


def _take_in_what_stood_before() -> None:
    """The engine had the table prove its bound beforehand, so that no row is read under the lock."""
    bind = op.get_bind()
    proved = bind.execute(sa.text(_PROVED), {"table": _BEFORE}).scalar_one_or_none()
    if proved is not None:
        bound = proved.split("'")[1]
        op.execute(f"ALTER TABLE {_TABLE} ATTACH PARTITION {_BEFORE} FOR VALUES FROM (MINVALUE) TO ('{bound}')")
        op.execute(f"ALTER TABLE {_BEFORE} DROP CONSTRAINT below_bound")
    elif bind.execute(sa.text(f"SELECT 1 FROM {_BEFORE} LIMIT 1")).first() is None:
        op.execute(f"DROP TABLE {_BEFORE}")
    else:
        raise RuntimeError("a gateway made its first call meanwhile: migrate again")


def _wall(table: str, condition: str) -> None:
    op.execute(
        f"CREATE POLICY of_the_tenant ON {table} USING (CURRENT_USER <> 'ainfera_tenant' OR {condition})"
        " WITH CHECK (CURRENT_USER <> 'ainfera_tenant')"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    """Migrations go forward only."""
    raise RuntimeError("migrations go forward only; restore the backup instead")
