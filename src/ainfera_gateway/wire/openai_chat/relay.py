"""The caller's stream: the provider's frames, with the slug that served and what the gateway adds."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.frame import Frame
from ainfera_gateway.wire.json_splice import Member, splice
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.answer import answer_members, splice_named
from ainfera_gateway.wire.openai_chat.shared_members import ainfera_object
from ainfera_gateway.wire.openai_chat.usage import read_usage, usage_object
from ainfera_gateway.wire.passage import Closing

DONE = b"data: [DONE]\n\n"
_HEAD_BYTES_MAX = 2048


class StreamRelay:
    """Turns frames of a provider into the caller's bytes, one by one, without holding any back but the last.

    In a chunk only the value of the top-level ``model`` changes. A chunk that holds nothing but usage, and ``[DONE]``,
    are kept until ``finish``: what they say is true only once the call is settled. Usage that a provider states beside
    text or a finish reason is null there for a caller who asked for the usage chunk, and stands in that one: clients
    add up what chunks say. ``text_chars`` and ``text_bytes`` count what was generated in the frames relayed so far,
    ``visible`` whether the caller has seen any of it.
    """

    def __init__(self, *, model: str, include_usage: bool) -> None:
        self._model = msgspec.json.encode(model)
        self._model_text = model
        self._include_usage = include_usage
        self._head = b""
        self._head_out = b""
        self._usage_frame: Frame | None = None
        self._stated_usage = b"{}"
        self._identity: dict[str, Any] = {}
        self._finished = False
        self.text_chars = 0
        self.text_bytes = 0
        self.visible = False

    def relay(self, frame: Frame) -> bytes:
        """The bytes to send now; ``b""`` for what is kept, hidden, or no part of an answer (errors, garbage)."""
        kind = frame.kind
        if kind == "comment":
            return frame.raw
        if kind != "chunk":
            return b""
        if frame.is_usage_only:
            self._usage_frame = frame
            return b""
        if self._finished and _is_void_usage(frame):
            return b""
        self._finished = self._finished or frame.finish_reason_native is not None
        if frame.text_chars or frame.visible:
            self.text_chars += frame.text_chars
            self.text_bytes += frame.text_bytes
            self.visible = True
        if not self._identity.get("id") and frame.document is not None:
            self._identity = frame.document
        return self._with_model(frame)

    def finish(self, closing: Closing) -> bytes:
        """The end of a stream that went well: the usage chunk with its ``ainfera`` member, if asked, then ``[DONE]``.

        The usage that was settled fills a usage chunk of our own where the provider sent none.
        """
        if not self._include_usage:
            return DONE
        ainfera = ainfera_object(closing)
        frame = self._usage_frame
        if frame is None:
            return self._own_usage_chunk(ainfera, closing.usage) + DONE
        values = {"ainfera": ainfera}
        found = answer_members(frame.data)
        if _has_model(found):
            values["model"] = self._model
        return _reframed(frame, splice_named(frame.data, found, values)) + DONE

    def _own_usage_chunk(self, ainfera: bytes, usage: Usage) -> bytes:
        identity = self._identity
        answer_id = identity.get("id")
        created = identity.get("created")
        chunk = {
            "id": answer_id if isinstance(answer_id, str) else "",
            "object": "chat.completion.chunk",
            "created": created if isinstance(created, int) else 0,
            "model": self._model_text,
            "choices": [],
            "usage": Raw(self._own_usage(usage)),
            "ainfera": Raw(ainfera),
        }
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    def _own_usage(self, usage: Usage) -> bytes:
        """The provider's own last words, byte for byte, where they say what was settled; else with that set in them."""
        stated = self._stated_usage
        return stated if read_usage(read_json(stated)) == usage else _overlaid(stated, usage_object(usage))

    def _take_usage(self, frame: Frame, found: list[Member]) -> bytes:
        """The chunk without its usage, which is kept for the end where it reports anything."""
        spans = [member for member in found if member.key == "usage"]
        if frame.usage is not None:
            stated = frame.data[spans[-1].value_start : spans[-1].value_end]
            self._stated_usage = b"".join(stated.splitlines())
        values = {"usage": b"null"} | ({"model": self._model} if _has_model(found) else {})
        return _reframed(frame, splice_named(frame.data, found, values))

    def _with_model(self, frame: Frame) -> bytes:
        raw = frame.raw
        head = self._head
        states_usage = self._include_usage and isinstance((frame.document or {}).get("usage"), dict)
        if head and not states_usage and raw.startswith(head):
            # Up to the end of the value of ``model`` this event is the one before it, byte for byte, so the value
            # stands where it stood there. Only a second ``model`` further on could differ; the name cannot be written
            # without one of these two.
            rest = raw[len(head) :]
            if b'"model"' not in rest and b"\\u00" not in rest:
                return self._head_out + rest
        found = answer_members(frame.data)
        if states_usage:
            return self._take_usage(frame, found)
        places = [member for member in found if member.key == "model"]
        if not places:
            return raw
        data = splice(frame.data, found, {"model": self._model})
        if frame.plain:
            start = frame.data_start
            if len(places) == 1 and frame.data[places[0].value_start : places[0].value_start + 1] == b'"':
                end = start + places[0].value_end
                self._head = raw[:end] if end <= _HEAD_BYTES_MAX else b""
                self._head_out = raw[: start + places[0].value_start] + self._model
        return _reframed(frame, data)


def _has_model(found: list[Member]) -> bool:
    return any(member.key == "model" for member in found)


def _overlaid(stated: bytes, own: dict[str, Any]) -> bytes:
    """The object ``stated`` with the values of ``own`` set in it, in objects inside it likewise."""
    found = answer_members(stated)
    spans = {member.key: stated[member.value_start : member.value_end] for member in found}
    values: dict[str, bytes] = {}
    for name, value in own.items():
        inner = spans.get(name, b"")
        nested = isinstance(value, dict) and inner.startswith(b"{")
        values[name] = _overlaid(inner, value) if nested else msgspec.json.encode(value)
    return splice_named(stated, found, values)


def _is_void_usage(frame: Frame) -> bool:
    """A usage chunk that reports nothing: ours takes its place for a caller who asked, and no other expects one."""
    document = frame.document or {}
    return "usage" in document and not document["usage"] and not document.get("choices")


def _reframed(frame: Frame, data: bytes) -> bytes:
    """The event with another payload; all else in it as it was."""
    raw = frame.raw
    if frame.plain:
        return raw[: frame.data_start] + data + raw[frame.data_start + len(frame.data) :]
    lines: list[bytes] = []
    written = False
    for line in raw.splitlines(keepends=True):
        if not line.startswith(b"data"):
            lines.append(line)
        elif not written:
            written = True
            end = line[len(line.rstrip(b"\r\n")) :]
            lines += [b"data: " + part + end for part in data.split(b"\n")]
    return b"".join(lines)
