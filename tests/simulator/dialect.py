"""What a dialect gives the transport: a strict reader of requests, answers whole and in events, errors of its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .script import Acts


@dataclass(frozen=True, slots=True)
class Call:
    """A request the dialect accepted.

    `text` is the last user message with its directives; `max_tokens` is None when not asked.
    """

    model: str
    stream: bool
    max_tokens: int | None
    text: str
    request: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request the dialect refuses: HTTP status and error body; model and stream as far as they could be read."""

    status: int
    body: bytes
    model: str | None = None
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its name (empty: none), its data, what it is, and the usage it carries."""

    data: bytes
    kind: str
    usage: Mapping[str, Any] | None = None
    name: str = ""


class Dialect(Protocol):
    """One wire format. A module for each; `server.py` knows them only by this."""

    name: str

    def serves(self, path: str) -> bool:
        """True when a POST to this path (without query) is this dialect's."""

    def read(self, headers: Mapping[bytes, bytes], body: bytes, digest: str) -> Call | Refusal:
        """Validates a request as strictly as the provider does. Header names are lower case."""

    def error(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
        """An error body in the provider's form."""

    def error_event(self, message: str) -> Event:
        """An error inside a stream that has begun."""

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        """The whole answer and the usage it carries."""

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        """The answer as events, the last of kind `done` where the wire has one."""

    def get(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
        """The answer to a GET of the provider's API (list of models), or None when the path is not its own."""
