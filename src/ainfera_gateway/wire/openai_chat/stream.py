"""Read a streamed answer frame by frame, and write the caller's stream from it."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.events import MessageDelta, StreamEvent
from ainfera_gateway.canonical.response import FinishReason, map_finish_reason
from ainfera_gateway.canonical.usage import Usage, merge
from ainfera_gateway.wire.frame import Frame
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.message import CallPlaces, read_spoken, spoken_events, spoken_text
from ainfera_gateway.wire.openai_chat.usage import read_usage
from ainfera_gateway.wire.sse import EVENT_BYTES_MAX, SseSplitter, read_event


class StreamReader:
    """Bytes of a provider's stream in, frames out; keeps what the settlement needs to know.

    ``usage`` merges every report, ``finish_reason`` is the last one given, ``visible`` whether any frame was;
    ``done`` whether ``[DONE]`` came, ``complete`` whether the answer ended as an answer ends.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._splitter = SseSplitter(event_bytes_max)
        self._failed = False
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.finish_reason_native: str | None = None
        self.model: str | None = None
        self.visible = False
        self.done = False

    @property
    def complete(self) -> bool:
        """Whether a finish reason or ``[DONE]`` came; a stream that stops before either was cut off."""
        return self.done or self.finish_reason is not None

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
        frame = read_frame(raw)
        if frame.kind == "done":
            self.done = True
        elif frame.document is not None:
            if frame.usage is not None:
                self.usage = merge(self.usage, frame.usage)
            if frame.finish_reason is not None:
                self.finish_reason = frame.finish_reason
                self.finish_reason_native = frame.finish_reason_native
            if self.model is None and isinstance(model := frame.document.get("model"), str):
                self.model = model or None
            self.visible = self.visible or frame.visible
        return frame


def read_frame(raw: bytes) -> Frame:
    """One event as a frame."""
    event = read_event(raw)
    data = event.data
    if data is None or not data.strip():
        return Frame(raw, "garbage" if event.strange else "comment")
    if data.strip() == b"[DONE]":
        return Frame(raw, "done", data, event.data_start, event.plain)
    try:
        document = read_json(data)
    except ValueError:
        return Frame(raw, "garbage", data)
    if event.name == "error" or (isinstance(document, dict) and document.get("error")):
        whole = document if isinstance(document, dict) else {"error": document}
        return Frame(raw, "error", data, document=whole, usage=read_usage(whole.get("usage")))
    if not isinstance(document, dict):
        return Frame(raw, "garbage", data)
    return _read_chunk(raw, data, event.data_start, event.plain, document)


def _read_chunk(raw: bytes, data: bytes, data_start: int, plain: bool, document: dict[str, Any]) -> Frame:
    choices = document.get("choices")
    sent_usage = document.get("usage") or _of_groq(document)
    usage = read_usage(sent_usage) if sent_usage else None
    text = ""
    native: str | None = None
    visible = calls = False
    listed = choices if isinstance(choices, list) else ()
    for choice in listed:
        if not isinstance(choice, dict):
            continue
        spoken = read_spoken(choice.get("delta"))
        if spoken.visible:
            visible = True
            calls = calls or bool(spoken.calls)
            text += spoken_text(spoken)
        reason = choice.get("finish_reason")
        if reason and isinstance(reason, str):
            native = reason
    return Frame(
        raw,
        "chunk",
        data,
        data_start,
        plain,
        document,
        visible,
        len(text),
        len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")),
        calls,
        map_finish_reason(native),
        native,
        usage,
        usage is not None and not listed,
    )


def _of_groq(document: dict[str, Any]) -> Any:
    """Groq's own place for the usage of a stream."""
    own = document.get("x_groq")
    return own.get("usage") if isinstance(own, dict) else None


class EventDecoder:
    """Frames of one stream in, canonical events out; it remembers which tool call a fragment belongs to."""

    def __init__(self) -> None:
        self._places = CallPlaces()

    def events(self, frame: Frame) -> list[StreamEvent]:
        """The events of one frame; none for what is not a chunk."""
        if frame.kind != "chunk" or frame.document is None:
            return []
        events: list[StreamEvent] = []
        choices = frame.document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            place = index if isinstance(index, int) else 0
            events += spoken_events(read_spoken(choice.get("delta")), place, self._places)
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                events.append(MessageDelta(map_finish_reason(reason), reason, choice=place))
        model = frame.document.get("model")
        if frame.usage is not None or (model and isinstance(model, str)):
            events.append(MessageDelta(usage=frame.usage, model=model if isinstance(model, str) else None))
        return events
