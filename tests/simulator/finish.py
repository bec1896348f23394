"""Why an answer ends, in each dialect's words: `finish=` may be given in the words of any of them."""

from __future__ import annotations

from typing import Final

_TO_OPENAI: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_TO_ANTHROPIC: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "model_length": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "error": "end_turn",
}
REASONS: Final = frozenset({*_TO_OPENAI, *_TO_ANTHROPIC, "null"})


def openai_finish(told: str | None, truth: str) -> str | None:
    """The `finish_reason` of a choice; None when it was told to say none."""
    chosen = truth if told is None else told
    return None if chosen == "null" else _TO_OPENAI.get(chosen, chosen)


def anthropic_finish(told: str | None, truth: str) -> str | None:
    """The `stop_reason` of a message; None when it was told to say none."""
    chosen = truth if told is None else told
    return None if chosen == "null" else _TO_ANTHROPIC.get(chosen, chosen)
