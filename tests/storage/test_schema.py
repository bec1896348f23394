"""The schema on both engines: made by migrations alone, equal to the tables, and holding its invariants itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from ainfera_gateway.storage import engine as engine_module
from ainfera_gateway.storage.engine import (
    Database,
    SchemaError,
    current_revision,
    head_revision,
    migrate,
    require_head,
)
from ainfera_gateway.storage.partitions import is_partition
from ainfera_gateway.storage.tables import APPEND_ONLY, metadata
from tests.storage.conftest import COMPARED, Store

SAMPLES = {
    "transfers": "(id, debit_account, credit_account, amount_picousd, kind, created_us)"
    " VALUES ('x', 'house:grants', 'external:topup', 1, 'grant', 1)",
    "inferences": "(id, receipt_id, tenant_id, agent_id, trace_id, span_id, dialect, streamed, requested_model,"
    " decision, decision_hash, request_hash, hash_salt, projected_picousd, created_us)"
    " VALUES ('x', 'r', 't', 'a', 't', 's', 'd', 0, 'm', '{}', 'h', 'h', 's', 1, 1)",
    "attempts": "(id, inference_id, ordinal, provider, model, outcome, latency_us, input_tokens, output_tokens,"
    " cost_picousd, usage_source, created_us) VALUES ('x', 'i', 0, 'p', 'm', 'ok', 1, 1, 1, 1, 'provider', 1)",
    "routing_outcomes": "(inference_id, agent_id, tenant_id, trace_id, dialect, policy_name, policy_semver,"
    " ruleset_hash, decision_rule, decision_type, decision, verdict_versions, propensity, projected_picousd,"
    " cost_picousd, latency_us, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,"
    " reasoning_tokens, attempts, outcome_status, usage_source, created_us)"
    " VALUES ('x', 'a', 't', 't', 'd', 'p', '1', 'h', 'r', 'd', '{}', '{}', '1', 1, 1, 1, 1, 1, 0, 0, 0, 1,"
    " 'succeeded', 'provider', 1)",
    "settlement_corrections": "(id, inference_id, kind, amount_picousd, reason, created_us)"
    " VALUES ('x', 'i', 'k', 1, 'r', 1)",
    "audit_events": "(id, agent_id, seq, event_type, payload, event_hash, verifier_hash, created_us)"
    " VALUES ('x', 'a', 0, 't', '{}', 'h', 'v', 1)",
    "log_positions": "(position, agent_id, seq, event_type, event_hash, created_us) VALUES (0, 'a', 0, 't', 'h', 1)",
    "log_nodes": "(level, place, hash) VALUES (8, 0, 'h')",
    "log_checkpoints": "(size, root, note, created_us) VALUES (1, 'r', 'n', 1)",
    "brand_verdicts": "(id, brand, verdict, decided_by, decided_at_us, version) VALUES ('x', 'b', 'PASS', 'd', 1, 1)",
    "model_prices": "(id, model_slug, price_class, picousd_per_token, source, valid_from_us)"
    " VALUES ('x', 'm', 'input', 1, 's', 1)",
    "routing_policies": "(id, tenant_id, version, document, created_us, created_by) VALUES ('x', 't', 1, '{}', 1, 'k')",
    "settings_changes": "(id, name, value, changed_by, created_us) VALUES ('x', 'n', 'v', 'c', 1)",
}


def test_migrations_make_the_whole_schema_from_nothing(empty_database: Database) -> None:
    assert current_revision(empty_database) is None
    with pytest.raises(SchemaError, match="db migrate"):
        require_head(empty_database)
    assert migrate(empty_database) == head_revision()
    require_head(empty_database)
    assert migrate(empty_database) == head_revision()
    with empty_database.migration_engine().connect() as conn:
        assert {name for name in inspect(conn).get_table_names() if not is_partition(name)} == {
            *metadata.tables,
            "alembic_version",
        }


def test_the_tables_equal_what_migrations_made(store: Store) -> None:
    with store.database.migration_engine().connect() as conn:
        context = MigrationContext.configure(conn, opts=COMPARED)
        assert compare_metadata(context, metadata) == []
        # Autogeneration does not look at CHECK constraints and partial indexes' conditions: compare them here.
        inspector = inspect(conn)
        for table in metadata.tables.values():
            stored = {check["name"]: check["sqltext"] for check in inspector.get_check_constraints(table.name)}
            wanted = {str(c.name): str(c.sqltext) for c in table.constraints if isinstance(c, CheckConstraint)}
            assert set(stored) == set(wanted), table.name
            # PostgreSQL keeps a parsed form, SQLite the text itself.
            assert stored == wanted or not store.database.is_sqlite
    predicates = _index_predicates(store)
    assert "positioned_seq < seq" in predicates["ix_chain_heads_unpositioned"]
    assert "debit" in predicates["uq_transfers_agent_debit"]


def _index_predicates(store: Store) -> dict[str, str]:
    if store.database.is_sqlite:
        return dict(store.rows("SELECT name, COALESCE(sql, '') FROM sqlite_master WHERE type = 'index'"))
    return dict(store.rows("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))


def test_append_only_tables_and_no_others_have_triggers(store: Store) -> None:
    if store.database.is_sqlite:
        guarded = store.rows("SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'")
    else:
        guarded = store.rows("SELECT event_object_table FROM information_schema.triggers")
        guarded = [(name,) for (name,) in guarded if not is_partition(name)]
    assert sorted(name for (name,) in guarded) == sorted([*APPEND_ONLY, *APPEND_ONLY])
    assert sorted(SAMPLES) == sorted(APPEND_ONLY)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_append_only_tables_refuse_change(store: Store, table: str, verb: str) -> None:
    column = next(iter(metadata.tables[table].primary_key.columns)).name
    with store.tampering() as conn:
        conn.exec_driver_sql(f"INSERT INTO {table} {SAMPLES[table]}")
    change = f"UPDATE {table} SET {column} = {column}" if verb == "UPDATE" else f"DELETE FROM {table}"
    with pytest.raises(DBAPIError, match=f"{table} is append-only"), store.tampering() as conn:
        conn.exec_driver_sql(change)
    assert store.value(f"SELECT COUNT(*) FROM {table}") == 1


@pytest.mark.parametrize("engine_name", ["postgres"], indirect=True)
def test_append_only_tables_cannot_be_emptied_at_once(store: Store) -> None:
    for table in APPEND_ONLY:
        with pytest.raises(DBAPIError, match=f"{table} is append-only"), store.tampering() as conn:
            conn.exec_driver_sql(f"TRUNCATE {table}")


@pytest.mark.parametrize(
    ("balance", "held", "good"),
    [(0, 0, True), (5, 5, True), (-1, 0, False), (5, 6, False), (5, -1, False), (-5, -5, False)],
)
def test_no_balance_below_zero_or_below_what_is_held(store: Store, balance: int, held: int, good: bool) -> None:
    statement = text("INSERT INTO wallets VALUES ('a', 't', :balance, :held, '2026-01-01', 0, '2026-01', 0, 0, 0, 0)")
    if good:
        with store.tampering() as conn:
            conn.execute(statement, {"balance": balance, "held": held})
        return
    with pytest.raises(IntegrityError), store.tampering() as conn:
        conn.execute(statement, {"balance": balance, "held": held})


@pytest.mark.parametrize(
    "table_and_twin",
    [
        ("audit_events", SAMPLES["audit_events"].replace("'x'", "'y'")),
        ("log_positions", SAMPLES["log_positions"].replace("VALUES (0", "VALUES (1")),
        ("routing_outcomes", SAMPLES["routing_outcomes"]),
        ("attempts", SAMPLES["attempts"].replace("'x'", "'y'")),
        ("inferences", SAMPLES["inferences"].replace("'x'", "'y'")),
        ("brand_verdicts", SAMPLES["brand_verdicts"].replace("'x'", "'y'")),
        ("routing_policies", SAMPLES["routing_policies"].replace("'x'", "'y'")),
    ],
    ids=lambda pair: pair[0],
)
def test_what_is_unique_stays_unique(store: Store, table_and_twin: tuple[str, str]) -> None:
    table, twin = table_and_twin
    with store.tampering() as conn:
        conn.exec_driver_sql(f"INSERT INTO {table} {SAMPLES[table]}")
    with pytest.raises(IntegrityError), store.tampering() as conn:
        conn.exec_driver_sql(f"INSERT INTO {table} {twin}")


def test_one_agent_debit_a_call_any_number_of_others(store: Store) -> None:
    statement = text(
        "INSERT INTO transfers (id, inference_id, debit_account, credit_account, amount_picousd, kind, created_us)"
        " VALUES (:id, 'i', 'a', 'b', 1, :kind, 1)"
    )
    with store.tampering() as conn:
        for number, kind in enumerate(["debit", "failed_attempts", "failed_attempts"]):
            conn.execute(statement, {"id": str(number), "kind": kind})
    with pytest.raises(IntegrityError), store.tampering() as conn:
        conn.execute(statement, {"id": "9", "kind": "debit"})


def test_a_transfer_needs_two_accounts_and_no_negative_amount(store: Store) -> None:
    for bad in ("'a', 'a', 1", "'a', 'b', -1"):
        with pytest.raises(IntegrityError), store.tampering() as conn:
            conn.exec_driver_sql(
                "INSERT INTO transfers (id, debit_account, credit_account, amount_picousd, kind, created_us)"
                f" VALUES ('x', {bad}, 'grant', 1)"
            )


def test_the_schema_of_a_newer_version_is_refused(store: Store) -> None:
    with store.tampering() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for act in (migrate, require_head):
        with pytest.raises(SchemaError, match=r"9999.*upgrade the gateway"):
            act(store.database)
    assert current_revision(store.database) == "9999"


def _older(store: Store, monkeypatch: pytest.MonkeyPatch, upgrade: object) -> None:
    """Make the packaged head look one step newer than the stored schema; ``upgrade`` is that step."""
    real_head, real_upgrade = engine_module.head_revision, engine_module._upgrade

    def stepped(connection: object) -> None:
        real_upgrade(connection)
        upgrade(connection)

    monkeypatch.setattr(engine_module, "head_revision", lambda: real_head() + "+1")
    monkeypatch.setattr(engine_module, "_upgrade", stepped)


def test_a_migration_that_fails_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE half_made (id TEXT)")
        raise RuntimeError("power cut")

    _older(store, monkeypatch, half)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(store.database)
    with store.database.migration_engine().connect() as conn:
        assert "half_made" not in inspect(conn).get_table_names()


def test_sqlite_data_is_copied_before_it_is_migrated(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ainfera.db"
    migrate(Database(f"sqlite:///{path}"))
    assert not list(tmp_path.glob("*.backup")), "an empty database needs no backup"
    # The row stands in the write-ahead log only: a copy of the file alone would lose it.
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute(f"INSERT INTO settings_changes {SAMPLES['settings_changes']}")
    writer.commit()
    _older(Store(Database(f"sqlite:///{path}")), monkeypatch, lambda _: None)
    migrate(Database(f"sqlite:///{path}"))
    writer.close()
    copy = tmp_path / f"ainfera.db.before-{current_revision(Database(f'sqlite:///{path}'))}.backup"
    restored = sqlite3.connect(copy)
    assert restored.execute("SELECT id FROM settings_changes").fetchall() == [("x",)]
    assert restored.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    restored.close()
