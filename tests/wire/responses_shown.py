"""What the responses codec makes of bytes, written out so that a person can compare it with them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from ainfera_gateway.canonical.events import StreamEvent
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame
from ainfera_gateway.wire.openai_responses.stream import EventDecoder, StreamReader


def read_stream(stream: bytes, cuts: Iterable[int] = ()) -> tuple[StreamReader, list[Frame]]:
    """The frames of ``stream`` when it arrives cut at ``cuts``."""
    reader = StreamReader()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    frames = [frame for start, end in itertools.pairwise(bounds) for frame in reader.feed(stream[start:end])]
    return reader, frames + reader.close()


def events_of(frames: Iterable[Frame]) -> list[StreamEvent]:
    """The events of one stream's frames."""
    decoder = EventDecoder()
    return [event for frame in frames for event in decoder.events(frame)]


def shown_stream(stream: bytes) -> bytes:
    """A line for each event, for each frame that is no chunk, and for how it ended."""
    reader, frames = read_stream(stream)
    decoder = EventDecoder()
    lines: list[Any] = []
    for frame in frames:
        if frame.kind == "chunk":
            lines += [{"kind": event.kind} | _set(event) for event in decoder.events(frame)]
        elif frame.kind == "error":
            lines.append({"frame": "error"} | (frame.document or {}))
        else:
            lines.append({"frame": frame.kind})
    lines.append({"end": "complete" if reader.complete else "cut off", "visible": reader.visible, "done": reader.done})
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def shown_answer(answer: Answer) -> bytes:
    """An answer's blocks, how it ended, and what it used."""
    response = answer.response
    lines = [{type(block).__name__: _set(block)} for block in response.blocks]
    end: dict[str, Any] = {
        "finish": [response.finish_reason, response.finish_reason_native],
        "usage": None if answer.usage is None else _set(answer.usage),
        "model": answer.model,
        "id": answer.id,
        "empty": answer.empty,
        "text_bytes": answer.text_bytes,
    }
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in [*lines, end])


def _set(value: Any) -> dict[str, Any]:
    """The fields of a struct that say something."""
    return {
        name: _set(field) if isinstance(field, msgspec.Struct) else field
        for name, field in msgspec.structs.asdict(value).items()
        if field is not None and (name, field) != ("choice", 0)
    }
