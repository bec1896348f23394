"""Write the stream of a caller of this dialect from canonical events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

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
from ainfera_gateway.wire.anthropic_messages.answer import call_id, message_id, shown_signature, stop_reason
from ainfera_gateway.wire.anthropic_messages.open_block import OpenBlock
from ainfera_gateway.wire.anthropic_messages.passage import MESSAGE_STOP
from ainfera_gateway.wire.anthropic_messages.usage import usage_object
from ainfera_gateway.wire.openai_chat.surrogates import encodable
from ainfera_gateway.wire.passage import Closing, Terms


class StreamWriter:
    """Canonical events in, this dialect's events out: one block after the other, each with the next index.

    The first block in the queue is written as it arrives. What begins while a call's arguments are no whole object yet
    waits behind it, so calls whose fragments take turns come out one by one with nothing lost; a call that never
    becomes whole gives way when the stream ends. Fragments for a call that is whole and left behind are no part of its
    object and go nowhere. ``text_bytes`` counts what was generated and written, reasoning that
    the caller does not see included.
    """

    def __init__(self, terms: Terms, *, include_usage: bool = True, show_thinking: bool = False) -> None:
        del include_usage  # in this dialect a stream always tells its usage
        self._terms = terms
        self._show_thinking = show_thinking
        self._queue: list[OpenBlock] = []
        self._calls: dict[int, OpenBlock] = {}
        self._blocks = 0
        self._begun = False
        self._finish: FinishReason | None = None
        self._stop_sequence: str | None = None
        self._pieces: list[bytes] = []
        self.text_bytes = 0

    def write(self, events: Iterable[StreamEvent]) -> bytes:
        """The bytes that can be sent now; the first events bring ``message_start`` with them."""
        for event in events:
            self._begin()
            if event.choice == 0:
                self._take(event)
        self._advance(ended=False)
        return self._out()

    def finish(self, closing: Closing) -> bytes:
        """What waits, ``message_delta`` with the usage that was billed, ``message_stop``."""
        self._begin()
        self._advance(ended=True)
        delta = {
            "stop_reason": stop_reason(self._finish, self._stop_sequence, called=bool(self._calls)),
            "stop_sequence": self._stop_sequence and encodable(self._stop_sequence),
        }
        self._event("message_delta", {"delta": delta, "usage": usage_object(closing.usage)})
        self._pieces.append(MESSAGE_STOP)
        return self._out()

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        usage = {
            "input_tokens": self._terms.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        }
        message: dict[str, Any] = {
            "id": message_id(self._terms),
            "type": "message",
            "role": "assistant",
            "model": self._terms.slug,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        self._event("message_start", {"message": message})

    def _take(self, event: StreamEvent) -> None:
        match event:
            case ContentDelta(text=text):
                if text:
                    self._last("text").add(text)
            case ThinkingDelta(text=text):
                self._think(text, event.signature)
            case RedactedThinking(data=data):
                if self._show_thinking and self._terms.wire == "anthropic_messages":
                    self._queue.append(OpenBlock("redacted_thinking", {"data": data}))
            case ToolUseStart():
                call = self._call(event.index)
                call.id = call.id or event.id
                call.name = call.name or event.name
                call.thought_signature = call.thought_signature or event.thought_signature
            case ToolUseDelta():
                self._call(event.index).add(event.arguments)
            case MessageDelta():
                self._finish = event.finish_reason or self._finish
                self._stop_sequence = event.stop_sequence or self._stop_sequence

    def _think(self, text: str, signature: str | None) -> None:
        if not self._show_thinking:
            self.text_bytes += len(text.encode("utf-8", "surrogatepass"))
            return
        shown = shown_signature(signature, self._terms)
        if not text and not shown:
            return
        last = self._queue[-1] if self._queue else None
        if last is not None and last.kind == "thinking" and last.signature and text:
            # A signature ends its block.
            self._queue.append(OpenBlock("thinking"))
        block = self._last("thinking")
        block.add(text)
        block.signature = shown or block.signature

    def _last(self, kind: str) -> OpenBlock:
        """The block that text of this kind belongs to: the last one, or a new one."""
        if not self._queue or self._queue[-1].kind != kind:
            self._queue.append(OpenBlock(kind))
        return self._queue[-1]

    def _call(self, index: int) -> OpenBlock:
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = OpenBlock("tool_use", place=len(self._calls))
            self._queue.append(call)
        return call

    def _advance(self, *, ended: bool) -> None:
        """Write what the first block has to say, and go on behind it where it is whole."""
        while self._queue:
            block = self._queue[0]
            last = len(self._queue) == 1
            if not block.begun:
                if not (block.ready or ended):
                    return
                block.begun = True
                self._event("content_block_start", {"index": self._blocks, "content_block": self._head(block)})
            whole = ended or (not last and block.whole)
            self._deltas(block, ended=whole)
            if not whole:
                return
            self._event("content_block_stop", {"index": self._blocks})
            self._blocks += 1
            del self._queue[0]

    def _head(self, block: OpenBlock) -> dict[str, Any]:
        match block.kind:
            case "text":
                return {"type": "text", "text": ""}
            case "thinking":
                return {"type": "thinking", "thinking": "", "signature": ""}
            case "redacted_thinking":
                return {"type": "redacted_thinking", **block.told}
        name = encodable(block.name)
        self.text_bytes += len(name.encode())
        given = call_id(block.id, block.place, block.thought_signature, self._terms)
        return {"type": "tool_use", "id": given, "name": name, "input": {}}

    def _deltas(self, block: OpenBlock, *, ended: bool) -> None:
        if text := block.take(ended=ended):
            self.text_bytes += len(text.encode())
            self._delta({"type": block.delta_type, block.delta_field: text})
        if ended and block.signature:
            self._delta({"type": "signature_delta", "signature": block.signature})

    def _delta(self, delta: dict[str, Any]) -> None:
        self._event("content_block_delta", {"index": self._blocks, "delta": delta})

    def _event(self, kind: str, told: dict[str, Any]) -> None:
        data = msgspec.json.encode({"type": kind, **told})
        self._pieces.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))

    def _out(self) -> bytes:
        out = b"".join(self._pieces)
        self._pieces.clear()
        return out
