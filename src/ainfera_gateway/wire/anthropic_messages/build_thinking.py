"""How a model of this dialect is asked to think."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ainfera_gateway.canonical.conversation import (
    Conversation,
    Effort,
    Reasoning,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
)
from ainfera_gateway.wire.anthropic_messages.generations import abilities
from ainfera_gateway.wire.passage import Terms

BUDGET_MIN = 1024
_BUDGETS: dict[Effort, int] = {
    "minimal": BUDGET_MIN,
    "low": BUDGET_MIN,
    "medium": 4096,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
_DISPLAYS = frozenset({"summarized", "omitted"})


class Thought(Struct, frozen=True):
    """The value of ``thinking`` ({} for none), and what stands in ``output_config`` for it."""

    thinking: dict[str, Any] = {}
    output: dict[str, Any] = {}


def decide_thinking(conversation: Conversation, terms: Terms, dropped: list[str]) -> Thought:
    """What to ask for. Effort goes with adaptive thinking where the model knows it, else it becomes a budget.

    Within a budget the provider refuses to think where a call is forced, where the answer continues the caller's
    words, and inside a loop of tools whose reasoning did not come back with its signature: there thinking is left out.
    Whatever is left out is named in ``dropped``.
    """
    asked = conversation.reasoning
    if asked is None or asked.effort == "none":
        return Thought()
    field = "reasoning_effort" if asked.effort is not None else "thinking"
    takes = abilities(terms.upstream_model)
    within_budget = takes.budget and (asked.budget_tokens is not None or not takes.adaptive)
    if not within_budget:
        if asked.budget_tokens is not None:
            dropped.append("thinking.budget_tokens")
        return _adaptive(conversation, asked, field, dropped)
    budget = _budget(asked, terms.max_tokens)
    if budget is None or _cannot_think(conversation):
        dropped.append(field)
        return Thought()
    return Thought(
        {"type": "enabled", "budget_tokens": budget, **_display(asked)}, _effort(asked, known=takes.adaptive)
    )


def _adaptive(conversation: Conversation, asked: Reasoning, field: str, dropped: list[str]) -> Thought:
    if _continues_assistant(conversation):
        dropped.append(field)
        return Thought(output=_effort(asked, known=True))
    return Thought({"type": "adaptive", **_display(asked)}, _effort(asked, known=True))


def _budget(asked: Reasoning, max_tokens: int) -> int | None:
    """The budget in tokens; None where ``max_tokens`` has no room for one. One made from an effort leaves half of it."""
    if asked.budget_tokens is not None:
        return asked.budget_tokens if BUDGET_MIN <= asked.budget_tokens < max_tokens else None
    budget = min(_BUDGETS[asked.effort or "medium"], max_tokens // 2)
    return budget if budget >= BUDGET_MIN else None


def _effort(asked: Reasoning, *, known: bool) -> dict[str, Any]:
    if asked.effort is None or not known:
        return {}
    return {"effort": "low" if asked.effort == "minimal" else asked.effort}


def _display(asked: Reasoning) -> dict[str, Any]:
    return {"display": asked.summary} if asked.summary in _DISPLAYS else {}


def _cannot_think(conversation: Conversation) -> bool:
    choice = conversation.choice
    forced = choice is not None and choice.mode in {"required", "named"}
    return forced or _continues_assistant(conversation) or _loop_lost_thinking(conversation.turns)


def _continues_assistant(conversation: Conversation) -> bool:
    return conversation.turns[-1].role == "assistant" if conversation.turns else False


def _loop_lost_thinking(turns: tuple[Turn, ...]) -> bool:
    """Whether the last words are results of calls whose turn has no signed reasoning before them."""
    place = len(turns)
    results = False
    while place and turns[place - 1].role != "assistant":
        place -= 1
        results = results or any(isinstance(part, ToolResult) for part in turns[place].parts)
    if not results or not place:
        return False
    for part in turns[place - 1].parts:
        if isinstance(part, Thinking) and part.maker == "anthropic" and (part.signature or part.redacted is not None):
            return False
        if isinstance(part, ToolUse):
            return True
    return False
