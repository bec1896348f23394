"""One JSON object per line, whatever the record holds."""

from __future__ import annotations

import json
import logging
import math
import traceback
from typing import Any

from ainfera_gateway.clock import iso
from ainfera_gateway.logs.scrub import REDACTED, Scrubber, secret_name

FIELDS_MAX = 64
_EXCEPTION_CHARS_MAX = 16_000
# What logging itself puts on a record; anything else came by ``extra``.
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FIRST = ("time", "level", "event", "logger")


class JsonLineFormatter(logging.Formatter):
    """Formats a record as ``{"time", "level", "event", "logger", …fields of extra, "exception"?}``.

    ``event`` is what the record names by ``extra={"event": …}``, its sentence then standing beside it as ``message``; a
    record that names none has its sentence as event.
    Everything outside ASCII and every control character is escaped, so no value can end the line, start another one
    or reach a terminal as an escape sequence. Secrets are scrubbed. ``format`` never raises.
    """

    def __init__(self, scrubber: Scrubber | None = None) -> None:
        super().__init__()
        self._scrubber = scrubber if scrubber is not None else Scrubber()

    def format(self, record: logging.LogRecord) -> str:
        try:
            return _dump(self._line(record))
        except Exception as exc:  # noqa: BLE001 - a record that cannot be shown must not fail the call that logged it
            return _dump(
                {
                    "time": iso(int(record.created * 1_000_000)),
                    "level": "error",
                    "event": "log_record_unprintable",
                    "logger": str(record.name)[:200],
                    "problem": type(exc).__name__,
                }
            )

    def _line(self, record: logging.LogRecord) -> dict[str, Any]:
        message = self._scrubber.text(_message(record))
        line: dict[str, Any] = {
            "time": iso(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "event": message,
            "logger": self._scrubber.text(record.name),
        }
        attributes = vars(record)
        # A record that names its event keeps its sentence beside it.
        if isinstance(named := attributes.get("event"), str):
            line["event"] = self._scrubber.text(named)
            if message != line["event"]:
                line["message"] = message
        extra = [(name, value) for name, value in attributes.items() if name not in _OWN_ATTRIBUTES]
        extra = [(name, value) for name, value in extra if name != "event" or not isinstance(value, str)]
        for name, value in extra[:FIELDS_MAX]:
            shown = f"{name}_" if name in _FIRST or name == "exception" else name
            line[self._scrubber.name(shown)] = self._field(name, value)
        exception = _exception(record)
        if exception:
            line["exception"] = self._scrubber.text(exception)
        return line

    def _field(self, name: str, value: object) -> object:
        if secret_name(name) and value is not None:
            return REDACTED
        try:
            return _finite(self._scrubber.value(value))
        except Exception as exc:  # noqa: BLE001 - a value's own __str__ or iterator may raise anything
            return f"[unprintable {type(value).__name__}: {type(exc).__name__}]"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the format still leave the format itself
        return str(record.msg)


def _exception(record: logging.LogRecord) -> str:
    """Traceback and stack as one text; the end of a long one is kept, since the cause stands there."""
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append("".join(traceback.format_exception(*record.exc_info)))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(str(record.stack_info))
    text = "\n".join(parts).rstrip()
    return text if len(text) <= _EXCEPTION_CHARS_MAX else "… " + text[-_EXCEPTION_CHARS_MAX:]


def _finite(value: object) -> object:
    """JSON has no NaN and no infinities: they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _dump(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
