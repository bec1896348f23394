"""Write the caller's stream from canonical events, when the provider spoke another dialect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
)
from ainfera_gateway.canonical.response import FinishReason
from ainfera_gateway.wire.openai_chat.relay import DONE
from ainfera_gateway.wire.openai_chat.shared_members import ainfera_object, answer_id, extra_content
from ainfera_gateway.wire.openai_chat.surrogates import encodable
from ainfera_gateway.wire.openai_chat.usage import usage_object
from ainfera_gateway.wire.passage import Closing, Terms


class _Choice:
    """One alternative while it is written."""

    __slots__ = ("calls", "finish_reason", "thinking")

    def __init__(self) -> None:
        self.finish_reason: FinishReason | None = None
        self.thinking: list[str] = []
        self.calls: dict[int, str] = {}


class StreamWriter:
    """Role chunk, deltas, and at ``finish`` the finish chunk, the usage chunk if asked for, and ``[DONE]``.

    A signature ends its block: it comes with the whole block in ``thinking_blocks``, ready to be sent back, after the
    text went out in ``reasoning_content``. ``text_bytes`` counts what was generated in what was written so far.
    """

    def __init__(self, terms: Terms, *, include_usage: bool) -> None:
        self._terms = terms
        self._include_usage = include_usage
        self._choices: dict[int, _Choice] = {}
        self.text_bytes = 0

    def write(self, events: Iterable[StreamEvent]) -> bytes:
        """The chunks that these events make; ``b""`` for none."""
        return b"".join(self._event(event) for event in events)

    def finish(self, closing: Closing) -> bytes:
        """The end of a stream that went well."""
        written = b"" if self._choices else self._open(0)
        for index, choice in sorted(self._choices.items()):
            reason = choice.finish_reason or ("tool_calls" if choice.calls else "stop")
            written += self._chunk({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
        if self._include_usage:
            usage = usage_object(closing.usage)
            written += self._chunk({"choices": [], "usage": usage, "ainfera": Raw(ainfera_object(closing))})
        return written + DONE

    def _event(self, event: StreamEvent) -> bytes:
        head = b"" if event.choice in self._choices else self._open(event.choice)
        choice = self._choices[event.choice]
        delta: dict[str, Any] = {}
        if not isinstance(event, ThinkingDelta | MessageDelta):
            choice.thinking.clear()
        match event:
            case ContentDelta():
                delta = {"content": self._counted(event.text)} if event.text else {}
            case ThinkingDelta():
                delta = self._thinking(event, choice)
            case RedactedThinking():
                delta = {"thinking_blocks": [{"type": "redacted_thinking", "data": event.data}]}
            case ToolUseStart():
                delta = self._call(event, choice)
            case ToolUseDelta():
                function = {"arguments": self._counted(event.arguments)}
                delta = {"tool_calls": [{"index": event.index, "function": function}]}
            case MessageDelta():
                choice.finish_reason = event.finish_reason or choice.finish_reason
        return head + self._delta(event.choice, delta) if delta else head

    def _thinking(self, event: ThinkingDelta, choice: _Choice) -> dict[str, Any]:
        text = self._counted(event.text)
        choice.thinking.append(text)
        if event.signature is None:
            return {"reasoning_content": text} if text else {}
        block = {"type": "thinking", "thinking": "".join(choice.thinking), "signature": event.signature}
        choice.thinking.clear()
        return {"reasoning_content": text, "thinking_blocks": [block]}

    def _call(self, event: ToolUseStart, choice: _Choice) -> dict[str, Any]:
        name = self._counted(event.name)
        if event.index in choice.calls:
            # Announced already: only the name may have been missing.
            return {"tool_calls": [{"index": event.index, "function": {"name": name}}]} if name else {}
        call_id = choice.calls[event.index] = encodable(event.id) or f"call_{event.index}"
        call = {
            "index": event.index,
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": ""},
            **extra_content(event.thought_signature),
        }
        return {"tool_calls": [call]}

    def _counted(self, text: str) -> str:
        clean = encodable(text)
        self.text_bytes += len(clean) if clean.isascii() else len(clean.encode())
        return clean

    def _open(self, index: int) -> bytes:
        self._choices[index] = _Choice()
        return self._delta(index, {"role": "assistant", "content": ""})

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return self._chunk({"choices": [{"index": index, "delta": delta, "finish_reason": None}]})

    def _chunk(self, members: dict[str, Any]) -> bytes:
        terms = self._terms
        head = {
            "id": answer_id(terms),
            "object": "chat.completion.chunk",
            "created": terms.created_s,
            "model": terms.slug,
        }
        return b"data: " + msgspec.json.encode(head | members) + b"\n\n"
