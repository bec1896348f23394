"""The fields of a messages request that this gateway reads, in the dialect's own form.

A ``Raw`` field is the JSON of a value nobody here looks into; ``null`` when it was not sent. Blocks, sources and
tools of a kind that is not known here are carried, not judged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from ainfera_gateway.canonical.request import TaskType
from ainfera_gateway.wire.routing_inputs import CapFields, HintFields, MetadataFields

TOKENS_MAX = 2**31
_NULL = Raw(b"null")

_Tokens = Annotated[int, Meta(ge=1, le=TOKENS_MAX)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class Source(Struct, frozen=True):
    """Where the bytes of an image or a document are: ``base64``, ``url``, ``file``, ``text`` or ``content``."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: Raw = _NULL


class TextBlock(Struct, frozen=True, tag_field="type", tag="text"):
    """Plain text."""

    text: str
    cache_control: Raw = _NULL


class ImageBlock(Struct, frozen=True, tag_field="type", tag="image"):
    """An image."""

    source: Source
    cache_control: Raw = _NULL


class DocumentBlock(Struct, frozen=True, tag_field="type", tag="document"):
    """A document."""

    source: Source
    title: str | None = None
    context: str | None = None
    cache_control: Raw = _NULL


class ThinkingBlock(Struct, frozen=True, tag_field="type", tag="thinking"):
    """Reasoning of an earlier turn; without a ``signature`` it was made by no model of this dialect."""

    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """Reasoning that its maker shows to nobody."""

    data: str


class ToolUseBlock(Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A call of a tool in an earlier turn."""

    id: str
    name: str
    input: dict[str, Raw]
    cache_control: Raw = _NULL


class ToolResultBlock(Struct, frozen=True, tag_field="type", tag="tool_result"):
    """What a tool gave; its content may hold text, images and documents."""

    tool_use_id: str
    content: str | tuple[Raw, ...] | None = None
    is_error: bool | None = None
    cache_control: Raw = _NULL


KnownBlock = (
    TextBlock | ImageBlock | DocumentBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | ToolResultBlock
)


class Kind(Struct, frozen=True):
    """What every block says of itself."""

    type: str


class Message(Struct, frozen=True):
    """One message: text, or blocks."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[Raw, ...]


class SystemBlock(Struct, frozen=True):
    """A part of the system prompt. ``type`` is open."""

    type: str
    text: str | None = None
    cache_control: Raw = _NULL


class Tool(Struct, frozen=True):
    """A tool: the caller's own (no ``type``, or ``custom``), or one of the provider's kinds."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw = _NULL
    strict: bool | None = None
    cache_control: Raw = _NULL


class ToolChoice(Struct, frozen=True):
    """``type`` is auto, any, tool (with ``name``) or none."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True):
    """``type`` is enabled (with ``budget_tokens``), adaptive, disabled or a newer one."""

    type: str
    budget_tokens: Annotated[int, Meta(ge=0, le=TOKENS_MAX)] | None = None
    display: str | None = None


class OutputFormat(Struct, frozen=True):
    """The form an answer must have; ``json_schema`` with its ``schema``."""

    type: str
    schema: Raw = _NULL


class OutputConfig(Struct, frozen=True):
    """How the answer is made."""

    effort: str | None = None
    format: OutputFormat | None = None


class Metadata(MetadataFields, frozen=True):
    """``user_id`` is any text, JSON text among it; ``tags`` are for the gateway."""

    user_id: str | None = None


class CountTokensBody(Struct, frozen=True, kw_only=True):
    """The fields this gateway reads when only tokens are to be counted; null means the same as absent."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    system: str | tuple[SystemBlock, ...] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    stop_sequences: tuple[str, ...] | None = None
    temperature: _Share | None = None
    top_p: _Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=TOKENS_MAX)] | None = None
    stream: bool | None = None
    agent_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    routing_hint: HintFields | None = None
    task_type: TaskType | None = None
    caps: CapFields | None = None
    metadata: Metadata | None = None


class MessagesBody(CountTokensBody, frozen=True, kw_only=True):
    """The fields of ``/v1/messages``."""

    max_tokens: _Tokens
