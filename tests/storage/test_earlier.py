"""Databases that earlier versions left behind, with what they held: migrated, they serve on, and nothing is lost.

`earlier/*.json` are the rows and key files that a gateway of that revision wrote: an agent who signed up and made four
calls. `earlier/first_schema.py` is revision 0001 as it was released first; columns were added to it afterwards.
"""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, func, select, text

from ainfera_gateway.audit.keys import load_or_create_keys
from ainfera_gateway.cli.audit_database import fsck_database, verify_in_database
from ainfera_gateway.storage.engine import Database, alembic_config, current_revision, head_revision, migrate
from ainfera_gateway.storage.partitions import is_partition
from ainfera_gateway.storage.tables import APPEND_ONLY, metadata
from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator
from tests.storage.conftest import COMPARED, Store

EARLIER = Path(__file__).parent / "earlier"
RELEASES = sorted(path.stem for path in EARLIER.glob("*.json"))
RENAMED = "0004"
"""The revision that gave the source tag its name."""
MADE_BY_MIGRATIONS = ("day_spend", "house_state")
CHAT = "/v1/chat/completions"


def release(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EARLIER / f"{name}.json").read_text())
    return document


def make_schema(connection: Connection, name: str, revision: str) -> None:
    if name != "first":
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        return
    spec = importlib.util.spec_from_file_location("first_schema", EARLIER / "first_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with Operations.context(MigrationContext.configure(connection)):
        module.upgrade()
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{revision}')")


def fill(connection: Connection, tables: dict[str, list[dict[str, Any]]]) -> None:
    known = MetaData()
    known.reflect(connection)
    for table in known.sorted_tables:
        if stored := tables.get(table.name):
            if table.name in MADE_BY_MIGRATIONS:
                connection.execute(table.delete())
            connection.execute(table.insert(), stored)


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, empty_database: Database) -> tuple[dict[str, Any], Database]:
    """What a release left behind, and the database that holds it, not migrated yet."""
    found = release(request.param)
    with empty_database.migration_engine().begin() as connection:
        make_schema(connection, request.param, found["revision"])
        fill(connection, found["tables"])
        if found["revision"] < RENAMED:
            connection.execute(
                text("UPDATE models SET aa_index_source = 'aamc_v1_lock' WHERE slug IN ('gpt-5-5', 'grok-4')")
            )
    return found, empty_database


@pytest.fixture
def data_dir(left: tuple[dict[str, Any], Database], tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    for name, content in left[0]["files"].items():
        (folder / name).write_bytes(base64.b64decode(content))
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


def test_there_is_one_for_every_earlier_revision() -> None:
    assert {release(name)["revision"] for name in RELEASES} == {f"{n:04d}" for n in range(1, int(head_revision()))}


def test_every_row_is_carried_and_the_schema_is_todays(left: tuple[dict[str, Any], Database]) -> None:
    found, database = left
    assert current_revision(database) == found["revision"]
    assert migrate(database) == head_revision()
    with database.migration_engine().connect() as connection:
        for name, stored in found["tables"].items():
            assert connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one() == len(
                stored
            )
        tags = connection.execute(text("SELECT DISTINCT aa_index_source FROM models")).scalars().all()
        assert tags == ["routing_backend_v1_lock"]
        context = MigrationContext.configure(connection, opts=COMPARED)
        assert compare_metadata(context, metadata) == []
    made = Store(database)
    if database.is_sqlite:
        guarded = made.rows("SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'")
    else:
        guarded = made.rows("SELECT event_object_table FROM information_schema.triggers")
        guarded = [(name,) for (name,) in guarded if not is_partition(name)]
    assert sorted(name for (name,) in guarded) == sorted([*APPEND_ONLY, *APPEND_ONLY])
    made.close()


def test_its_agent_calls_on_with_its_key(
    left: tuple[dict[str, Any], Database],
    data_dir: Path,
    simulator: Simulator,
) -> None:
    found, database = left
    migrate(database)
    environment = provider_environment(simulator.base_url) | {"AINFERA_DATABASE_URL": database.url}
    with GatewayProcess(data_dir, environment) as gateway, gateway.client(found["api_key"]) as client:
        body = {"model": "gpt-5-5", "max_tokens": 40, "messages": [{"role": "user", "content": "and today"}]}
        assert client.post(CHAT, json=body).status_code == 200
        for receipt in found["receipts"]:
            assert client.get(f"/v1/receipts/{receipt}").status_code == 200
        spent = sum(row["cost_picousd"] for row in found["tables"]["routing_outcomes"])
        look = Store(database)
        balance = look.value("SELECT balance_picousd FROM wallets")
        look.close()
        assert balance < 5 * 10**12 - spent, "what it had left, less the new call"
        assert gateway.stop() == 0
    keys = load_or_create_keys(data_dir)
    assert verify_in_database(database, found["agent_id"]).valid
    assert fsck_database(database, [keys.checkpoint_key.public_key()], None).problems == []
