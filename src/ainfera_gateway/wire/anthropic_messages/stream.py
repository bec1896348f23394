"""Read a streamed answer frame by frame."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ainfera_gateway.canonical.events import ContentDelta, MessageDelta, StreamEvent, ThinkingDelta, ToolUseDelta
from ainfera_gateway.canonical.response import FinishReason
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.anthropic_messages.content import (
    block_events,
    block_text,
    delta_text,
    finish_reason,
    text_of,
)
from ainfera_gateway.wire.anthropic_messages.usage import UsageTally
from ainfera_gateway.wire.frame import Frame
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.sse import EVENT_BYTES_MAX, SseSplitter, read_event

_ENDLESS = {"type": "error", "error": {"type": "api_error", "message": "the provider sent an endless event"}}


class StreamReader:
    """Bytes of a provider's stream in, frames out; keeps what the settlement needs to know.

    ``usage`` is the tally of every report and stands in the frames that report, ``finish_reason`` is the last one
    given, ``visible`` whether any frame was; ``done`` whether ``message_stop`` came, ``complete`` whether the answer
    ended as an answer ends. What comes behind the end is garbage.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._splitter = SseSplitter(event_bytes_max)
        self._tally = UsageTally()
        self._failed = False
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.finish_reason_native: str | None = None
        self.model: str | None = None
        self.visible = False
        self.done = False

    @property
    def complete(self) -> bool:
        """Whether a stop reason or ``message_stop`` came; a stream that stops before either was cut off."""
        return self.done or self.finish_reason is not None

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that ``chunk`` completes. An event past the bound gives an ``error`` frame, and nothing after."""
        frames = [self._read(raw) for raw in self._splitter.feed(chunk)]
        if self._splitter.overflowed and not self._failed:
            self._failed = True
            frames.append(Frame(b"", "error", document=_ENDLESS))
        return frames

    def close(self) -> list[Frame]:
        """The frame that lacked only its blank line when the stream ended, if it is whole; what is not is garbage."""
        rest = self._splitter.rest()
        if not rest.strip():
            return []
        return [self._read(rest.rstrip(b"\r\n") + b"\n\n")]

    def _read(self, raw: bytes) -> Frame:
        frame = read_frame(raw)
        if self.done and frame.kind in {"chunk", "done"}:
            return Frame(raw, "garbage", frame.data)
        document = frame.document or {}
        if frame.kind == "done":
            self.done = True
        elif frame.name == "message_start":
            message = _object(document, "message")
            frame = replace(frame, usage=self._tally.add(message.get("usage"), begins=True))
            self.model = text_of(message.get("model")) or self.model
        elif frame.name == "message_delta":
            frame = replace(frame, usage=self._tally.add(document.get("usage")))
        if frame.finish_reason is not None:
            self.finish_reason = frame.finish_reason
            self.finish_reason_native = frame.finish_reason_native
        self.usage = self._tally.usage
        self.visible = self.visible or frame.visible
        return frame


def read_frame(raw: bytes) -> Frame:
    """One event as a frame, without its usage; ``name`` is the type that the event says it has."""
    event = read_event(raw)
    data = event.data
    if data is None or not data.strip():
        return Frame(raw, "garbage" if event.strange else "comment", name=event.name)
    try:
        document = read_json(data)
    except ValueError:
        return Frame(raw, "error" if event.name == "error" else "garbage", data, name=event.name)
    if not isinstance(document, dict):
        if event.name == "error":
            return Frame(raw, "error", data, document={"type": "error", "error": document}, name="error")
        return Frame(raw, "garbage", data, name=event.name)
    kind = text_of(document.get("type")) or event.name or ""
    if kind == "error" or event.name == "error" or (not kind and document.get("error")):
        return Frame(raw, "error", data, document=document, name="error")
    if kind == "ping":
        return Frame(raw, "comment", data, name="ping")
    if kind == "message_stop":
        return Frame(raw, "done", data, name=kind)
    return _read_chunk(raw, data, kind, document)


def _read_chunk(raw: bytes, data: bytes, kind: str, document: dict[str, Any]) -> Frame:
    text = ""
    native: str | None = None
    visible = calls = False
    if kind == "content_block_start":
        block = _object(document, "content_block")
        block_kind = block.get("type")
        text = block_text(block)
        calls = block_kind == "tool_use"
        # An open block of text or reasoning with nothing in it yet has shown nobody anything.
        visible = bool(text) or block_kind not in {"text", "thinking"}
    elif kind == "content_block_delta":
        delta = _object(document, "delta")
        text = delta_text(delta)
        calls = delta.get("type") == "input_json_delta"
        visible = bool(text) or delta.get("type") not in {"text_delta", "thinking_delta"}
    elif kind == "message_delta":
        native = text_of(_object(document, "delta").get("stop_reason")) or None
    return Frame(
        raw,
        "chunk",
        data,
        document=document,
        visible=visible,
        text_chars=len(text),
        text_bytes=len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")),
        has_tool_call=calls,
        finish_reason=finish_reason(native),
        finish_reason_native=native,
        name=kind,
    )


class EventDecoder:
    """Frames of one stream in, canonical events out; it remembers which call each block is.

    The input of a call that needs none comes as ``{}``. Where a block begins with its whole input, what follows in
    fragments is the same once more and does not count.
    """

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        self._calls_seen = 0
        self._whole: set[int] = set()
        self._said: set[int] = set()

    def events(self, frame: Frame) -> list[StreamEvent]:
        """The events of one frame; none for what is not a chunk."""
        document = frame.document
        if frame.kind != "chunk" or document is None:
            return []
        index = document.get("index")
        place = index if isinstance(index, int) else 0
        match frame.name:
            case "message_start":
                model = text_of(_object(document, "message").get("model"))
                return [MessageDelta(model=model)] if model else []
            case "content_block_start":
                return self._begin(place, _object(document, "content_block"))
            case "content_block_delta":
                return self._delta(place, _object(document, "delta"))
            case "content_block_stop":
                return self._end(place)
            case "message_delta":
                open_calls = [event for open_place in list(self._calls) for event in self._end(open_place)]
                sequence = text_of(_object(document, "delta").get("stop_sequence")) or None
                told = MessageDelta(
                    frame.finish_reason, frame.finish_reason_native, frame.usage, stop_sequence=sequence
                )
                return [*open_calls, told]
        return []

    def _begin(self, place: int, block: dict[str, Any]) -> list[StreamEvent]:
        events = block_events(block, self._calls_seen)
        if block.get("type") == "tool_use":
            self._calls[place] = self._calls_seen
            self._calls_seen += 1
            if len(events) > 1:
                self._whole.add(place)
                self._said.add(place)
        return events

    def _delta(self, place: int, delta: dict[str, Any]) -> list[StreamEvent]:
        match delta.get("type"):
            case "text_delta" if text := text_of(delta.get("text")):
                return [ContentDelta(text)]
            case "thinking_delta" if text := text_of(delta.get("thinking")):
                return [ThinkingDelta(text)]
            case "signature_delta" if signature := text_of(delta.get("signature")):
                return [ThinkingDelta("", signature)]
            case "input_json_delta" if place in self._calls and place not in self._whole:
                fragment = text_of(delta.get("partial_json"))
                if fragment:
                    self._said.add(place)
                    return [ToolUseDelta(self._calls[place], fragment)]
        return []

    def _end(self, place: int) -> list[StreamEvent]:
        call = self._calls.pop(place, None)
        said = place in self._said
        self._whole.discard(place)
        self._said.discard(place)
        return [] if call is None or said else [ToolUseDelta(call, "{}")]


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
