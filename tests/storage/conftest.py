"""Both engines, really: an SQLite file and a PostgreSQL server that lives as long as the test session."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

from ainfera_gateway.audit.seal import seal
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.storage.engine import Database, migrate
from ainfera_gateway.storage.partitions import is_partition
from ainfera_gateway.storage.recorder import PostgresRecorder, SqliteRecorder, open_recorder
from tests.postgres import Postgres

COMPARED = {
    "compare_type": True,
    "compare_server_default": True,
    # Parts of a table are nothing that the code knows; they come and go with the days.
    "include_name": lambda name, kind, _parents: kind != "table" or not is_partition(name or ""),
}
"""How the stored schema is held against the tables."""


@dataclass
class Store:
    """A migrated, empty database of one engine, and short ways to look into it."""

    database: Database
    _readers: list[Engine] = field(default_factory=list)

    @asynccontextmanager
    async def recorder(
        self, now_us: Callable[[], int] | None = None, owner: str = ""
    ) -> AsyncIterator[SqliteRecorder | PostgresRecorder]:
        recorder = await open_recorder(self.database, seal, now_us or SystemClock().now_us, owner)
        try:
            yield recorder
        finally:
            await recorder.close()

    def reader(self) -> Engine:
        if not self._readers:
            self._readers.append(self.database.reader())
        return self._readers[0]

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.reader().connect() as conn:
            return [tuple(row) for row in conn.execute(text(sql), parameters)]

    def value(self, sql: str, **parameters: Any) -> Any:
        (row,) = self.rows(sql, **parameters)
        return row[0]

    @contextmanager
    def tampering(self) -> Iterator[Connection]:
        """A connection that may write around the recorder."""
        with self.database.migration_engine().begin() as conn:
            yield conn

    def drop_triggers(self) -> None:
        """Open the append-only tables, as somebody with the file in hand could."""
        with self.tampering() as conn:
            if self.database.is_sqlite:
                names = conn.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
                for name in names:
                    conn.exec_driver_sql(f"DROP TRIGGER {name}")
            else:
                conn.exec_driver_sql("DROP FUNCTION IF EXISTS refuse_change(), refuse_change_of_kept() CASCADE")

    def close(self) -> None:
        for engine in self._readers:
            engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "ainfera.db"
    migrate(Database(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_database(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if engine_name == "sqlite":
        yield Database(f"sqlite:///{tmp_path / 'empty.db'}")
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield Database(server.url(name))
    server.drop(name)


@pytest.fixture
def store(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if engine_name == "sqlite":
        path = tmp_path / "ainfera.db"
        shutil.copy2(request.getfixturevalue("sqlite_template"), path)
        made = Store(Database(f"sqlite:///{path}"))
        yield made
        made.close()
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    made = Store(Database(server.url(name)))
    yield made
    made.close()
    server.drop(name)


def run(coroutine: Any) -> Any:
    """Run one test's coroutine on a loop of its own, bounded."""

    async def bounded() -> Any:
        async with asyncio.timeout(100):
            return await coroutine

    return asyncio.run(bounded())
