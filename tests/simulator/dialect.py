"""What a dialect gives the transport: a strict reader of requests, answers whole and in events, errors of its form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from .script import Acts


@dataclass(frozen=True, slots=True)
class Arrival:
    """A POST as it came: header names in lower case, `digest` the SHA-256 of the body, `number` since the start."""

    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    digest: str
    number: int


@dataclass(frozen=True, slots=True)
class Call:
    """A request the dialect accepted.

    `text` is the last user message with its directives; `max_tokens` is None when not asked; ids in the answer come
    from `digest`; `foreign` names the members that another provider made.
    """

    model: str
    stream: bool
    max_tokens: int | None
    text: str
    request: Mapping[str, Any]
    digest: str
    path: str = ""
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request the dialect refuses: HTTP status and error body; model and stream as far as they could be read."""

    status: int
    body: bytes
    model: str | None = None
    stream: bool | None = None
    foreign: tuple[str, ...] = ()


class RefusedError(Exception):
    """A request the provider refuses. `param` names the field, `code` is the machine code."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = "invalid_value", status: int = 400
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its name (empty: none), its data, what it is, and the usage it carries.

    Of the kinds the transport knows `delta` (a piece of the answer), `finish` (why it ended), `done` (nothing follows),
    `end` (both at once) and `comment` (a comment line, no event).
    """

    data: bytes
    kind: str
    usage: Mapping[str, Any] | None = None
    name: str = ""


class Dialect(Protocol):
    """One wire format. A module for each; `server.py` knows them only by this."""

    name: str

    def serves(self, path: str) -> bool:
        """True when a POST to this path (without query) is this dialect's."""

    def read(self, arrival: Arrival) -> Call | Refusal:
        """Validates a request as strictly as the provider does."""

    def error(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, number: int = 0
    ) -> bytes:
        """An error body in the provider's form; `number` is the request's, for providers that name it there."""

    def headers(self, number: int, status: int) -> dict[str, str]:
        """The headers of an answer beside those of HTTP."""

    def error_event(self, message: str, sent: int) -> Event:
        """An error inside a stream that has begun, after `sent` events."""

    def garbage_event(self, data: bytes) -> Event:
        """An event with these bytes as its data, named as an honest one."""

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        """The whole answer and the usage it carries."""

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        """The answer as events, the last of kind `done` where the wire has one."""

    def get(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
        """The answer to a GET of the provider's API (list of models), or None when the path is not its own."""


def request_id(number: int) -> str:
    """The id of a request, the same in the headers and the body of its answer."""
    return f"req_{number:016x}"


def bearer(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The token of an Authorization header of the scheme Bearer."""
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() or None if scheme.lower() == b"bearer" else None


def is_json(headers: Mapping[bytes, bytes]) -> bool:
    """True when the body is declared to be JSON."""
    return headers.get(b"content-type", b"").split(b";")[0].strip().lower() == b"application/json"


def seed_of(request: Mapping[str, Any]) -> str:
    """A hash for ids inside an answer: the same for a request streamed and not."""
    asked = {name: value for name, value in request.items() if name not in ("stream", "stream_options")}
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()
