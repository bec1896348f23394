"""One call as the house decides on it: which model, how much, and what the caller wants of routing.

What the caller says to the model is not here: it stays in the caller's bytes, or becomes a ``Conversation`` where it
crosses from one dialect to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

TaskType = Literal["reasoning", "code", "extraction", "chat", "tool_use", "embed", "general"]
Preset = Literal["balanced", "latency_first", "cost_first", "quality_first", "compliance_first", "strict_no_fallback"]
ContextScalar = str | int | Decimal | bool | None
ContextValue = ContextScalar | tuple[ContextScalar, ...]


class RoutingHint(Struct, frozen=True):
    """The caller's wishes for routing. Money in pico-USD, times in milliseconds."""

    min_quality: Decimal | None = None
    budget_cap_picousd: int | None = None
    latency_cap_ms: int | None = None
    agentic_floor: Decimal | None = None
    preset: Preset | None = None
    routing_preference: str | None = None
    context: Mapping[str, ContextValue] = {}


class Caps(Struct, frozen=True):
    """Hard caps of this one call."""

    budget_picousd: int | None = None
    latency_ms: int | None = None


def _smaller(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    if right is None:
        return left
    return min(left, right)


class ChatRequest(Struct, frozen=True):
    """The facts of one request. None means the caller did not say.

    ``needs`` are the capabilities a model must have. ``thinking_tokens`` is a budget for thinking that the output
    limit must leave room for. ``caches_an_hour`` says that a cache mark in it may ask for an hour. ``include_usage`` says that the caller asked to see usage in the stream.
    """

    model: str
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    thinking_tokens: int = 0
    caches_an_hour: bool = False
    agent_id: str | None = None
    routing_hint: RoutingHint = RoutingHint()
    task_type: TaskType | None = None
    caps: Caps = Caps()
    tags: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()

    @property
    def budget_cap_picousd(self) -> int | None:
        """The tighter of the two budgets a caller may name."""
        return _smaller(self.routing_hint.budget_cap_picousd, self.caps.budget_picousd)

    @property
    def latency_cap_ms(self) -> int | None:
        """The tighter of the two latency caps a caller may name."""
        return _smaller(self.routing_hint.latency_cap_ms, self.caps.latency_ms)
