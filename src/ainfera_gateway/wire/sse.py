"""Server-sent events: cut a byte stream into events, whatever the chunks it comes in."""

from __future__ import annotations

import re

from msgspec import Struct

EVENT_BYTES_MAX = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = re.compile(rb"\n\r?\n")


class SseEvent(Struct, frozen=True):
    """The fields of one event that matter here.

    ``data`` is None when no data line was sent. ``plain`` says that the event is one ``data:`` line and nothing
    else, with ``data`` at ``raw[data_start : data_start + len(data)]``. ``strange`` says that a line is no field
    known to the format.
    """

    data: bytes | None
    name: str | None = None
    data_start: int = 0
    plain: bool = False
    strange: bool = False


class SseSplitter:
    """Bytes in, whole events out, each with its terminator and byte for byte as sent.

    Lines end with LF or CRLF, mixed or not. A byte order mark at the start of the stream is no part of the first
    event. ``overflowed`` says that an unfinished event passed the bound and the stream was given up.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._held = bytearray()
        self._scanned = 0
        self._at_start = True
        self.overflowed = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes; none any more once an unfinished one has passed the bound."""
        if self.overflowed:
            return []
        self._held += chunk
        if self._at_start and not self._pass_bom():
            return []
        held = self._held
        events: list[bytes] = []
        start = 0
        for blank in _BLANK_LINE.finditer(held, self._scanned):
            events.append(bytes(held[start : blank.end()]))
            start = blank.end()
        if start:
            del held[:start]
        if len(held) > self._event_bytes_max:
            self.overflowed = True
            held.clear()
        # A terminator cut in two begins at most two bytes before the end.
        self._scanned = max(0, len(held) - 2)
        return events

    def rest(self) -> bytes:
        """What never got its blank line; asked once the stream has ended."""
        rest = bytes(self._held)
        self._held.clear()
        self._scanned = 0
        return rest

    def _pass_bom(self) -> bool:
        """Drop a leading byte order mark; False while it is not known whether there is one."""
        head = bytes(self._held[:3])
        if len(head) < 3 and _BOM.startswith(head):
            return False
        if head == _BOM:
            del self._held[:3]
        self._at_start = False
        return True


def read_event(raw: bytes) -> SseEvent:
    """The fields of one event; ``raw`` may or may not carry its terminator."""
    if raw.startswith(b"data:"):
        end = raw.find(b"\n")
        line_end = len(raw) if end < 0 else end
        if not raw[line_end:].strip(b"\r\n"):
            start = 6 if raw.startswith(b" ", 5) else 5
            if raw.endswith(b"\r", start, line_end):
                line_end -= 1
            return SseEvent(raw[start:line_end], data_start=start, plain=True)
    return _read_lines(raw)


def _read_lines(raw: bytes) -> SseEvent:
    data: list[bytes] = []
    name: str | None = None
    strange = False
    for line in raw.split(b"\n"):
        field, _, value = line.removesuffix(b"\r").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"error":
            # Some servers write a failure as a field of that name; the format itself knows none.
            name = "error"
            data.append(value)
        elif field and field not in {b"id", b"retry"}:
            strange = True
    return SseEvent(b"\n".join(data) if data else None, name=name, strange=strange)
