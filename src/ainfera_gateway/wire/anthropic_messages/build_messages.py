"""Canonical turns, written as the system prompt and the messages of this dialect."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from msgspec import Raw

from ainfera_gateway.canonical.conversation import (
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
from ainfera_gateway.wire.anthropic_messages.tool_ids import valid_id
from ainfera_gateway.wire.anthropic_messages.tool_input import object_input

OPENING = "(The conversation begins with the assistant.)"
_PDF = "application/pdf"
_TEXT_TYPES = ("text/", "application/json", "application/xml")

Block = dict[str, Any]


class MessageWriter:
    """Writes turns; ``dropped`` gains the caller's path of what the provider cannot be told."""

    def __init__(self, dropped: list[str]) -> None:
        self._dropped = dropped

    def write(self, turns: tuple[Turn, ...]) -> tuple[str | list[Block] | None, list[dict[str, Any]]]:
        """The system prompt and the messages.

        System turns at the head are the prompt; later ones become text of the user, for older models know no others.
        Neighbours of one role become one message. A conversation of system turns alone is said by the user. One that
        begins with the assistant, which the provider refuses, gets ``OPENING`` before it.
        """
        heads = 0
        while heads < len(turns) and turns[heads].role == "system":
            heads += 1
        if heads == len(turns):
            heads = 0
        head_texts = [block for place in range(heads) for block in self._prompt(turns[place], place)]
        messages: list[dict[str, Any]] = []
        for place in range(heads, len(turns)):
            turn = turns[place]
            role = "assistant" if turn.role == "assistant" else "user"
            blocks = self._blocks(turn, place)
            if not blocks:
                continue
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += blocks
            else:
                messages.append({"role": role, "content": blocks})
        if not messages:
            raise UnsupportedError(
                "the messages say nothing, and this provider needs at least one that does", "messages"
            )
        if messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
        self._end(messages)
        for message in messages:
            message["content"] = _short(_results_first(message["content"]))
        return (_short(head_texts) if head_texts else None), messages

    def _prompt(self, turn: Turn, place: int) -> list[Block]:
        if not all(isinstance(part, Text) for part in turn.parts):
            raise UnsupportedError("the system prompt of this provider is text", f"messages[{place}].content")
        return self._blocks(turn, place)

    def _blocks(self, turn: Turn, place: int) -> list[Block]:
        if turn.name is not None:
            self._dropped.append(f"messages[{place}].name")
        return [
            block
            for index, part in enumerate(turn.parts)
            for block in self._block(part, f"messages[{place}].content[{index}]")
        ]

    def _block(self, part: Part, path: str) -> list[Block]:
        block: Block
        match part:
            case Text():
                # Text of blanks alone is refused.
                if not part.text.strip():
                    if part.text:
                        self._dropped.append(path)
                    return []
                block = {"type": "text", "text": part.text}
            case Image():
                block = self._image(part, path)
            case Document():
                block = _document(part, path)
            case Thinking():
                return self._thinking(part, path)
            case ToolUse():
                block = {
                    "type": "tool_use",
                    "id": valid_id(part.id),
                    "name": part.name,
                    "input": object_input(part.arguments),
                }
                if part.thought_signature is not None:
                    self._dropped.append(f"{path}.thought_signature")
            case ToolResult():
                block = self._result(part, path)
            case _:
                raise UnsupportedError("this provider takes no sound", path)
        cache = part.cache
        return [block if cache is None else {**block, "cache_control": Raw(cache)}]

    def _image(self, part: Image, path: str) -> Block:
        if part.detail not in {None, "auto"}:
            self._dropped.append(f"{path}.image_url.detail")
        if part.url is not None:
            return {"type": "image", "source": {"type": "url", "url": part.url}}
        source = {"type": "base64", "media_type": part.media_type or "image/png", "data": part.data or ""}
        return {"type": "image", "source": source}

    def _thinking(self, part: Thinking, path: str) -> list[Block]:
        """Reasoning as its maker signed it, byte for byte; that of anybody else stays here."""
        if part.maker == "anthropic" and part.redacted is not None:
            return [{"type": "redacted_thinking", "data": part.redacted}]
        if part.maker == "anthropic" and part.signature:
            return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
        self._dropped.append(path)
        return []

    def _result(self, part: ToolResult, path: str) -> Block:
        content = [
            block for index, inner in enumerate(part.parts) for block in self._block(inner, f"{path}.content[{index}]")
        ]
        block: Block = {"type": "tool_result", "tool_use_id": valid_id(part.call_id)}
        if content:
            block["content"] = _short(content)
        if part.is_error:
            block["is_error"] = True
        return block

    def _end(self, messages: list[dict[str, Any]]) -> None:
        """Words that the answer has to continue must not end with a space."""
        last = messages[-1]
        if last["role"] != "assistant" or last["content"][-1]["type"] != "text":
            return
        text = last["content"][-1]["text"].rstrip()
        if text:
            last["content"][-1] = {**last["content"][-1], "text": text}
        elif len(last["content"]) > 1:
            del last["content"][-1]
        else:
            del messages[-1]


def _short(blocks: list[Block]) -> str | list[Block]:
    """One plain text as a string, anything else as blocks."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _results_first(blocks: list[Block]) -> list[Block]:
    """Results of tools have to stand before all else in their message."""
    results = [block for block in blocks if block["type"] == "tool_result"]
    return results + [block for block in blocks if block["type"] != "tool_result"] if results else blocks


def _document(part: Document, path: str) -> Block:
    source: dict[str, Any]
    text = part.text if part.text is not None else _text_of(part)
    if text is not None:
        source = {"type": "text", "media_type": "text/plain", "data": text}
    elif part.url is not None:
        source = {"type": "url", "url": part.url}
    elif (part.media_type or _PDF) == _PDF:
        source = {"type": "base64", "media_type": _PDF, "data": part.data or ""}
    else:
        raise UnsupportedError(f"this provider takes PDF and text, not {part.media_type}", path)
    named = {} if part.name is None else {"title": part.name}
    return {"type": "document", "source": source, **named}


def _text_of(part: Document) -> str | None:
    """The text of a document that is text and came as base64."""
    if part.data is None or not (part.media_type or "").startswith(_TEXT_TYPES):
        return None
    try:
        return base64.b64decode(part.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
