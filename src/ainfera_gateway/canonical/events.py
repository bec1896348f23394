"""Stream events, and the one rule that makes a plain answer of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec import Struct

from ainfera_gateway.canonical.response import (
    AnsweredText,
    AnsweredThinking,
    AnsweredToolCall,
    Block,
    ChatResponse,
    FinishReason,
)
from ainfera_gateway.canonical.usage import Usage, merge

EventKind = Literal[
    "content_delta", "thinking_delta", "redacted_thinking", "tool_use_start", "tool_use_delta", "message_delta"
]


class ContentDelta(Struct, frozen=True):
    """Visible text. ``choice`` is the index of the alternative it belongs to (0 unless ``n`` was asked)."""

    kind: ClassVar[EventKind] = "content_delta"
    text: str
    choice: int = 0


class ThinkingDelta(Struct, frozen=True):
    """Reasoning text, and the maker's ``signature`` over it where it signs. A signature ends its block."""

    kind: ClassVar[EventKind] = "thinking_delta"
    text: str
    signature: str | None = None
    choice: int = 0


class RedactedThinking(Struct, frozen=True):
    """Reasoning that its maker shows to nobody and wants back as it is."""

    kind: ClassVar[EventKind] = "redacted_thinking"
    data: str
    choice: int = 0


class ToolUseStart(Struct, frozen=True):
    """A tool call begins. ``index`` is its place among the calls of this answer.

    ``thought_signature`` is Google's signature over the reasoning behind the call.
    """

    kind: ClassVar[EventKind] = "tool_use_start"
    index: int
    id: str
    name: str
    choice: int = 0
    thought_signature: str | None = None


class ToolUseDelta(Struct, frozen=True):
    """A fragment of the arguments of the tool call at ``index``."""

    kind: ClassVar[EventKind] = "tool_use_delta"
    index: int
    arguments: str
    choice: int = 0


class MessageDelta(Struct, frozen=True):
    """What is said about the message as a whole: how it ended, what it used, who made it.

    ``stop_sequence`` is the one of the caller's stop sequences that ended it, where the provider says.
    """

    kind: ClassVar[EventKind] = "message_delta"
    finish_reason: FinishReason | None = None
    finish_reason_native: str | None = None
    usage: Usage | None = None
    model: str | None = None
    choice: int = 0
    stop_sequence: str | None = None


StreamEvent = ContentDelta | ThinkingDelta | RedactedThinking | ToolUseStart | ToolUseDelta | MessageDelta


class _Call:
    """One tool call while its fragments arrive."""

    __slots__ = ("arguments", "id", "name", "thought_signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.thought_signature: str | None = None
        self.arguments: list[str] = []

    def whole(self) -> AnsweredToolCall:
        return AnsweredToolCall(self.id, self.name, "".join(self.arguments), self.thought_signature)


class _Run:
    """Text or reasoning that belongs to one block, while it arrives."""

    __slots__ = ("signature", "texts", "thinking")

    def __init__(self, *, thinking: bool) -> None:
        self.thinking = thinking
        self.texts: list[str] = []
        self.signature: str | None = None

    def whole(self) -> Block:
        text = "".join(self.texts)
        return AnsweredThinking(text, self.signature) if self.thinking else AnsweredText(text)


class _Fold:
    """Blocks in the order in which they began; tool calls stand where their first fragment stood."""

    def __init__(self) -> None:
        self.blocks: list[_Run | _Call | AnsweredThinking] = []
        self.calls: dict[int, _Call] = {}

    def text(self, text: str) -> None:
        last = self.blocks[-1] if self.blocks else None
        if not (isinstance(last, _Run) and not last.thinking):
            last = _Run(thinking=False)
            self.blocks.append(last)
        last.texts.append(text)

    def thinking(self, text: str, signature: str | None) -> None:
        last = self.blocks[-1] if self.blocks else None
        if not (isinstance(last, _Run) and last.thinking and (last.signature is None or not (text or signature))):
            last = _Run(thinking=True)
            self.blocks.append(last)
        last.texts.append(text)
        last.signature = signature or last.signature

    def call(self, index: int) -> _Call:
        call = self.calls.get(index)
        if call is None:
            call = self.calls[index] = _Call()
            self.blocks.append(call)
        return call

    def whole(self) -> tuple[Block, ...]:
        made = [block if isinstance(block, AnsweredThinking) else block.whole() for block in self.blocks]
        return tuple(block for block in made if block != AnsweredText(""))


def fold(events: Iterable[StreamEvent], *, choice: int = 0) -> ChatResponse:
    """The whole answer of one choice. Usage belongs to the call, so it is taken from any choice.

    Tool calls come out in the order of their index, whatever the order in which their fragments were mixed.
    """
    building = _Fold()
    end = MessageDelta()
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
                building.text(text)
            case ThinkingDelta(text=text, signature=signature):
                building.thinking(text, signature)
            case RedactedThinking(data=data):
                building.blocks.append(AnsweredThinking("", redacted=data))
            case ToolUseStart(index=index):
                call = building.call(index)
                call.id = call.id or event.id
                call.name = call.name or event.name
                call.thought_signature = call.thought_signature or event.thought_signature
            case ToolUseDelta(index=index):
                building.call(index).arguments.append(event.arguments)
            case MessageDelta():
                end = MessageDelta(
                    finish_reason=event.finish_reason or end.finish_reason,
                    finish_reason_native=event.finish_reason_native or end.finish_reason_native,
                    stop_sequence=event.stop_sequence or end.stop_sequence,
                )
    blocks = building.whole()
    return ChatResponse(
        content="".join(block.text for block in blocks if isinstance(block, AnsweredText)),
        thinking="".join(block.text for block in blocks if isinstance(block, AnsweredThinking)),
        blocks=blocks,
        tool_calls=tuple(building.calls[index].whole() for index in sorted(building.calls)),
        finish_reason=end.finish_reason,
        finish_reason_native=end.finish_reason_native,
        stop_sequence=end.stop_sequence,
        usage=usage,
        model=model,
    )
