"""``ainfera-gateway serve``: settings, logging, the gateway and the server, and the first words of each."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from ainfera_gateway.audit.keys import KeyFileError, load_or_create_keys
from ainfera_gateway.cli.banner import print_banner, reach_of
from ainfera_gateway.cli.db import unreachable
from ainfera_gateway.cli.options import (
    EXIT_FAILED,
    EXIT_USAGE,
    DatabaseUrl,
    DataDir,
    known_secrets,
    settings_of,
    stop,
    with_local_model,
)
from ainfera_gateway.cli.running import RunningFile
from ainfera_gateway.cli.server import bind, run_server
from ainfera_gateway.cli.workers import WorkerFds, Workers
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.logs.setup import JsonLineHandler, configure
from ainfera_gateway.providers.configured import BaseUrlError
from ainfera_gateway.providers.local.model_file import ModelFileError
from ainfera_gateway.providers.local.process import LocalModelError
from ainfera_gateway.settings import Settings, SettingsError
from ainfera_gateway.storage.engine import SchemaError
from ainfera_gateway.version import __version__

_WRONG_SETTING = (SettingsError, BaseUrlError)
_CANNOT_START = (SchemaError, KeyFileError, LocalModelError, ModelFileError, OSError)

_log = logging.getLogger("ainfera.serve")


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        str | None, typer.Option(metavar="INTEGER", help="Port; 0 takes any free one.", show_default="8000")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    local_model: Annotated[
        str | None, typer.Option(help="A GGUF file to serve, or smollm2 for the pulled one.", show_default="none")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="INTEGER", help="Processes that serve (PostgreSQL).", show_default="1")
    ] = None,
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the gateway until Ctrl-C or SIGTERM; running calls finish first."""
    settings = settings_of(
        {
            "host": host,
            "port": port,
            "data_dir": data_dir,
            "database_url": database_url,
            "log_level": log_level,
            "local_model": local_model,
            "workers": workers,
        }
    )
    try:
        settings = with_local_model(settings)
    except SettingsError as exc:
        stop(str(exc), EXIT_USAGE)
    handler = configure(settings.log_level, known_secrets=known_secrets(settings, os.environ))
    try:
        if worker is not None:
            _work(settings, WorkerFds.parse(worker))
        elif settings.workers > 1:
            _lead(settings, handler)
        else:
            with _real_port(settings) as with_port:
                _run(with_port, handler)
    except _WRONG_SETTING as exc:
        stop(str(exc), EXIT_USAGE)
    except SQLAlchemyError as exc:
        stop(f"AINFERA_DATABASE_URL: {unreachable(exc)}", EXIT_FAILED)
    except _CANNOT_START as exc:
        stop(_said(exc, settings), EXIT_FAILED)
    except Exception:  # noqa: BLE001 - a surprise is logged as everything else is, its secrets scrubbed
        _log.exception("serve_failed")
        raise typer.Exit(EXIT_FAILED) from None


def _run(settings: Settings, handler: JsonLineHandler) -> None:
    from ainfera_gateway.app import Gateway  # half a second of imports that no other command needs

    gateway = Gateway(settings, os.environ)
    running = RunningFile(settings.data_dir)

    def on_ready(_port: int) -> None:
        configured = gateway.backends.configured
        reach = reach_of(gateway.catalog, configured, {model.slug for model in settings.overlay.models})
        running.write(settings, url=gateway.public_url, version=__version__, providers=configured, started_us=_now_us())
        if sys.stdout.isatty():
            print_banner(Console(), gateway.public_url, settings, reach)
            return
        record = _log.makeRecord(_log.name, logging.INFO, "", 0, "ready", (), None)
        record.url, record.models, record.version = gateway.public_url, list(reach.models), __version__
        handler.handle(record)  # not through the logger: whatever the level, this line is for whoever waits

    try:
        run_server(
            gateway,
            host=settings.host,
            port=settings.port,
            on_ready=on_ready,
            drain_s=settings.drain_s,
            on_drain=gateway.drain,
            on_cut=gateway.cut,
        )
    finally:
        running.remove()


def _lead(settings: Settings, handler: JsonLineHandler) -> None:
    """The parent of several workers: it serves nothing itself."""
    listener = bind(settings.host, settings.port)
    settings = replace(settings, port=listener.getsockname()[1])
    running = RunningFile(settings.data_dir)

    def on_ready(facts: dict[str, Any]) -> None:
        providers = frozenset(facts["providers"])
        running.write(settings, url=facts["url"], version=__version__, providers=providers, started_us=_now_us())
        record = _log.makeRecord(_log.name, logging.INFO, "", 0, "ready", (), None)
        record.url, record.models, record.version = facts["url"], facts["models"], __version__
        record.workers = settings.workers
        handler.handle(record)

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    load_or_create_keys(settings.data_dir, settings.data_key or None)
    arguments = [*sys.argv[1:], "--port", str(settings.port)]
    try:
        status = asyncio.run(Workers(listener, settings.workers, arguments, on_ready).run())
    finally:
        running.remove()
        listener.close()
    if status:
        raise typer.Exit(status)


def _work(settings: Settings, fds: WorkerFds) -> None:
    """One of several workers; the parent says that it is ready, when all are."""
    from ainfera_gateway.app import Gateway  # half a second of imports that no other command needs

    gateway = Gateway(settings, os.environ)

    def on_ready(_port: int) -> None:
        configured = gateway.backends.configured
        reach = reach_of(gateway.catalog, configured, {model.slug for model in settings.overlay.models})
        fds.say_ready(
            {
                "url": gateway.public_url,
                "models": list(reach.models),
                "providers": sorted(configured),
            }
        )

    fds.end_with_parent()
    run_server(
        gateway,
        host=settings.host,
        port=settings.port,
        on_ready=on_ready,
        drain_s=settings.drain_s,
        on_drain=gateway.drain,
        on_cut=gateway.cut,
        listener=fds.socket(),
    )


def _now_us() -> int:
    return SystemClock().now_us()


def _said(exc: Exception, settings: Settings) -> str:
    """Why the gateway cannot start, in our words and with the setting to look at."""
    if not isinstance(exc, OSError) or exc.strerror is None:
        return str(exc)
    if exc.filename is not None:
        inside = Path(exc.filename).absolute().is_relative_to(settings.data_dir.absolute())
        named = "AINFERA_DATA_DIR: " if inside or settings.data_dir.is_relative_to(exc.filename) else ""
        return f"{named}{exc.filename} cannot be used: {exc.strerror}"
    if exc.errno == errno.EADDRINUSE:
        return f"{exc.strerror}: stop what listens there, or choose another AINFERA_PORT (--port; 0: any free one)"
    if exc.errno == errno.EACCES:
        return f"{exc.strerror}: choose an AINFERA_PORT (--port) above 1023"
    if exc.strerror.startswith("cannot listen on"):
        return f"{exc.strerror}: set AINFERA_HOST (--host) to an address of this machine"
    return exc.strerror


@contextlib.contextmanager
def _real_port(settings: Settings) -> Iterator[Settings]:
    """``settings`` with port 0 replaced by a free one: the gateway names its own URL before the server listens."""
    if settings.port != 0:
        yield settings
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, 0, type=socket.SOCK_STREAM)[0]
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on {settings.host}: {exc.strerror}") from exc
    with socket.socket(family, kind, protocol) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind(address)
        except OSError as exc:
            raise OSError(exc.errno, f"cannot listen on {settings.host}: {exc.strerror}") from exc
        port = reserved.getsockname()[1]
        if sys.platform != "linux":
            reserved.close()  # elsewhere nobody else may bind it while we hold it, though we do not listen
        yield replace(settings, port=port)
