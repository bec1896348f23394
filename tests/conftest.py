"""What several groups of tests share: one PostgreSQL server for the session, started by the first test that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

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
    with _database(request) as url:
        yield {"AINFERA_DATABASE_URL": url, "AINFERA_WORKERS": "2"}


@pytest.fixture(scope="module")
def further_environment(
    request: pytest.FixtureRequest, engine_environment: dict[str, str]
) -> Iterator[Callable[[], dict[str, str]]]:
    """What each further gateway of the module is told: the same engine, a database of its own, one process."""
    with ExitStack() as stack:

        def make() -> dict[str, str]:
            if not engine_environment:
                return {}
            return {"AINFERA_DATABASE_URL": stack.enter_context(_database(request)), "AINFERA_WORKERS": "1"}

        yield make


@contextmanager
def _database(request: pytest.FixtureRequest) -> Iterator[str]:
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)
