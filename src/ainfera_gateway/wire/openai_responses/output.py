"""What a response says, item by item, whether it came in fragments or whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
)
from ainfera_gateway.canonical.response import FinishReason
from ainfera_gateway.wire.openai_chat.surrogates import encodable
from ainfera_gateway.wire.openai_responses.usage import read_usage

# Of each kind of part: the member of a part, or of its done event, that holds its whole text.
_TEXT_OF = {"text": "text", "refusal": "refusal", "summary": "text", "reasoning": "text"}
_PART_KINDS = {"output_text": "text", "refusal": "refusal", "summary_text": "summary", "reasoning_text": "reasoning"}
_EVENT_KINDS = {
    "response.output_text": "text",
    "response.refusal": "refusal",
    "response.reasoning_summary_text": "summary",
    "response.reasoning_text": "reasoning",
}
_ARGUMENTS = "response.function_call_arguments"
_ENDS = frozenset({"response.completed", "response.incomplete"})
_CUT_SHORT: dict[str, FinishReason] = {"content_filter": "content_filter"}
_HALF = re.compile("[\ud800-\udfff]")

_Part = tuple[int, str, int]


class _Call:
    """One function call: its ``place`` among the calls of the answer, and what was told of it."""

    __slots__ = ("argued", "call_id", "place", "started")

    def __init__(self, place: int, call_id: str) -> None:
        self.place = place
        self.call_id = call_id
        self.started = False
        self.argued = False


class OutputReader:
    """Documents of one response in, canonical events out.

    A provider says most things three times: in fragments, when a part is done, and when its item is. What was told in
    fragments is not told again; what never came in fragments is told once it is there whole. An answer that comes
    only with the last event is read from there. Parts of reasoning that follow one another are set apart by a blank
    line. ``spoke`` tells whether anything of the answer came yet.
    """

    def __init__(self) -> None:
        self._told: set[_Part] = set()
        self._calls: dict[str | int, _Call] = {}
        self._calls_count = 0
        self._thinking: _Part | None = None
        self._halves: dict[_Part, str] = {}
        self.spoke = False

    def read(self, kind: str, document: dict[str, Any]) -> list[StreamEvent]:
        """The events of one document of a stream, whose ``type`` is ``kind``."""
        if kind.endswith(".delta"):
            return self._fragment(kind.removesuffix(".delta"), document)
        sent = document.get("response")
        response = sent if isinstance(sent, dict) else {}
        if kind in _ENDS:
            return self._flush() + self.end(response, cut=kind == "response.incomplete")
        if kind.endswith((".added", ".done")):
            return self._flush() + self._step(kind, document)
        told = MessageDelta(usage=read_usage(response.get("usage")), model=_text(response, "model") or None)
        return [] if told == MessageDelta() else [told]

    def end(self, response: dict[str, Any], *, cut: bool = False) -> list[StreamEvent]:
        """The events of a whole response: what was not told yet, and how it ended. ``cut``: it is not whole."""
        events: list[StreamEvent] = []
        if not self.spoke:
            output = response.get("output")
            for place, item in enumerate(output if isinstance(output, list) else ()):
                if isinstance(item, dict):
                    events += self._item(place, item)
        reason, native = self._finish(response, cut=cut)
        usage, model = read_usage(response.get("usage")), _text(response, "model") or None
        events.append(MessageDelta(reason, native, usage, model))
        return events

    def _finish(self, response: dict[str, Any], *, cut: bool) -> tuple[FinishReason, str]:
        if cut or response.get("status") == "incomplete":
            details = response.get("incomplete_details")
            native = (_text(details, "reason") if isinstance(details, dict) else "") or "incomplete"
            # Whatever cut it short, an answer that is not whole must not pass for one that is.
            return _CUT_SHORT.get(native, "length"), native
        return ("tool_calls" if self._calls_count else "stop"), "completed"

    def _step(self, kind: str, document: dict[str, Any]) -> list[StreamEvent]:
        """An item that begins, or something that is done."""
        subject = kind.removesuffix(".done")
        if subject != kind and (subject == _ARGUMENTS or subject in _EVENT_KINDS):
            return self._whole(subject, document)
        place, item = _index(document, "output_index"), document.get("item")
        if not isinstance(item, dict):
            return []
        if kind == "response.output_item.added" and item.get("type") == "function_call":
            return self._start(self._call(place, _text(item, "id"), _text(item, "call_id")), item)
        return self._item(place, item) if kind == "response.output_item.done" else []

    def _fragment(self, subject: str, document: dict[str, Any]) -> list[StreamEvent]:
        text = _text(document, "delta")
        if subject == _ARGUMENTS:
            call = self._call(_index(document, "output_index"), _text(document, "item_id"))
            return self._argue(call, text)
        kind = _EVENT_KINDS.get(subject)
        return self._say(_part(kind, document), text) if kind else []

    def _whole(self, subject: str, document: dict[str, Any]) -> list[StreamEvent]:
        if subject == _ARGUMENTS:
            call = self._call(_index(document, "output_index"), _text(document, "item_id"))
            return [] if call.argued else self._argue(call, _text(document, "arguments")) + self._flush()
        kind = _EVENT_KINDS[subject]
        part = _part(kind, document)
        return [] if part in self._told else self._say(part, _text(document, _TEXT_OF[kind])) + self._flush()

    def _item(self, place: int, item: dict[str, Any]) -> list[StreamEvent]:
        if item.get("type") == "function_call":
            call = self._call(place, _text(item, "id"), _text(item, "call_id"))
            events = self._start(call, item)
            return events if call.argued else events + self._argue(call, _text(item, "arguments")) + self._flush()
        parts = [part for name in ("summary", "content") for part in _numbered(item.get(name))]
        events = []
        kinds = {kind for number, kind, _ in self._told if number == place}
        for number, part in parts:
            kind = _PART_KINDS.get(_text(part, "type"))
            if kind is not None and kind not in kinds:
                events += self._say((place, kind, number), _text(part, _TEXT_OF[kind])) + self._flush()
        return events

    def _call(self, place: int, item_id: str, call_id: str = "") -> _Call:
        """The call that an item or a fragment belongs to. Ids come before places: some providers number badly."""
        call = self._calls.get(item_id) or self._calls.get(place)
        if call is None or (call_id and call.call_id and call_id != call.call_id):
            call = _Call(self._calls_count, call_id)
            self._calls_count += 1
        call.call_id = call.call_id or call_id
        self._calls[place] = call
        if item_id:
            self._calls[item_id] = call
        return call

    def _start(self, call: _Call, item: dict[str, Any]) -> list[StreamEvent]:
        call_id, name = call.call_id or _text(item, "id"), _text(item, "name")
        if call.started or not (call_id or name):
            return []
        call.started = self.spoke = True
        self._thinking = None
        return [ToolUseStart(call.place, encodable(call_id), encodable(name))]

    def _argue(self, call: _Call, text: str) -> list[StreamEvent]:
        if text:
            call.argued = self.spoke = True
        text = self._paired((call.place, "arguments", 0), text)
        if not text:
            return []
        return [ToolUseDelta(call.place, text)]

    def _say(self, part: _Part, text: str) -> list[StreamEvent]:
        if text:
            self._told.add(part)
            self.spoke = True
        text = self._paired(part, text)
        if not text:
            return []
        if part[1] in {"text", "refusal"}:
            self._thinking = None
            return [ContentDelta(text)]
        apart = self._thinking is not None and self._thinking != part
        self._thinking = part
        return [ThinkingDelta("\n\n" + text if apart else text)]

    def _paired(self, part: _Part, text: str) -> str:
        """``text`` behind the half of a character that its part was left with; its own last half is kept back."""
        text = self._halves.pop(part, "") + text
        if _HALF.search(text) is None:
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            self._halves[part] = text[-1]
            text = text[:-1]
        return encodable(text)

    def _flush(self) -> list[StreamEvent]:
        """Halves whose other half never came, as the replacement character."""
        events: list[StreamEvent] = []
        for part in list(self._halves):
            del self._halves[part]
            if part[1] == "arguments":
                events.append(ToolUseDelta(part[0], "\ufffd"))
            else:
                events += self._say(part, "\ufffd")
        return events


def spoken_text(events: Iterable[StreamEvent]) -> str:
    """All that was generated in ``events``, for counting: text, reasoning, names and arguments of calls."""
    pieces: list[str] = []
    for event in events:
        match event:
            case ContentDelta(text=text) | ThinkingDelta(text=text):
                pieces.append(text)
            case ToolUseStart(name=name):
                pieces.append(name)
            case ToolUseDelta(arguments=arguments):
                pieces.append(arguments)
            case _:
                pass
    return "".join(pieces)


def failure(kind: str | None, document: dict[str, Any]) -> dict[str, Any] | None:
    """The error that a document of type ``kind`` tells, as ``{"error": {…}}``; None when it tells of none."""
    sent = document.get("error")
    if isinstance(sent, dict) and sent:
        return {"error": sent}
    if kind == "error":
        told = {name: document[name] for name in ("code", "message", "param") if document.get(name) is not None}
        return {"error": told or {"message": sent if isinstance(sent, str) and sent else "the provider failed"}}
    if sent:
        return {"error": {"message": sent if isinstance(sent, str) else "the provider failed"}}
    response = document.get("response")
    whole = response if isinstance(response, dict) else {}
    if kind == "response.failed" or _text(whole, "status") in {"failed", "cancelled"}:
        inner = whole.get("error")
        return {"error": inner if isinstance(inner, dict) and inner else {"message": "the provider failed"}}
    return None


def _part(kind: str, document: dict[str, Any]) -> _Part:
    inner = "summary_index" if kind == "summary" else "content_index"
    return _index(document, "output_index"), kind, _index(document, inner)


def _numbered(parts: Any) -> list[tuple[int, dict[str, Any]]]:
    listed = parts if isinstance(parts, list) else []
    return [(number, part) for number, part in enumerate(listed) if isinstance(part, dict)]


def _index(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) else 0


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
