"""Read a streamed response event by event."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.canonical.events import MessageDelta, StreamEvent, ToolUseStart
from ainfera_gateway.canonical.response import FinishReason
from ainfera_gateway.canonical.usage import Usage, merge
from ainfera_gateway.wire.frame import Frame
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_responses.output import OutputReader, failure, spoken_text
from ainfera_gateway.wire.openai_responses.usage import read_usage
from ainfera_gateway.wire.sse import EVENT_BYTES_MAX, SseSplitter, read_event


class StreamReader:
    """Bytes of a provider's stream in, frames out; keeps what the settlement needs to know.

    ``usage`` merges every report, ``finish_reason`` is the last one given, ``visible`` whether any frame was. The
    event that ends the response ends the stream: with it ``done`` and ``complete`` are true. A ``[DONE]`` that comes
    alone ends the stream, but completes no answer.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._splitter = SseSplitter(event_bytes_max)
        self._output = OutputReader()
        self._failed = False
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.finish_reason_native: str | None = None
        self.model: str | None = None
        self.visible = False
        self.done = False

    @property
    def complete(self) -> bool:
        """Whether the response said how it ended; a stream that stops before was cut off."""
        return self.finish_reason is not None

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that ``chunk`` completes. An event past the bound gives an ``error`` frame, and nothing after."""
        frames = [self._read(raw) for raw in self._splitter.feed(chunk)]
        if self._splitter.overflowed and not self._failed:
            self._failed = True
            frames.append(Frame(b"", "error", document={"error": {"message": "the provider sent an endless event"}}))
        return frames

    def close(self) -> list[Frame]:
        """The frame that lacked only its blank line when the stream ended, if it is whole; what is not is garbage."""
        rest = self._splitter.rest()
        if not rest.strip():
            return []
        return [self._read(rest.rstrip(b"\r\n") + b"\n\n")]

    def _read(self, raw: bytes) -> Frame:
        frame = read_frame(raw, self._output)
        self.usage = merge(self.usage, frame.usage)
        self.visible = self.visible or frame.visible
        if frame.finish_reason is not None:
            self.finish_reason = frame.finish_reason
            self.finish_reason_native = frame.finish_reason_native
        if frame.kind == "chunk":
            response = (frame.document or {}).get("response")
            if isinstance(response, dict) and isinstance(model := response.get("model"), str):
                self.model = model or self.model
        self.done = self.done or frame.kind == "done" or frame.finish_reason is not None
        return frame


def read_frame(raw: bytes, output: OutputReader) -> Frame:
    """One event as a frame; ``output`` knows what came before it. ``name`` of a chunk is the type of its document."""
    event = read_event(raw)
    data = event.data
    if data is None or not data.strip():
        return Frame(raw, "garbage" if event.strange else "comment", name=event.name)
    if data.strip() == b"[DONE]":
        return Frame(raw, "done", data, event.data_start, event.plain)
    try:
        document = read_json(data)
    except ValueError:
        return Frame(raw, "garbage", data, name=event.name)
    if not isinstance(document, dict):
        whole = {"error": {"message": document if isinstance(document, str) else "the provider failed"}}
        if event.name == "error":
            return Frame(raw, "error", data, document=whole, name="error")
        return Frame(raw, "garbage", data, name=event.name)
    sent = document.get("type")
    kind = "error" if event.name == "error" else sent if isinstance(sent, str) and sent else event.name
    error = failure(kind, document)
    if error is not None:
        response = document.get("response")
        usage = read_usage(response.get("usage")) if isinstance(response, dict) else None
        return Frame(raw, "error", data, document=error, usage=usage, name=kind)
    if kind is None:
        return Frame(raw, "garbage", data)
    base = Frame(raw, "chunk", data, event.data_start, event.plain, document, name=kind)
    return _counted(base, output.read(kind, document))


def _counted(frame: Frame, events: list[StreamEvent]) -> Frame:
    """``frame`` with what its ``events`` amount to."""
    if not events:
        return frame
    text = spoken_text(events)
    end = next((event for event in events if isinstance(event, MessageDelta)), MessageDelta())
    facts: dict[str, Any] = {
        "visible": any(not isinstance(event, MessageDelta) for event in events),
        "text_chars": len(text),
        "text_bytes": len(text) if text.isascii() else len(text.encode()),
        "has_tool_call": any(isinstance(event, ToolUseStart) for event in events),
        "finish_reason": end.finish_reason,
        "finish_reason_native": end.finish_reason_native,
        "usage": end.usage,
    }
    return msgspec.structs.replace(frame, **facts)


class EventDecoder:
    """Frames of one stream in, canonical events out; it remembers what was told already."""

    def __init__(self) -> None:
        self._output = OutputReader()

    def events(self, frame: Frame) -> list[StreamEvent]:
        """The events of one frame; none for what is not a chunk."""
        if frame.kind != "chunk" or frame.document is None or frame.name is None:
            return []
        return self._output.read(frame.name, frame.document)
