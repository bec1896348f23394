"""The turns of a conversation as input items of a response."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.conversation import (
    Audio,
    Document,
    Image,
    Part,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
    UnsupportedError,
)
from ainfera_gateway.wire.openai_chat.tool_ids import bounded

_ROLES = {"system": "developer", "user": "user", "assistant": "assistant"}
_SUFFIXES = {"application/pdf": ".pdf", "text/plain": ".txt", "text/markdown": ".md", "text/csv": ".csv"}


class InputItems:
    """Turns in, ``items`` out. ``dropped`` names what was sent and has no place in them."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.dropped: list[str] = []

    def add(self, turn: Turn) -> None:
        """Append one turn: its text and media as a message, calls and results as items of their own, all in order.

        Raises ``UnsupportedError`` for sound, and for media in a turn that cannot hold them.
        """
        if turn.name is not None:
            self.dropped.append("messages[].name")
        said: list[dict[str, Any]] = []
        for part in turn.parts:
            item = self._item(part)
            if item is not None:
                self._message(turn, said)
                said = []
                self.items.append(item)
            elif isinstance(part, Thinking):
                # Whoever signed it, it is not for this provider.
                self.dropped.append("messages[].content[].thinking")
            elif not (turn.role == "assistant" and part == Text("")):
                said.append(self._said(turn, part))
        self._message(turn, said)

    def _message(self, turn: Turn, said: list[dict[str, Any]]) -> None:
        if not said:
            return
        content: Any = said
        if turn.role == "assistant":
            # As parts, an assistant's words would need the id and status of the item they came in.
            content = "".join(part["text"] for part in said)
        self.items.append({"type": "message", "role": _ROLES[turn.role], "content": content})

    def _item(self, part: Part) -> dict[str, Any] | None:
        """What is an item of its own; None for what belongs into a message."""
        if isinstance(part, ToolUse):
            self._mark(part.cache)
            if part.thought_signature is not None:
                self.dropped.append("thought_signature")
            return {
                "type": "function_call",
                "call_id": bounded(part.id),
                "name": part.name,
                "arguments": part.arguments or "{}",
            }
        if isinstance(part, ToolResult):
            self._mark(part.cache)
            return {"type": "function_call_output", "call_id": bounded(part.call_id), "output": self._output(part)}
        return None

    def _output(self, result: ToolResult) -> str | list[dict[str, Any]]:
        """Text alone as a string, anything else as a list. That a call failed has no member here: the text says it."""
        parts = result.parts
        if result.is_error:
            first = parts[0] if parts and isinstance(parts[0], Text) else None
            told = Text(f"Error: {first.text}" if first and first.text else "Error", first.cache if first else None)
            parts = (told, *parts[1 if first else 0 :])
        listed = [self._input(part) for part in parts]
        if not listed:
            return ""
        return str(listed[0]["text"]) if len(listed) == 1 and "text" in listed[0] else listed

    def _said(self, turn: Turn, part: Part) -> dict[str, Any]:
        if isinstance(part, Text) or (turn.role == "user" and isinstance(part, Image | Document)):
            return self._input(part)
        what = "audio input" if isinstance(part, Audio) else f"media in a turn of the {turn.role}"
        raise UnsupportedError(f"this model's provider takes no {what}", "messages")

    def _input(self, part: Text | Image | Document) -> dict[str, Any]:
        self._mark(part.cache)
        match part:
            case Text():
                return {"type": "input_text", "text": part.text}
            case Image():
                url = part.url or f"data:{part.media_type or 'image/png'};base64,{part.data or ''}"
                return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
            case Document(text=str(text)):
                return {"type": "input_text", "text": f"{part.name}\n\n{text}" if part.name else text}
            case Document():
                return _file(part)

    def _mark(self, cache: bytes | None) -> None:
        if cache is not None:
            self.dropped.append("cache_control")


def _file(part: Document) -> dict[str, Any]:
    """A file by URL, or with its bytes, which need a name with an ending."""
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    media_type, data = part.media_type or "application/pdf", part.data or ""
    name = part.name or "document"
    if "." not in name:
        name += _SUFFIXES.get(media_type, "")
    return {"type": "input_file", "filename": name, "file_data": f"data:{media_type};base64,{data}"}
