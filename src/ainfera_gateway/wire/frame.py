"""One event of a provider's stream, whichever wire it came over."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

from ainfera_gateway.canonical.response import FinishReason
from ainfera_gateway.canonical.usage import Usage

FrameKind = Literal["chunk", "done", "comment", "error", "garbage"]


class Frame(Struct, frozen=True):
    """One event of a provider's stream.

    ``raw`` is the whole event as sent, terminator included; ``data`` its payload, at ``data_start`` in ``raw`` when
    ``plain`` (one data line and nothing else). ``name`` is its event name. ``document`` is the decoded payload of a
    chunk or an error. ``visible`` says that a caller who gets this frame has seen a part of the answer;
    ``text_chars`` and ``text_bytes`` count what was generated in it: text, reasoning, names and arguments of calls.
    """

    raw: bytes
    kind: FrameKind
    data: bytes = b""
    data_start: int = 0
    plain: bool = False
    document: dict[str, Any] | None = None
    visible: bool = False
    text_chars: int = 0
    text_bytes: int = 0
    has_tool_call: bool = False
    finish_reason: FinishReason | None = None
    finish_reason_native: str | None = None
    usage: Usage | None = None
    is_usage_only: bool = False
    name: str | None = None


class FrameReader(Protocol):
    """Bytes of a provider's stream in, frames out; keeps what the settlement needs to know.

    ``usage`` merges every report. ``visible`` tells whether any frame was, ``done`` that nothing more will come,
    ``complete`` that the answer ended as an answer ends.
    """

    usage: Usage | None
    finish_reason: FinishReason | None
    visible: bool
    done: bool

    @property
    def complete(self) -> bool: ...

    def feed(self, chunk: bytes) -> list[Frame]: ...

    def close(self) -> list[Frame]: ...
