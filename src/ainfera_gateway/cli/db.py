"""``ainfera-gateway db``: the schema of the database, looked at and brought up to date."""

from __future__ import annotations

from pathlib import Path

import typer
from sqlalchemy.exc import SQLAlchemyError

from ainfera_gateway.cli.options import EXIT_FAILED, DatabaseUrl, DataDir, settings_of, stop
from ainfera_gateway.logs.scrub import scrub_text
from ainfera_gateway.storage.engine import Database, SchemaError, current_revision, head_revision, migrate

db_app = typer.Typer(name="db", help="The schema of the database.", no_args_is_help=True)


@db_app.command("status")
def status_command(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Say at which revision the database is; exit status 1 unless it is the newest."""
    database = _database(data_dir, database_url)
    try:
        current = revision_of(database)
    except SQLAlchemyError as exc:
        stop(unreachable(exc), EXIT_FAILED)
    newest = head_revision()
    typer.echo(f"database  {shown_url(database)}")
    typer.echo(f"revision  {current or 'none: the schema is not there yet'}")
    typer.echo(f"newest    {newest}")
    if current != newest:
        typer.echo("run `ainfera-gateway db migrate`")
        raise typer.Exit(EXIT_FAILED)


@db_app.command("migrate")
def migrate_command(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Bring the schema to the newest revision. An SQLite file that holds data is copied beside itself first."""
    database = _database(data_dir, database_url)
    try:
        if database.is_sqlite:
            Path(database.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = current_revision(database)
        after = migrate(database)
    except SchemaError as exc:
        stop(str(exc), EXIT_FAILED)
    except (SQLAlchemyError, OSError) as exc:
        stop(unreachable(exc), EXIT_FAILED)
    typer.echo(f"{shown_url(database)} is at {after}" + ("" if before != after else " already"))


def revision_of(database: Database) -> str | None:
    """The revision of a database, ``None`` without one; an SQLite file that is not there is not made."""
    if database.is_sqlite and not Path(database.path).exists():
        return None
    return current_revision(database)


def shown_url(database: Database) -> str:
    """The database's address without its password."""
    return scrub_text(database.url)


def unreachable(exc: Exception) -> str:
    """One line on why the database did not answer, without a password."""
    cause = getattr(exc, "orig", None) or exc
    return f"the database cannot be used: {scrub_text(str(cause)).splitlines()[0]}"


def _database(data_dir: Path | None, database_url: str | None) -> Database:
    return Database(settings_of({"data_dir": data_dir, "database_url": database_url}).database)
