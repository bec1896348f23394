"""One chat request, the shape every dialect is read into.

A ``Raw`` field is the JSON of a value nobody here looks into; ``null`` when it was not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
TaskType = Literal["reasoning", "code", "extraction", "chat", "tool_use", "embed", "general"]
Preset = Literal["balanced", "latency_first", "cost_first", "quality_first", "compliance_first", "strict_no_fallback"]
MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
ContextScalar = str | int | Decimal | bool | None
ContextValue = ContextScalar | tuple[ContextScalar, ...]


class ImageUrl(Struct, frozen=True):
    """An image by URL or ``data:`` URL."""

    url: str
    detail: str | None = None


class InputAudio(Struct, frozen=True):
    """Audio as base64 text, with its container format."""

    data: str
    format: str | None = None


class ContentPart(Struct, frozen=True):
    """One part of a message. ``type`` is open: a part this gateway does not know is carried, not judged."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: Raw = Raw(b"null")


class FunctionCall(Struct, frozen=True):
    """Name and argument text of a call an assistant made earlier."""

    name: str
    arguments: str = ""


class ToolCall(Struct, frozen=True):
    """A call an assistant made earlier, as the caller sends it back."""

    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class Message(Struct, frozen=True):
    """One message. ``content`` is text, parts, or None (an assistant that only called tools)."""

    role: Role
    content: str | tuple[ContentPart, ...] | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class FunctionSpec(Struct, frozen=True):
    """A function the model may call. ``parameters`` is its JSON schema, unread."""

    name: str
    description: str | None = None
    parameters: Raw = Raw(b"null")
    strict: bool | None = None


class Tool(Struct, frozen=True):
    """A tool the model may call; ``type`` is open."""

    type: str | None = None
    function: FunctionSpec | None = None


class ToolChoice(Struct, frozen=True):
    """``mode`` is auto, none, required, or a named form (function, custom, allowed_tools …) with its ``name``."""

    mode: str
    name: str | None = None


class StreamOptions(Struct, frozen=True):
    """What the caller wants of a stream."""

    include_usage: bool | None = None


class ResponseFormat(Struct, frozen=True):
    """``type`` is text, json_object or json_schema; ``json_schema`` is unread."""

    type: str
    json_schema: Raw = Raw(b"null")


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
    """One chat request. None means the caller did not say."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    max_tokens: int | None = None
    max_tokens_field: MaxTokensField | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    response_format: ResponseFormat | None = None
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
