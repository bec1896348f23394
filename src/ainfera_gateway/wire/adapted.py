"""The caller's side of a passage whose other side is no wire: canonical events come from an adapter."""

from __future__ import annotations

from collections.abc import Iterable

from ainfera_gateway.canonical.conversation import Conversation
from ainfera_gateway.canonical.events import StreamEvent
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame, FrameReader
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passage import Closing, Terms
from ainfera_gateway.wire.translated import CallerCodec


class AdaptedPassage:
    """See ``Passage``; instead of frames it takes events, by ``write``."""

    path = ""
    body = b""

    def __init__(self, parsed: Parsed, terms: Terms, caller: CallerCodec) -> None:
        self.conversation: Conversation = caller.read_conversation(parsed)
        self.dropped = self.conversation.unread
        self._parsed = parsed
        self._terms = terms
        self._caller = caller
        self._writer = caller.writer(parsed, terms)

    @property
    def text_bytes(self) -> int:
        """Bytes of generated text that were written to the caller."""
        return self._writer.text_bytes

    def write(self, events: Iterable[StreamEvent]) -> bytes:
        """The caller's bytes for some events."""
        return self._writer.write(events)

    def finish(self, closing: Closing) -> bytes:
        """The end of the caller's stream."""
        return self._writer.finish(closing)

    def whole(self, answer: Answer, body: bytes, closing: Closing) -> bytes:  # noqa: ARG002 - there are none
        """The caller's whole answer."""
        return self._caller.write_answer(self._parsed, answer, closing, self._terms)

    def reader(self) -> FrameReader:
        """An adapter gives no frames."""
        raise TypeError("an adapter gives no frames")

    def relay(self, _frame: Frame) -> bytes:
        """An adapter gives no frames."""
        raise TypeError("an adapter gives no frames")

    def read_answer(self, _body: bytes) -> Answer:
        """An adapter gives no bytes."""
        raise TypeError("an adapter gives no bytes")
