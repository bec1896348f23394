"""The way of an attempt whose caller and provider both speak this dialect: the bytes pass through."""

from __future__ import annotations

import msgspec

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.anthropic_messages.answer import read_answer
from ainfera_gateway.wire.anthropic_messages.request import ParsedMessages
from ainfera_gateway.wire.anthropic_messages.stream import StreamReader
from ainfera_gateway.wire.anthropic_messages.upstream import upstream_body
from ainfera_gateway.wire.frame import Frame, FrameReader
from ainfera_gateway.wire.openai_chat.answer import answer_members, splice_named
from ainfera_gateway.wire.passage import Closing, Terms

PATH = "/messages"
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class MessagesPassage:
    """See ``wire.passage.Passage``. Of an answer only the value of ``model`` changes.

    ``message_stop`` is kept until ``finish``: it is told once the call is settled.
    """

    def __init__(self, parsed: ParsedMessages, terms: Terms) -> None:
        written = upstream_body(parsed, model=terms.upstream_model, max_tokens=terms.max_tokens, drop=terms.drop_fields)
        self.path = PATH
        self.body = written.body
        self.dropped = written.dropped
        self.text_bytes = 0
        self._model = msgspec.json.encode(terms.slug)
        self._stop = MESSAGE_STOP

    def reader(self) -> FrameReader:
        """What cuts the provider's stream into frames."""
        return StreamReader()

    def relay(self, frame: Frame) -> bytes:
        """The caller's bytes for one frame; ``b""`` for the end, which is kept, and for errors and garbage."""
        if frame.kind == "comment":
            return frame.raw
        if frame.kind == "done":
            self._stop = frame.raw
        if frame.kind != "chunk":
            return b""
        self.text_bytes += frame.text_bytes
        return _with_model(frame, self._model) if frame.name == "message_start" else frame.raw

    def finish(self, closing: Closing) -> bytes:  # noqa: ARG002 - what a call cost stands in no stream of this dialect
        """The end of a stream that went well."""
        return self._stop

    def read_answer(self, body: bytes) -> Answer:
        """A plain answer; ``ParseError`` when it is none."""
        return read_answer(body)

    def whole(self, answer: Answer, body: bytes, closing: Closing) -> bytes:  # noqa: ARG002 - nothing is added
        """The provider's bytes with the slug that served as ``model``."""
        return splice_named(body, answer_members(body), {"model": self._model})


def _with_model(frame: Frame, model: bytes) -> bytes:
    """The event with each ``message.model`` replaced, all else in it byte for byte."""
    edits: list[tuple[int, int]] = []
    for outer in answer_members(frame.data):
        if outer.key != "message":
            continue
        try:
            inner = answer_members(frame.data[outer.value_start : outer.value_end])
        except ParseError:
            continue
        edits += [
            (outer.value_start + member.value_start, outer.value_start + member.value_end)
            for member in inner
            if member.key == "model"
        ]
    raw = frame.raw
    for start, end in reversed(edits):
        raw_start, raw_end = _places(frame.raw, start, end)
        raw = raw[:raw_start] + model + raw[raw_end:]
    return raw


def _places(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Where ``data[start:end]`` stands in ``raw``, whose data may be spread over several lines."""
    raw_start = raw_end = 0
    line_start = data_start = 0
    for line in raw.split(b"\n"):
        content = line.removesuffix(b"\r")
        field, _, value = content.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            offset = line_start + len(content) - len(value) - data_start
            data_end = data_start + len(value)
            if data_start <= start <= data_end:
                raw_start = offset + start
            if data_start <= end <= data_end:
                raw_end = offset + end
            data_start = data_end + 1
        line_start += len(line) + 1
    return raw_start, raw_end
