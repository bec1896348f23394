"""Installs the house's logging. Only the entry point calls this; a library never configures its host's logging."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import TextIO

from ainfera_gateway.logs.formatter import JsonLineFormatter
from ainfera_gateway.logs.scrub import Scrubber

LEVELS = ("debug", "info", "warning", "error", "critical")
# Servers and clients that bring handlers or a chatty level of their own.
_FOREIGN_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "fastapi", "alembic", "sqlalchemy", "asyncio")


class JsonLineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream. What cannot be written is counted in ``lost``; the caller goes on."""

    def __init__(self, stream: TextIO, scrubber: Scrubber) -> None:
        super().__init__(stream)
        self.setFormatter(JsonLineFormatter(scrubber))
        self.lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the name is logging's
        self.lost += 1


def configure(
    level: str = "info", *, stream: TextIO | None = None, known_secrets: Iterable[str] = ()
) -> JsonLineHandler:
    """Send every record of the process, warnings included, as JSON lines to ``stream`` (standard output).

    ``level`` is one of ``LEVELS``; ``known_secrets`` are exact texts that never appear. Replaces what the root logger
    had before. Raises ``ValueError`` for an unknown level.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"the log level is one of {', '.join(LEVELS)}")
    handler = JsonLineHandler(stream if stream is not None else sys.stdout, Scrubber(known_secrets))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in _FOREIGN_LOGGERS:
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = True
    # Lines of access would repeat what the metrics and the outcome rows say, one line a call.
    for chatty in ("uvicorn.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return handler


def emit(logger: logging.Logger, level: int, event: str, /, **fields: object) -> None:
    """Log ``event`` with ``fields`` such as ``trace_id``. Unlike ``extra=``, no field name can raise here."""
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(logger.name, level, "", 0, event, (), None)
    for name, value in fields.items():
        setattr(record, name if name not in vars(record) else f"{name}_", value)
    logger.handle(record)
