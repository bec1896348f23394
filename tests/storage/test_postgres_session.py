"""Sessions on PostgreSQL: nobody waits for ever, and a pooler of transactions may stand between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import text

from ainfera_gateway.errors import LedgerLocked
from ainfera_gateway.storage import engine as engine_module
from ainfera_gateway.storage.engine import Database, SchemaError, migrate
from ainfera_gateway.storage.postgres_session import READER, WRITER
from tests.evidence import problems, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.postgres_pooler import TransactionPooler
from tests.simulator.process import Simulator
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, Append, gather

pytestmark = pytest.mark.parametrize("engine_name", ["postgres"], indirect=True)
CHAT = "/v1/chat/completions"
CALLS = 50


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


@pytest.fixture
def pooler(store: Store) -> Iterator[TransactionPooler]:
    with TransactionPooler(store.database.url) as running:
        yield running


@pytest.mark.parametrize("pooled", [False, True], ids=["straight", "pooled"])
def test_every_session_has_its_limits(store: Store, pooler: TransactionPooler, pooled: bool) -> None:
    database = Database(pooler.url if pooled else store.database.url)
    names = [*READER]
    reader = database.reader()
    with reader.connect() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
        application = connection.execute(text("SHOW application_name")).scalar_one()
    reader.dispose()
    assert [_ms(value) for value in shown] == list(READER.values())
    assert application == "ainfera-gateway"
    unlimited = database.reader(limited=False)
    with unlimited.connect() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "0"
    unlimited.dispose()

    async def writers() -> list[str]:
        async with Store(database).recorder() as recorder:
            return [row async for row in _shown(recorder)]

    assert [_ms(value) for value in run(writers())] == list(WRITER.values())


async def _shown(recorder):  # type: ignore[no-untyped-def]
    connection, limits = recorder._driver._connection, recorder._driver._limits
    async with connection.transaction():
        if limits:
            await connection.execute(limits)
        for name in WRITER:
            yield await connection.fetchval(f"SHOW {name}")


def _ms(shown: str) -> int:
    return (
        int(shown[:-2])
        if shown.endswith("ms")
        else int(shown.removesuffix("min").removesuffix("s")) * (60_000 if shown.endswith("min") else 1_000)
    )


def test_a_row_that_somebody_keeps_locked_stops_its_agent_and_nobody_else(store: Store) -> None:
    locked, free = AGENTS[:2]

    async def scenario() -> tuple[list[object], float]:
        async with store.recorder() as recorder:
            await gather(recorder, [Append(agent) for agent in (locked, free)])
            with psycopg.connect(store.database.url) as other:
                other.execute("SELECT * FROM chain_heads WHERE agent_id = %s FOR UPDATE", (locked,))
                began_s = time.monotonic()
                units = [Append((locked, free)[n % 2]) for n in range(40)]
                found = await asyncio.gather(*(recorder.submit(unit) for unit in units), return_exceptions=True)
                took_s = time.monotonic() - began_s
                other.rollback()
            await recorder.submit(Append(locked))
            return found, took_s

    found, took_s = run(scenario())
    assert [isinstance(one, LedgerLocked) for one in found] == [True, False] * 20
    assert {one.code for one in found[::2]} == {"ledger_unavailable"}  # type: ignore[attr-defined]
    assert took_s < 20, "two time-outs, not one for every unit"
    assert store.rows("SELECT agent_id, seq FROM chain_heads ORDER BY agent_id") == [(locked, 1), (free, 20)]


def test_a_migration_that_cannot_have_its_lock_changes_nothing_and_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine_module._upgrade

    def further(connection: object) -> None:
        real(connection)  # type: ignore[arg-type]
        connection.exec_driver_sql("ALTER TABLE wallets ADD COLUMN further TEXT")  # type: ignore[attr-defined]

    monkeypatch.setattr(engine_module, "head_revision", lambda: "9999")
    monkeypatch.setattr(engine_module, "_upgrade", further)
    monkeypatch.setitem(engine_module.MIGRATION, "lock_timeout", 200)
    with psycopg.connect(store.database.url) as other:
        other.execute("SELECT * FROM wallets")
        with pytest.raises(SchemaError, match="locked"):
            migrate(store.database)
        other.rollback()
    assert store.rows("SELECT column_name FROM information_schema.columns WHERE column_name = 'further'") == []


def test_the_recorder_works_behind_a_pooler(store: Store, pooler: TransactionPooler) -> None:
    async def scenario() -> None:
        async with Store(Database(pooler.url)).recorder() as one, Store(Database(pooler.url)).recorder() as two:
            for _ in range(20):
                await asyncio.gather(*(recorder.submit(Append(AGENTS[0])) for recorder in (one, two) for _ in range(5)))

    run(scenario())
    assert store.rows("SELECT seq FROM chain_heads") == [(199,)]
    assert pooler.transactions >= 40


def test_a_gateway_that_is_not_told_of_the_pooler_does_not_start(pooler: TransactionPooler, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data", {"AINFERA_DATABASE_URL": pooler.plain_url})
    with pytest.raises(AssertionError, match="unsupported startup parameter"):
        gateway.start()


@pytest.mark.timeout(300)
def test_a_gateway_serves_behind_a_pooler(
    store: Store, pooler: TransactionPooler, simulator: Simulator, tmp_path: Path
) -> None:
    environment = provider_environment(simulator.base_url)
    environment |= {"AINFERA_DATABASE_URL": pooler.url, "AINFERA_WORKERS": "2"}
    with GatewayProcess(tmp_path / "data", environment) as gateway:
        key = gateway.signup("pooled")["api_key"]

        async def calls() -> list[int]:
            headers = {"authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=100) as client:

                async def call(number: int) -> int:
                    body = {"model": "gpt-5-5", "max_tokens": 32, "stream": number % 2 == 0}
                    body["messages"] = [{"role": "user", "content": f"call {number}"}]
                    return (await client.post(CHAT, json=body)).status_code

                return await asyncio.gather(*(call(number) for number in range(CALLS)))

        assert asyncio.run(calls()) == [200] * CALLS
        wait_settled(store.database.url)
        assert problems(store.database.url, [one.begin["attempt"] for one in simulator.seen()]) == []
        end_s = time.monotonic() + 60
        while httpx.get(f"{gateway.url}/v1/audit/height", timeout=60).json()["height"] < CALLS * 3:
            assert time.monotonic() < end_s, "the log does not grow"
            time.sleep(0.1)
        assert gateway.stop() == 0
    assert pooler.transactions > CALLS
