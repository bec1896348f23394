"""A passage between two dialects: the caller's codec on one side, the provider's on the other, canonical values between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ainfera_gateway.canonical.conversation import Conversation, Written
from ainfera_gateway.canonical.events import StreamEvent
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame, FrameReader
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passage import Closing, Terms


class EventWriter(Protocol):
    """Canonical events in, the caller's stream out; ``text_bytes`` counts what was generated in it so far."""

    text_bytes: int

    def write(self, events: Iterable[StreamEvent]) -> bytes: ...

    def finish(self, closing: Closing) -> bytes: ...


class Decoder(Protocol):
    """Frames of one provider's stream in, canonical events out."""

    def events(self, frame: Frame) -> list[StreamEvent]: ...


class RequestWriter(Protocol):
    """A conversation as a provider's request. Raises ``UnsupportedError``."""

    def __call__(self, conversation: Conversation, terms: Terms, *, stream: bool) -> Written: ...


@dataclass(frozen=True, slots=True)
class CallerCodec:
    """One dialect in the role it has towards callers; it reads what its own parser made. ``alive`` are the bytes that keep a waiting stream open."""

    read_conversation: Callable[[Any], Conversation]
    write_answer: Callable[[Any, Answer, Closing, Terms], bytes]
    writer: Callable[[Parsed, Terms], EventWriter]
    alive: bytes


@dataclass(frozen=True, slots=True)
class ProviderCodec:
    """One wire in the role it has towards providers. ``path`` goes behind the base URL."""

    path: str
    write_request: RequestWriter
    read_answer: Callable[[bytes], Answer]
    reader: Callable[[], FrameReader]
    decoder: Callable[[], Decoder]


class TranslatedPassage:
    """See ``Passage``. Raises ``UnsupportedError`` when the request cannot be carried to this provider."""

    def __init__(self, parsed: Parsed, terms: Terms, caller: CallerCodec, provider: ProviderCodec) -> None:
        written = provider.write_request(caller.read_conversation(parsed), terms, stream=parsed.request.stream)
        self.path = provider.path
        self.body = written.body
        self.dropped = written.dropped
        self._parsed = parsed
        self._terms = terms
        self._caller = caller
        self._provider = provider
        self._decoder = provider.decoder()
        self._writer = caller.writer(parsed, terms)

    @property
    def text_bytes(self) -> int:
        """Bytes of generated text that were written to the caller."""
        return self._writer.text_bytes

    def reader(self) -> FrameReader:
        """A reader for the provider's stream."""
        return self._provider.reader()

    def relay(self, frame: Frame) -> bytes:
        """The caller's bytes for one frame."""
        if frame.kind == "comment":
            return self._caller.alive
        return self._writer.write(self._decoder.events(frame))

    def finish(self, closing: Closing) -> bytes:
        """The end of the caller's stream."""
        return self._writer.finish(closing)

    def read_answer(self, body: bytes) -> Answer:
        """The provider's whole answer. Raises ``ParseError``."""
        return self._provider.read_answer(body)

    def whole(self, answer: Answer, body: bytes, closing: Closing) -> bytes:  # noqa: ARG002 - the bytes are another dialect's
        """The caller's whole answer."""
        return self._caller.write_answer(self._parsed, answer, closing, self._terms)
