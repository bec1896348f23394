"""A whole answer, whichever way it came."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from ainfera_gateway.canonical.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}


def map_finish_reason(native: str | None) -> FinishReason | None:
    """The closed set of the contract for a provider's own word; an unknown word is ``stop``, none is None."""
    if not native:
        return None
    return _FINISH.get(native.lower(), "stop")


class AnsweredText(Struct, frozen=True):
    """A stretch of visible text."""

    text: str


class AnsweredThinking(Struct, frozen=True):
    """A stretch of reasoning with its maker's signature, or only what the maker redacted."""

    text: str
    signature: str | None = None
    redacted: str | None = None


class AnsweredToolCall(Struct, frozen=True):
    """One call the model asks for. ``arguments`` is its text exactly as generated, JSON or not.

    ``thought_signature`` is Google's signature over the reasoning behind the call.
    """

    id: str
    name: str
    arguments: str
    thought_signature: str | None = None


Block = AnsweredText | AnsweredThinking | AnsweredToolCall


class ChatResponse(Struct, frozen=True):
    """A whole answer (one choice). ``content`` is "" for pure tool calls; ``content_blocks`` is None for plain text.

    ``blocks`` is all that was answered, in the order in which it began.
    """

    content: str = ""
    thinking: str = ""
    content_blocks: list[dict[str, Any]] | None = None
    tool_calls: tuple[AnsweredToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    finish_reason_native: str | None = None
    usage: Usage | None = None
    model: str | None = None
    blocks: tuple[Block, ...] = ()
    stop_sequence: str | None = None
