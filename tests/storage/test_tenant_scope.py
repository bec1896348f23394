"""Row-level security: a read for a tenant that forgot its condition shows that tenant's rows and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import ProgrammingError

from ainfera_gateway.storage.engine import Database, migrate
from ainfera_gateway.storage.tables import metadata
from ainfera_gateway.storage.tenant_scope import ROLE, has_role, tenant_reads
from bench.calls import OpenAgent, ending, facts, opening
from tests.gateway_process import GatewayProcess, provider_environment
from tests.postgres import Postgres
from tests.postgres_pooler import TransactionPooler
from tests.simulator.process import Simulator
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS

pytestmark = pytest.mark.parametrize("engine_name", ["postgres"], indirect=True)
ALICE, BOB = AGENTS[:2]
CALLS = {ALICE: 2, BOB: 5}
TABLES = (
    "tenants",
    "agents",
    "wallets",
    "inferences",
    "routing_outcomes",
    "transfers",
    "audit_events",
    "attempts",
    "chain_heads",
)


def filled(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            for agent, calls in CALLS.items():
                await recorder.submit(OpenAgent(agent, 10**15, tenant_id=agent))
                for _ in range(calls):
                    opened = opening(facts(agent, tenant_id=agent))
                    await recorder.submit(opened)
                    await recorder.submit(ending(opened))

    run(scenario())


def counts(connection: Any) -> dict[str, int]:
    """Rows of every table, asked for without any condition."""
    return {
        name: connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one()
        for name in TABLES
    }


def test_every_table_of_a_tenant_has_its_wall(store: Store) -> None:
    guarded = {name for (name,) in store.rows("SELECT relname FROM pg_class WHERE relrowsecurity")}
    owned = {
        table.name
        for table in metadata.tables.values()
        if {"tenant_id", "agent_id", "inference_id"} & {column.name for column in table.columns}
    }
    # The log is public: it holds hashes, and whose they are is found in the events alone.
    assert guarded == (owned | {"tenants", "agents"}) - {"log_positions"}


@pytest.mark.parametrize("pooled", [False, True], ids=["straight", "pooled"])
def test_a_statement_without_a_condition_shows_one_tenant(store: Store, pooled: bool) -> None:
    filled(store)
    with TransactionPooler(store.database.url) as pooler:
        reader = Database(pooler.url if pooled else store.database.url).reader()
        for agent, calls in CALLS.items():
            with tenant_reads(reader, agent) as connection:
                seen = counts(connection)
            assert seen["inferences"] == seen["routing_outcomes"] == seen["attempts"] == calls
            assert seen["tenants"] == seen["agents"] == seen["wallets"] == seen["chain_heads"] == 1
            assert seen["transfers"] == calls + 1
        with tenant_reads(reader, "somebody") as connection:
            assert set(counts(connection).values()) == {0}
        with reader.connect() as connection:
            assert counts(connection)["inferences"] == sum(CALLS.values()), "the next transaction is the house's again"
            assert has_role(connection)
        reader.dispose()


def test_who_reads_for_a_tenant_writes_nothing(store: Store) -> None:
    filled(store)
    with pytest.raises(ProgrammingError, match="permission denied"), tenant_reads(store.reader(), ALICE) as connection:
        connection.exec_driver_sql("UPDATE wallets SET balance_picousd = 0")


def test_a_user_who_owns_no_table_works_for_the_house(store: Store) -> None:
    filled(store)
    with psycopg.connect(store.database.url, autocommit=True) as owner:
        owner.execute("DO $$ BEGIN CREATE ROLE plain NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        owner.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain")
        with owner.transaction():
            owner.execute("SET LOCAL ROLE plain")
            assert owner.execute("SELECT count(*) FROM inferences").fetchall() == [(sum(CALLS.values()),)]
            owner.execute("UPDATE wallets SET calls = calls + 1")


def test_who_may_not_take_the_role_goes_without_the_wall(postgres: Postgres, store: Store) -> None:
    postgres.execute("DO $$ BEGIN CREATE ROLE humble LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    name = postgres.create()
    postgres.execute(f"ALTER DATABASE {name} OWNER TO humble")
    humble = Store(Database(postgres.url(name).replace("//postgres:", "//humble:")))
    migrate(humble.database)
    filled(humble)
    with tenant_reads(humble.reader(), ALICE) as connection:
        assert not has_role(connection)
        assert counts(connection)["inferences"] == sum(CALLS.values()), (
            "the statements' own conditions are all there is"
        )
    humble.close()
    postgres.drop(name)


@pytest.mark.timeout(300)
def test_two_tenants_ask_a_gateway(store: Store, tmp_path: Path) -> None:
    with Simulator(tmp_path) as simulator:
        environment = provider_environment(simulator.base_url) | {"AINFERA_DATABASE_URL": store.database.url}
        with GatewayProcess(tmp_path / "data", environment) as gateway:
            bundles = [gateway.signup(f"tenant-{number}") for number in range(2)]
            receipts = []
            for number, bundle in enumerate(bundles):
                with gateway.client(bundle["api_key"]) as client:
                    for _ in range(number + 1):
                        body = {"model": "gpt-5-5", "messages": [{"role": "user", "content": "say"}], "max_tokens": 9}
                        made = client.post("/v1/chat/completions", json=body)
                        assert made.status_code == 200
                    receipts.append(made.headers["x-ainfera-receipt-id"])
            for number, bundle in enumerate(bundles):
                with gateway.client(bundle["api_key"]) as client:
                    own = bundle["agent_id"]
                    listed = client.get("/v1/inferences").json()["inferences"]
                    assert len(listed) == number + 1
                    assert client.get(f"/v1/inferences/{listed[0]['inference_id']}").json()["attempt_list"]
                    assert client.get(f"/v1/inferences/{listed[0]['inference_id']}/decision").status_code == 200
                    assert client.get("/v1/usage").json()["total"]["calls"] == number + 1
                    assert [one["id"] for one in client.get("/v1/agents").json()["agents"]] == [own]
                    assert len(client.get(f"/v1/ledger/{own}").json()["entries"]) == number + 2
                    assert client.get(f"/v1/wallets/{own}").status_code == 200
                    assert len(client.get("/v1/keys").json()["keys"]) == 1
                    assert client.get("/v1/routing-policy").json()["version"] == 0
                    answers = [client.get(f"/v1/receipts/{receipt}").status_code for receipt in receipts]
                    assert answers == [200 if mine == number else 404 for mine in range(2)]
                    assert client.get(f"/v1/audit/{own}/verify").json()["valid"]
            assert not [line for line in gateway.log if line.get("event") == "no_tenant_role"]
            assert gateway.stop() == 0
    assert store.rows("SELECT rolcanlogin FROM pg_roles WHERE rolname = :role", role=ROLE) == [(False,)]
