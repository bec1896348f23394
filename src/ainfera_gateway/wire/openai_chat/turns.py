"""Messages of a request, read into canonical turns."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.canonical.conversation import Audio, Part, Text, Thinking, ToolResult, ToolUse, Turn
from ainfera_gateway.wire.openai_chat.opened import Opened
from ainfera_gateway.wire.openai_chat.parts import read_content, with_cache


def read_turns(messages: list[bytes]) -> tuple[tuple[Turn, ...], list[str]]:
    """The turns, and the paths of what was sent and has no place in them.

    Results of tools become turns of the user, adjacent ones a single turn. ``developer`` is ``system``.
    """
    reading = _Reading()
    for index, sent in enumerate(messages):
        reading.read(Opened(sent, f"messages[{index}]"), index)
    return tuple(reading.turns), reading.unread


class _Reading:
    """The turns so far. ``_open_calls`` are calls of the older single form, by name, which carry no id."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.unread: list[str] = []
        self._open_calls: dict[str, str] = {}
        self._results_open = False

    def read(self, message: Opened, index: int) -> None:
        role = message.text("role")
        if role == "assistant":
            self._assistant(message, index)
        elif role in {"tool", "function"}:
            self._result(message, legacy=role == "function")
        else:
            parts = self._content(message)
            self.turns.append(Turn("user" if role == "user" else "system", tuple(parts), message.text("name")))
        self._results_open = role in {"tool", "function"}
        self.unread += message.left()

    def _content(self, message: Opened) -> list[Text | Any]:
        mark = message.raw("cache_control")
        parts = read_content(message.raw("content"), message.path, self.unread)
        return with_cache(parts, mark, message.path, self.unread)

    def _assistant(self, message: Opened, index: int) -> None:
        parts: list[Part] = []
        blocks = message.items("thinking_blocks")
        for place, block in enumerate(blocks):
            thinking = self._thinking(Opened(block, f"{message.path}.thinking_blocks[{place}]"))
            if thinking is not None:
                parts.append(thinking)
        if blocks:
            # The same text once more, for readers who know no blocks.
            message.skip("reasoning_content", "reasoning")
        spoken = self._content(message)
        if refusal := message.text("refusal"):
            spoken.append(Text(refusal))
        parts += spoken
        parts += [
            self._call(Opened(call, f"{message.path}.tool_calls[{place}]"))
            for place, call in enumerate(message.items("tool_calls"))
        ]
        single = message.inner("function_call")
        if single is not None:
            name = single.text("name") or ""
            call_id = self._open_calls[name] = f"call_{index}"
            parts.append(ToolUse(call_id, name, single.text("arguments") or "{}"))
        self.turns.append(Turn("assistant", tuple(parts), message.text("name")))

    def _thinking(self, block: Opened) -> Thinking | None:
        """Anthropic's reasoning on its way back; what nobody signed goes nowhere and is named."""
        redacted, signature = block.text("data"), block.text("signature")
        if redacted is not None:
            return Thinking(redacted=redacted, maker="anthropic")
        if not signature:
            self.unread.append(block.path)
            return None
        return Thinking(block.text("thinking") or "", signature, maker="anthropic")

    def _call(self, call: Opened) -> ToolUse:
        call.skip("type", "index")
        cache = call.raw("cache_control")
        call_id = call.text("id") or ""
        extra = call.inner("extra_content")
        google = extra.inner("google") if extra is not None else None
        signature = google.text("thought_signature") if google is not None else None
        custom = call.inner("custom")
        if custom is not None:
            # Free text, where others know only objects.
            arguments = msgspec.json.encode({"input": custom.text("input") or ""}).decode()
            read = ToolUse(call_id, custom.text("name") or "", arguments, signature, cache)
        else:
            function = call.inner("function") or Opened(b"{}", call.at("function"))
            arguments = function.text("arguments") or "{}"
            read = ToolUse(call_id, function.text("name") or "", arguments, signature, cache)
            self.unread += function.left()
        for opened in (call, extra, google):
            self.unread += opened.left() if opened is not None else []
        return read

    def _result(self, message: Opened, *, legacy: bool) -> None:
        mark = message.raw("cache_control")
        read = read_content(message.raw("content"), message.path, self.unread)
        parts = tuple(part for part in read if not isinstance(part, Audio))
        if len(parts) < len(read):
            self.unread.append(f"{message.path}.content")
        name = message.text("name")
        call_id = message.text("tool_call_id") or ""
        if legacy:
            call_id = self._open_calls.pop(name or "", call_id)
        result = ToolResult(call_id, parts, cache=mark)
        if self._results_open:
            last = self.turns.pop()
            self.turns.append(Turn("user", (*last.parts, result)))
        else:
            self.turns.append(Turn("user", (result,)))
