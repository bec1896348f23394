"""Which database, how it is opened for reading, and how its schema is brought up to date (Alembic)."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from ainfera_gateway.storage.partitions import PARTITIONED_AT, prove_bound
from ainfera_gateway.storage.postgres_session import (
    APPLICATION,
    MIGRATION,
    READER,
    is_pooled,
    local,
    startup,
    without_pooled,
)

_WAIT_S = 2
"""How long a read waits for a connection, new or from the pool."""
_ADVISORY_LOCK = 0x41494E46


class SchemaError(RuntimeError):
    """The database's schema is not the one this version needs; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Database:
    """A parsed ``AINFERA_DATABASE_URL``: ``sqlite:///path`` or ``postgresql://...``."""

    url: str

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite:///")

    @property
    def path(self) -> str:
        """The file of an SQLite database."""
        return self.url.removeprefix("sqlite:///")

    def reader(self, *, limited: bool = True) -> Engine:
        """An SQLAlchemy engine for statements of the control plane and of reads.

        Not ``limited``: for a command that reads all there is, however long that takes.
        """
        if self.is_sqlite:
            engine = create_engine(self.url, poolclass=QueuePool, pool_size=8, max_overflow=8)

            @event.listens_for(engine, "connect")
            def _pragmas(connection: Any, _record: Any) -> None:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("PRAGMA busy_timeout = 5000")

            return engine
        return _limited(
            create_engine(
                self._psycopg_url(),
                pool_size=4,
                max_overflow=4,
                pool_pre_ping=True,
                pool_timeout=_WAIT_S,
                connect_args={"connect_timeout": _WAIT_S, **self._session(READER if limited else {})},
            ),
            READER if limited and self.is_pooled else {},
        )

    @property
    def is_pooled(self) -> bool:
        """Whether PostgreSQL is reached through a pooler of transactions (``?pgbouncer=true``)."""
        return not self.is_sqlite and is_pooled(self.url)

    @property
    def dsn(self) -> str:
        """A PostgreSQL address as drivers take it."""
        return without_pooled(self.url)

    def _psycopg_url(self) -> str:
        return "postgresql+psycopg://" + self.dsn.split("://", 1)[1]

    def _session(self, limits: dict[str, int]) -> dict[str, Any]:
        if self.is_pooled:
            return {"prepare_threshold": None, "application_name": APPLICATION}
        return {"application_name": APPLICATION} | ({"options": startup(limits)} if limits else {})

    def migration_engine(self) -> Engine:
        """An engine without a pool, allowed to change the schema."""
        if self.is_sqlite:
            return create_engine(self.url, poolclass=NullPool)
        return create_engine(self._psycopg_url(), poolclass=NullPool, connect_args=self._session({}))


def alembic_config() -> Config:
    """The configuration of the migrations, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str:
    """The newest revision that this version knows."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise SchemaError("no migration is packaged")
    return head


def current_revision(database: Database) -> str | None:
    """The revision the database is at; ``None`` for an empty one."""
    engine = database.migration_engine()
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(database: Database) -> str:
    """Bring the schema to the newest revision; returns that revision.

    An SQLite file that holds data is copied beside itself first. PostgreSQL is migrated under an advisory lock.
    Raises ``SchemaError`` for a database of a newer version.
    """
    if database.is_sqlite:
        # Sealed or not, what stands in it is the owner's alone.
        Path(database.path).touch(mode=0o600)
    head = head_revision()
    current = current_revision(database)
    if current == head:
        return head
    _refuse_newer(current)
    if database.is_sqlite and current is not None:
        _backup(database.path, current)
    engine = database.migration_engine()
    if database.is_sqlite:
        _transactional_ddl(engine)
    elif current is not None and current < PARTITIONED_AT:
        prove_bound(engine)
    with engine.begin() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            connection.exec_driver_sql(local(MIGRATION))
        try:
            _upgrade(connection)
        except OperationalError as exc:
            if isinstance(exc.orig, psycopg.errors.LockNotAvailable):
                raise SchemaError(
                    "another session keeps a table locked that is to be changed, so nothing was changed: end its "
                    "transaction (pg_stat_activity shows it), or try again in a quiet moment"
                ) from exc
            raise
    return head


def require_head(database: Database) -> None:
    """Raise ``SchemaError`` unless the schema is exactly the newest."""
    current, head = current_revision(database), head_revision()
    if current != head:
        _refuse_newer(current)
        raise SchemaError(
            f"the database is at revision {current or 'none'}, this version needs {head}: "
            "run `ainfera-gateway db migrate` (or set AINFERA_AUTO_MIGRATE=1)"
        )


def _refuse_newer(current: str | None) -> None:
    if current is None:
        return
    known = {revision.revision for revision in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current not in known:
        raise SchemaError(
            f"the database is at revision {current}, which this version does not know: upgrade the gateway"
        )


def _upgrade(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _limited(engine: Engine, limits: dict[str, int]) -> Engine:
    """``engine``, each of whose transactions begins with these limits."""
    if limits:
        statement = local(limits)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(statement)

    return engine


def _transactional_ddl(engine: Engine) -> None:
    """sqlite3 opens no transaction for DDL by itself; without one a migration that fails leaves half a schema."""

    @event.listens_for(engine, "connect")
    def _manual(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _backup(path: str, revision: str) -> None:
    """A consistent copy, even while another process still writes; readable by whom the original is."""
    copy = Path(f"{path}.before-{revision}.backup")
    copy.touch(mode=0o600)
    shutil.copymode(path, copy)
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()
