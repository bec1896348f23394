"""The surface for a backend that is no HTTP provider: a model in this process, a queue, somebody's own protocol.

Subclass ``ProviderAdapter``, implement ``chat``, and hand it to the gateway beside a catalog row of its provider. A
backend that can stream overrides ``stream_chat`` and says so; one that cannot is still streamed to callers, wrapped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from ainfera_gateway.canonical.conversation import Choice, Conversation, ToolSpec
from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
)
from ainfera_gateway.canonical.response import AnsweredText, AnsweredThinking, AnsweredToolCall, Block, ChatResponse


class ToolsNotSupportedError(Exception):
    """The backend takes no tools; the caller is told with 422 ``tools_not_supported_by_backend``."""


class AdapterRequest(Struct, frozen=True, kw_only=True):
    """What a backend is asked: the ``conversation``, for its ``model``, in at most ``max_tokens`` of output.

    ``attempt_id`` identifies this one request; hand it on wherever attempts can be counted.
    """

    model: str
    conversation: Conversation
    max_tokens: int
    attempt_id: str


class ProviderAdapter(ABC):
    """One backend. Any exception but ``ToolsNotSupportedError`` is a failed attempt; its text reaches nobody."""

    @abstractmethod
    async def chat(
        self, request: AdapterRequest, tools: Sequence[ToolSpec], tool_choice: Choice | None
    ) -> ChatResponse:
        """The whole answer, with its ``usage`` where the backend counts."""

    def supports_native_streaming(self) -> bool:
        """Whether ``stream_chat`` gives events as they are made."""
        return False

    async def stream_chat(
        self, request: AdapterRequest, tools: Sequence[ToolSpec], tool_choice: Choice | None
    ) -> AsyncIterator[StreamEvent]:
        """The answer as events. By default the whole of ``chat`` at once: its text in one ``ContentDelta``, then how it
        ended in one ``MessageDelta``; reasoning and tool calls, where there are any, stand between.
        """
        for event in events_of(await self.chat(request, tools, tool_choice)):
            yield event


def events_of(response: ChatResponse) -> list[StreamEvent]:
    """A whole answer as events; ``fold`` gives it back."""
    events: list[StreamEvent] = []
    place = 0
    for block in response.blocks or _blocks(response):
        if isinstance(block, AnsweredToolCall):
            events.append(ToolUseStart(place, block.id, block.name, thought_signature=block.thought_signature))
            events.append(ToolUseDelta(place, block.arguments))
            place += 1
        elif not isinstance(block, AnsweredThinking):
            events.append(ContentDelta(block.text))
        elif block.redacted is not None:
            events.append(RedactedThinking(block.redacted))
        else:
            events.append(ThinkingDelta(block.text, block.signature))
    events.append(
        MessageDelta(
            finish_reason=response.finish_reason or "stop",
            finish_reason_native=response.finish_reason_native,
            usage=response.usage,
            model=response.model,
            stop_sequence=response.stop_sequence,
        )
    )
    return events


def _blocks(response: ChatResponse) -> tuple[Block, ...]:
    """The blocks of an answer whose maker filled in only its flat fields."""
    thinking = (AnsweredThinking(response.thinking),) if response.thinking else ()
    text = (AnsweredText(response.content),) if response.content else ()
    return (*thinking, *text, *response.tool_calls)
