"""What several groups of tests share: one PostgreSQL server for the session, started by the first test that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ainfera_gateway.storage.engine import Database, migrate
from tests.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a migrated, empty database, to be copied."""
    name = postgres.create()
    migrate(Database(postgres.url(name)))
    return name


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine_environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What a gateway process is told so that it runs on one process and a file, or as two on PostgreSQL."""
    if request.param == "sqlite":
        yield {}
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield {"AINFERA_DATABASE_URL": server.url(name), "AINFERA_WORKERS": "2"}
    server.drop(name)
