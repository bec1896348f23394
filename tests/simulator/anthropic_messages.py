"""Strict validation of `messages`: turns, tool results that answer tool uses, thoughts that must come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .anthropic_blocks import check_block, check_type, need, only, refuse


@dataclass(slots=True)
class _Turn:
    """Neighbouring messages of one role, which count as one; `start` is the place of the first."""

    role: str
    start: int
    blocks: list[Mapping[str, Any]] = field(default_factory=list)


def check_messages(messages: Sequence[Any], *, system_allowed: bool, thinking: bool, thoughts_required: bool) -> None:
    """Refuses a conversation the provider would refuse.

    `system_allowed`: messages of the role `system` are taken. `thinking`: thinking is on. `thoughts_required`: the
    turns of a running tool loop must begin with their thoughts.
    """
    if not messages:
        raise refuse("messages", "at least one message is required")
    turns: list[_Turn] = []
    for position, message in enumerate(messages):
        blocks, role = _check_message(message, position, last=position == len(messages) - 1, system=system_allowed)
        if role == "system":
            continue
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role, position))
        turns[-1].blocks += blocks
    _check_tool_turns(turns)
    if turns and turns[-1].role == "assistant":
        _check_prefill(turns[-1], thinking=thinking)
    if thoughts_required:
        _check_thoughts(turns)


def _check_message(message: object, position: int, *, last: bool, system: bool) -> tuple[list[Mapping[str, Any]], str]:
    path = f"messages.{position}"
    check_type(message, path, dict)
    assert isinstance(message, dict)
    role = need(message, "role", path, str)
    if role == "system" and not system:
        raise refuse("messages", "no message may have the role `system`; the system prompt is a member of the request")
    if role not in ("user", "assistant", "system"):
        raise refuse(f"{path}.role", "Input should be 'user' or 'assistant'")
    only(message, {"role", "content"}, path)
    content = need(message, "content", path, (str, list))
    if not content and not (last and role == "assistant"):
        raise refuse(path, "every message but a last one of the assistant must have non-empty content")
    if isinstance(content, str):
        return ([{"type": "text", "text": content}] if content else []), role
    for place, block in enumerate(content):
        check_block(block, role, f"{path}.content.{place}")
    return content, role


def _uses(turn: _Turn) -> list[str]:
    return [block["id"] for block in turn.blocks if block["type"] == "tool_use"]


def _results(turn: _Turn) -> list[str]:
    return [block["tool_use_id"] for block in turn.blocks if block["type"] == "tool_result"]


def _check_tool_turns(turns: Sequence[_Turn]) -> None:
    asked: list[str] = []
    for turn in turns:
        where = f"messages.{turn.start}"
        if turn.role == "assistant":
            asked = _uses(turn)
            if len(set(asked)) != len(asked):
                raise refuse(where, "`tool_use` ids must be unique")
            continue
        answered = _results(turn)
        for name in answered:
            if name not in asked:
                raise refuse(
                    where, f"unexpected `tool_use_id` in a `tool_result` block: {name}, no `tool_use` before it"
                )
        if len(set(answered)) != len(answered):
            raise refuse(where, "each `tool_use` takes a single `tool_result`")
        # Results come first in their turn; whatever stands before one hides it.
        leading = next((n for n, block in enumerate(turn.blocks) if block["type"] != "tool_result"), len(turn.blocks))
        found = {block["tool_use_id"] for block in turn.blocks[:leading]}
        _refuse_unanswered([name for name in asked if name not in found], turn.start - 1)
        asked = []
    _refuse_unanswered(asked, turns[-1].start if turns else 0)


def _refuse_unanswered(missing: Sequence[str], position: int) -> None:
    if missing:
        names = ", ".join(missing)
        raise refuse(f"messages.{position}", f"`tool_use` ids without `tool_result` blocks right after them: {names}")


def _check_prefill(turn: _Turn, *, thinking: bool) -> None:
    if thinking and turn.blocks:
        raise refuse(f"messages.{turn.start}", "with thinking the conversation may not end with an `assistant` message")
    if turn.blocks and turn.blocks[-1]["type"] == "text" and turn.blocks[-1]["text"][-1:].isspace():
        raise refuse("messages", "a last `assistant` content may not end with whitespace")


def _check_thoughts(turns: Sequence[_Turn]) -> None:
    """In the running tool loop every turn that uses tools begins with its thoughts."""
    for turn in reversed(turns):
        if turn.role == "user":
            if not _results(turn):
                return
            continue
        kinds = [block["type"] for block in turn.blocks]
        if "tool_use" in kinds and not {"thinking", "redacted_thinking"} & set(kinds[: kinds.index("tool_use")]):
            raise refuse(
                f"messages.{turn.start}.content.0.type",
                f"Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`: with thinking on, a turn of a "
                "tool loop begins with the thoughts it was given with",
            )
