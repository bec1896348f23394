"""The way of an attempt whose caller and provider both speak this dialect: the bytes pass through."""

from __future__ import annotations

from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame, FrameReader
from ainfera_gateway.wire.openai_chat.answer import read_answer, splice_answer
from ainfera_gateway.wire.openai_chat.flat import whole_flat
from ainfera_gateway.wire.openai_chat.relay import StreamRelay
from ainfera_gateway.wire.openai_chat.shared_members import ainfera_object
from ainfera_gateway.wire.openai_chat.stream import StreamReader
from ainfera_gateway.wire.openai_chat.upstream import write_upstream
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passage import Closing, Terms

__all__ = ["PATH", "ChatPassage", "whole_flat"]

PATH = "/chat/completions"


class ChatPassage:
    """See ``wire.passage.Passage``. For ``/v1/inference`` a plain answer takes the flat form."""

    def __init__(self, parsed: Parsed, terms: Terms) -> None:
        written = write_upstream(parsed, terms)
        self.path = PATH
        self.body = written.body
        self.dropped = written.dropped
        self._flat = parsed.dialect == "native"
        self._slug = terms.slug
        self._relay = StreamRelay(model=terms.slug, include_usage=parsed.request.include_usage)

    @property
    def text_bytes(self) -> int:
        """Bytes of generated text in what was relayed."""
        return self._relay.text_bytes

    def reader(self) -> FrameReader:
        """What cuts the provider's stream into frames."""
        return StreamReader()

    def relay(self, frame: Frame) -> bytes:
        """The caller's bytes for one frame."""
        return self._relay.relay(frame)

    def finish(self, closing: Closing) -> bytes:
        """The end of a stream that went well."""
        return self._relay.finish(closing)

    def read_answer(self, body: bytes) -> Answer:
        """A plain answer; ``ParseError`` when it is none."""
        return read_answer(body)

    def whole(self, answer: Answer, body: bytes, closing: Closing) -> bytes:
        """The body of a plain answer for the caller."""
        if self._flat:
            return whole_flat(answer, closing)
        return splice_answer(body, self._slug, ainfera_object(closing))
