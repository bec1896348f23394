"""``ainfera-gateway serve``: settings, logging, the gateway and the server, and the first words of each."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from ainfera_gateway.cli.banner import print_banner, reach_of
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
from ainfera_gateway.cli.server import run_server
from ainfera_gateway.logs.setup import JsonLineHandler, configure
from ainfera_gateway.providers.configured import BaseUrlError
from ainfera_gateway.providers.local.model_file import ModelFileError
from ainfera_gateway.providers.local.process import LocalModelError
from ainfera_gateway.settings import Settings, SettingsError
from ainfera_gateway.storage.engine import SchemaError
from ainfera_gateway.version import __version__

DRAIN_S = 30.0
_WRONG_SETTING = (SettingsError, BaseUrlError)
_CANNOT_START = (SchemaError, LocalModelError, ModelFileError, OSError)

_log = logging.getLogger("ainfera.serve")


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one.", show_default="8000")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    local_model: Annotated[
        str | None, typer.Option(help="A GGUF file to serve, or smollm2 for the pulled one.", show_default="none")
    ] = None,
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
        }
    )
    try:
        if settings.workers > 1:
            raise SettingsError("AINFERA_WORKERS: this version serves with one process; leave it at 1")
        settings = with_local_model(settings)
    except SettingsError as exc:
        stop(str(exc), EXIT_USAGE)
    handler = configure(settings.log_level, known_secrets=known_secrets(settings, os.environ))
    try:
        with _real_port(settings) as with_port:
            _run(with_port, handler)
    except _WRONG_SETTING as exc:
        stop(str(exc), EXIT_USAGE)
    except _CANNOT_START as exc:
        stop(str(exc), EXIT_FAILED)
    except Exception:  # noqa: BLE001 - a surprise is logged as everything else is, its secrets scrubbed
        _log.exception("serve_failed")
        raise typer.Exit(EXIT_FAILED) from None


def _run(settings: Settings, handler: JsonLineHandler) -> None:
    from ainfera_gateway.app import Gateway  # half a second of imports that no other command needs

    gateway = Gateway(settings, os.environ)

    def on_ready(_port: int) -> None:
        reach = reach_of(gateway.catalog, gateway.backends.configured)
        if sys.stdout.isatty():
            print_banner(Console(), gateway.public_url, settings, reach)
            return
        record = _log.makeRecord(_log.name, logging.INFO, "", 0, "ready", (), None)
        record.url, record.models, record.version = gateway.public_url, list(reach.models), __version__
        handler.handle(record)  # not through the logger: whatever the level, this line is for whoever waits

    run_server(
        gateway, host=settings.host, port=settings.port, on_ready=on_ready, drain_s=DRAIN_S, on_drain=gateway.drain
    )


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
        reserved.bind(address)
        port = reserved.getsockname()[1]
        if sys.platform != "linux":
            reserved.close()  # elsewhere nobody else may bind it while we hold it, though we do not listen
        yield replace(settings, port=port)
