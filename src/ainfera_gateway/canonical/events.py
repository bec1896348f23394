"""Stream events, and the one rule that makes a plain answer of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec import Struct

from ainfera_gateway.canonical.response import AnsweredToolCall, ChatResponse, FinishReason
from ainfera_gateway.canonical.usage import Usage, merge

EventKind = Literal["content_delta", "thinking_delta", "tool_use_start", "tool_use_delta", "message_delta"]


class ContentDelta(Struct, frozen=True):
    """Visible text. ``choice`` is the index of the alternative it belongs to (0 unless ``n`` was asked)."""

    kind: ClassVar[EventKind] = "content_delta"
    text: str
    choice: int = 0


class ThinkingDelta(Struct, frozen=True):
    """Reasoning text, and the provider's signature over it where it signs."""

    kind: ClassVar[EventKind] = "thinking_delta"
    text: str
    signature: str | None = None
    choice: int = 0


class ToolUseStart(Struct, frozen=True):
    """A tool call begins. ``index`` is its place among the calls of this answer."""

    kind: ClassVar[EventKind] = "tool_use_start"
    index: int
    id: str
    name: str
    choice: int = 0


class ToolUseDelta(Struct, frozen=True):
    """A fragment of the arguments of the tool call at ``index``."""

    kind: ClassVar[EventKind] = "tool_use_delta"
    index: int
    arguments: str
    choice: int = 0


class MessageDelta(Struct, frozen=True):
    """What is said about the message as a whole: how it ended, what it used, who made it."""

    kind: ClassVar[EventKind] = "message_delta"
    finish_reason: FinishReason | None = None
    finish_reason_native: str | None = None
    usage: Usage | None = None
    model: str | None = None
    choice: int = 0


StreamEvent = ContentDelta | ThinkingDelta | ToolUseStart | ToolUseDelta | MessageDelta


class _Call:
    """One tool call while its fragments arrive."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def whole(self) -> AnsweredToolCall:
        return AnsweredToolCall(self.id, self.name, "".join(self.arguments))


def fold(events: Iterable[StreamEvent], *, choice: int = 0) -> ChatResponse:
    """The whole answer of one choice. Usage belongs to the call, so it is taken from any choice.

    Tool calls come out in the order of their index, whatever the order in which their fragments were mixed.
    """
    content: list[str] = []
    thinking: list[str] = []
    calls: dict[int, _Call] = {}
    finish: FinishReason | None = None
    native: str | None = None
    usage: Usage | None = None
    model: str | None = None
    for event in events:
        if isinstance(event, MessageDelta):
            usage = merge(usage, event.usage)
            model = event.model or model
        if event.choice != choice:
            continue
        match event:
            case ContentDelta(text=text):
                content.append(text)
            case ThinkingDelta(text=text):
                thinking.append(text)
            case ToolUseStart(index=index):
                call = calls.setdefault(index, _Call())
                call.id = call.id or event.id
                call.name = call.name or event.name
            case ToolUseDelta(index=index):
                calls.setdefault(index, _Call()).arguments.append(event.arguments)
            case MessageDelta():
                finish = event.finish_reason or finish
                native = event.finish_reason_native or native
    return ChatResponse(
        content="".join(content),
        thinking="".join(thinking),
        tool_calls=tuple(calls[index].whole() for index in sorted(calls)),
        finish_reason=finish,
        finish_reason_native=native,
        usage=usage,
        model=model,
    )
