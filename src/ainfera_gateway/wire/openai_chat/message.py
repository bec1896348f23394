"""The message of a plain answer and the delta of a streamed one: the same fields, read the same way."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ainfera_gateway.canonical.events import (
    ContentDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
)


class Spoken(Struct, frozen=True):
    """What one message or delta says. ``calls`` are its tool calls as sent; the older single call is among them.

    ``blocks`` is signed or redacted reasoning, as a gateway of Anthropic's models sends it beside the text.
    """

    content: str
    refusal: str
    thinking: str
    calls: tuple[dict[str, Any], ...]
    audio: bool
    blocks: tuple[dict[str, Any], ...] = ()

    @property
    def visible(self) -> bool:
        """Whether a caller who sees this has seen a part of the answer."""
        return bool(self.content or self.refusal or self.thinking or self.calls or self.audio or self.blocks)


SILENT = Spoken("", "", "", (), False)


def read_spoken(sent: Any) -> Spoken:
    """What ``message`` or ``delta`` says; parts of unexpected form say nothing."""
    if not isinstance(sent, dict):
        return SILENT
    content = sent.get("content")
    thinking = sent.get("reasoning_content") or sent.get("reasoning") or ""
    if isinstance(content, list):
        content, among_parts = _read_parts(content)
        thinking = thinking or among_parts
    blocks = sent.get("thinking_blocks")
    known = tuple(block for block in blocks if isinstance(block, dict)) if isinstance(blocks, list) else ()
    if known and not isinstance(sent.get("reasoning_content"), str) and not thinking:
        thinking = _blocks_text(known)
    calls = sent.get("tool_calls")
    listed = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    single = sent.get("function_call")
    if isinstance(single, dict):
        listed.append({"function": single})
    return Spoken(
        content=content if isinstance(content, str) else "",
        refusal=_text(sent.get("refusal")),
        thinking=_text(thinking),
        calls=tuple(listed),
        audio=bool(sent.get("audio")),
        blocks=known,
    )


def spoken_text(spoken: Spoken) -> str:
    """All that was generated, for counting: text, reasoning, names and arguments of tool calls."""
    if not spoken.calls:
        return spoken.content + spoken.refusal + spoken.thinking
    pieces = [spoken.content, spoken.refusal, spoken.thinking]
    for call in spoken.calls:
        function = _function(call)
        pieces += (_text(function.get("name")), _text(function.get("arguments")) or _text(function.get("input")))
    return "".join(pieces)


class CallPlaces:
    """Which place each tool call has in its answer, over all frames of a stream.

    The provider's index, where it sends a usable one. Some send none, and some the same for every call: there a new
    id means a new call, and a fragment without id belongs to the call before it.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, int | None], tuple[int, str]] = {}
        self._taken: dict[int, set[int]] = {}

    def place(self, choice: int, index: int | None, call_id: str) -> int:
        """The place of the call that a fragment with this ``index`` and ``call_id`` ("" for none) belongs to."""
        key = (choice, index)
        known = self._open.get(key)
        if known is not None and (not call_id or not known[1] or call_id == known[1]):
            self._open[key] = (known[0], known[1] or call_id)
            return known[0]
        taken = self._taken.setdefault(choice, set())
        place = index if index is not None and index not in taken else max(taken, default=-1) + 1
        taken.add(place)
        self._open[key] = (place, call_id)
        return place


def spoken_events(spoken: Spoken, choice: int, places: CallPlaces) -> list[StreamEvent]:
    """The same as canonical events. A refusal is text to the caller, so it is content here."""
    events = _thinking_events(spoken, choice)
    if text := spoken.content + spoken.refusal:
        events.append(ContentDelta(text, choice=choice))
    for call in spoken.calls:
        function = _function(call)
        index = call.get("index")
        call_id, name = _text(call.get("id")), _text(function.get("name"))
        place = places.place(choice, index if isinstance(index, int) else None, call_id)
        if call_id or name:
            events.append(ToolUseStart(place, call_id, name, choice=choice, thought_signature=_thought_signature(call)))
        if arguments := _text(function.get("arguments")) or _text(function.get("input")):
            events.append(ToolUseDelta(place, arguments, choice=choice))
    return events


def _thinking_events(spoken: Spoken, choice: int) -> list[StreamEvent]:
    """Reasoning, by blocks where the blocks are its text; blocks that tell more than that only bring signatures."""
    events: list[StreamEvent] = []
    whole = _blocks_text(spoken.blocks) == spoken.thinking
    if spoken.thinking and not (whole and spoken.blocks):
        events.append(ThinkingDelta(spoken.thinking, choice=choice))
    for block in spoken.blocks:
        if data := _text(block.get("data")):
            events.append(RedactedThinking(data, choice=choice))
            continue
        text = _text(block.get("thinking")) if whole else ""
        signature = _text(block.get("signature")) or None
        if text or signature:
            events.append(ThinkingDelta(text, signature, choice=choice))
    return events


def _blocks_text(blocks: tuple[dict[str, Any], ...]) -> str:
    return "".join(_text(block.get("thinking")) for block in blocks)


def _thought_signature(call: dict[str, Any]) -> str | None:
    """Google's signature, which rides in a member of its own."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return _text(google.get("thought_signature")) or None if isinstance(google, dict) else None


def _read_parts(parts: list[Any]) -> tuple[str, str]:
    """Text and reasoning of a content that came as parts."""
    text: list[str] = []
    thinking: list[str] = []
    for part in parts:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            thinking.append(_read_parts(inner)[0] if isinstance(inner, list) else _text(inner))
        else:
            text.append(_text(part.get("text")))
    return "".join(text), "".join(thinking)


def _function(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or call.get("custom")
    return function if isinstance(function, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
