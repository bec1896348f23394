"""The fields of a chat completions request that this gateway reads, in the dialect's own form.

A ``Raw`` field is the JSON of a value nobody here looks into; ``null`` when it was not sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from ainfera_gateway.canonical.request import TaskType
from ainfera_gateway.wire.routing_inputs import CapFields, HintFields, MetadataFields

TOKENS_MAX = 2**31
CHOICES_MAX = 128

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
_Tokens = Annotated[int, Meta(ge=1, le=TOKENS_MAX)]


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


class ThinkingBlock(Struct, frozen=True):
    """Reasoning that Anthropic signed, or redacted (``data``)."""

    type: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class Message(Struct, frozen=True):
    """One message. ``content`` is text, parts, or None (an assistant that only called tools).

    ``function_call`` is the older form of a single call. ``reasoning_content`` and ``thinking_blocks`` are what an
    assistant thought, on its way back to those who want it.
    """

    role: Role
    content: str | tuple[ContentPart, ...] | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    function_call: FunctionCall | None = None
    reasoning_content: str | None = None
    thinking_blocks: tuple[ThinkingBlock, ...] | None = None


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


class ReasoningFields(Struct, frozen=True):
    """How much to think, in OpenRouter's words."""

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    summary: str | None = None


class ThinkingFields(Struct, frozen=True):
    """How much to think, in Anthropic's words: ``type`` is enabled, disabled or adaptive."""

    type: str | None = None
    budget_tokens: int | None = None


class StreamOptions(Struct, frozen=True):
    """What the caller wants of a stream."""

    include_usage: bool | None = None


class ResponseFormat(Struct, frozen=True):
    """``type`` is text, json_object or json_schema; ``json_schema`` is unread."""

    type: str
    json_schema: Raw = Raw(b"null")


class ChatBody(Struct, frozen=True):
    """The fields this gateway reads; null means the same as absent, as the dialect has it."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: str | tuple[str, ...] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    response_format: ResponseFormat | None = None
    modalities: tuple[str, ...] | None = None
    functions: tuple[FunctionSpec, ...] | None = None
    function_call: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    reasoning: ReasoningFields | None = None
    thinking: ThinkingFields | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    agent_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    routing_hint: HintFields | None = None
    task_type: TaskType | None = None
    caps: CapFields | None = None
    metadata: MetadataFields | None = None
