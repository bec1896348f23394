"""Blocks of an answer, plain or streamed: the same events come of both."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.canonical.events import (
    ContentDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
)
from ainfera_gateway.canonical.response import FinishReason, map_finish_reason
from ainfera_gateway.wire.openai_chat.surrogates import encodable

_LENGTH = "model_context_window_exceeded"
_RUN_BY_PROVIDER = frozenset({"server_tool_use", "mcp_tool_use"})


def finish_reason(native: str | None) -> FinishReason | None:
    """The closed set of the contract for this dialect's ``stop_reason``."""
    return "length" if native == _LENGTH else map_finish_reason(native)


def text_of(value: Any) -> str:
    """``value`` if it is text, else nothing."""
    return value if isinstance(value, str) else ""


def block_text(block: dict[str, Any]) -> str:
    """All that was generated in a block as it begins, for counting: text, reasoning, the name of a call."""
    kind = block.get("type")
    if kind == "tool_use" or kind in _RUN_BY_PROVIDER:
        told = block.get("input")
        return text_of(block.get("name")) + (input_text(told) if told else "")
    return text_of(block.get("text")) + text_of(block.get("thinking")) + text_of(block.get("content"))


def delta_text(delta: dict[str, Any]) -> str:
    """All that was generated in a delta, for counting."""
    return "".join(text_of(delta.get(name)) for name in ("text", "thinking", "partial_json", "content"))


def block_events(block: dict[str, Any], call_index: int) -> list[StreamEvent]:
    """The events of a block as it begins: all of it in a plain answer, mostly nothing but its kind in a stream.

    Blocks that have no canonical form (tools that the provider runs, and their results) give none.
    """
    events: list[StreamEvent] = []
    match block.get("type"):
        case "text":
            if text := text_of(block.get("text")):
                events.append(ContentDelta(text))
        case "thinking":
            text, signature = text_of(block.get("thinking")), text_of(block.get("signature")) or None
            if text or signature:
                events.append(ThinkingDelta(text, signature))
        case "redacted_thinking":
            events.append(RedactedThinking(text_of(block.get("data"))))
        case "tool_use":
            events.append(ToolUseStart(call_index, text_of(block.get("id")), text_of(block.get("name"))))
            if told := block.get("input"):
                events.append(ToolUseDelta(call_index, input_text(told)))
    return events


def input_text(value: Any) -> str:
    """The JSON text of a call's input."""
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, RecursionError, OverflowError):
        return encodable(_escaped(value))


def _escaped(value: Any) -> str:
    """JSON of a value whose text holds half a surrogate pair."""
    if isinstance(value, str):
        return msgspec.json.encode(encodable(value)).decode()
    if isinstance(value, dict):
        return "{" + ",".join(f"{_escaped(name)}:{_escaped(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_escaped, value)) + "]"
    return msgspec.json.encode(value).decode()
