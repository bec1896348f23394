"""Canonical turns, written as the messages of this dialect."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from msgspec import Raw

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
from ainfera_gateway.wire.openai_chat.known_fields import message_fields, takes_cache_marks
from ainfera_gateway.wire.openai_chat.shared_members import extra_content
from ainfera_gateway.wire.openai_chat.tool_ids import sent_id
from ainfera_gateway.wire.passage import Terms

# Providers that take the content of a message only as one string where it is only text.
_STRINGS_ONLY = frozenset({"deepseek"})
# Providers that refuse a user's message right after a tool's.
_NO_USER_AFTER_TOOL = frozenset({"mistral"})
_TEXT_TYPES = ("text/", "application/json", "application/xml")
_MEDIA_BELOW = "More of this tool's output follows below."


class MessageWriter:
    """Writes turns for the provider of ``terms``; ``dropped`` gains the caller's path of what it cannot be told."""

    def __init__(self, terms: Terms, dropped: list[str]) -> None:
        self._terms = terms
        self._dropped = dropped
        self._marks = takes_cache_marks(terms.provider)
        self._mark_seen = False
        self._known = message_fields(terms.provider, terms.quirks)

    def write(self, turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
        """The messages, system turns first among them where they stood first."""
        heads = 0
        while heads < len(turns) and turns[heads].role == "system":
            heads += 1
        messages: list[dict[str, Any]] = []
        for index, turn in enumerate(turns):
            # The caller's own count of messages, where what comes before them is a field of its own.
            path = "system" if index < heads else f"messages[{index - heads}].content"
            if turn.role == "assistant":
                messages.append(self._assistant(turn, path))
            elif turn.role == "system":
                messages.append(self._named({"role": "system", "content": self._content(turn.parts, path)}, turn, path))
            else:
                for message in self._user(turn, path):
                    self._append(messages, message)
        return messages

    def _append(self, messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
        last = messages[-1] if messages else None
        refused = last is not None and last["role"] == "tool" and message["role"] == "user"
        if last is not None and refused and self._terms.provider in _NO_USER_AFTER_TOOL:
            last["content"] = _listed(last["content"]) + _listed(message["content"])
        else:
            messages.append(message)

    def mark(self, cache: bytes | None) -> dict[str, Any]:
        """A cache mark as a member, where the provider takes it; else it is named, once for all."""
        if cache is None:
            return {}
        if self._marks:
            return {"cache_control": Raw(cache)}
        if not self._mark_seen:
            self._mark_seen = True
            self._dropped.append("cache_control")
        return {}

    def _named(self, message: dict[str, Any], turn: Turn, path: str) -> dict[str, Any]:
        if turn.name is not None:
            if self._known is None or "name" in self._known:
                message["name"] = turn.name
            else:
                self._dropped.append(path.removesuffix(".content") + ".name")
        return message

    def _assistant(self, turn: Turn, path: str) -> dict[str, Any]:
        said: list[Part] = []
        calls: list[dict[str, Any]] = []
        reasoning: list[str] = []
        for index, part in enumerate(turn.parts):
            if isinstance(part, ToolUse):
                calls.append(self._call(part))
            elif not isinstance(part, Thinking):
                said.append(part)
            elif part.maker is None and part.text and self._terms.provider == "deepseek":
                # Nobody's signature, only text, and this provider refuses a loop of tools without it.
                reasoning.append(part.text)
            else:
                self._dropped.append(f"{path}[{index}]")
        content = self._content(tuple(said), path) if said or not calls else None
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if reasoning:
            message["reasoning_content"] = "".join(reasoning)
        if calls:
            message["tool_calls"] = calls
        return self._named(message, turn, path)

    def _call(self, part: ToolUse) -> dict[str, Any]:
        call: dict[str, Any] = {
            "id": sent_id(part.id, self._terms.quirks),
            "type": "function",
            "function": {"name": part.name, "arguments": part.arguments},
        }
        if self._terms.provider == "gemini":
            call |= extra_content(part.thought_signature)
        return call | self.mark(part.cache)

    def _user(self, turn: Turn, path: str) -> list[dict[str, Any]]:
        """Results of tools first, for they have to follow their calls; then what else the turn says.

        A result may hold only text here, so what it shows besides goes into the message behind, in its order.
        """
        messages: list[dict[str, Any]] = []
        shown: list[tuple[Part, str]] = []
        for index, part in enumerate(turn.parts):
            where = f"{path}[{index}]"
            if isinstance(part, ToolResult):
                message, media = self._result(part, where)
                messages.append(message)
                shown += media
            else:
                shown.append((part, where))
        if shown or not messages:
            content = self._written_parts(shown)
            messages.append(self._named({"role": "user", "content": content}, turn, path))
        return messages

    def _result(self, result: ToolResult, where: str) -> tuple[dict[str, Any], list[tuple[Part, str]]]:
        call_id = sent_id(result.call_id, self._terms.quirks)
        texts: list[Text] = []
        media: list[tuple[Part, str]] = []
        for index, part in enumerate(result.parts):
            inline = _as_text(part) if isinstance(part, Document) else part
            if isinstance(inline, Text):
                texts.append(inline)
            else:
                media.append((part, f"{where}.content[{index}]"))
        if result.is_error:
            first = texts[0] if texts else Text("")
            texts[:1] = [Text(f"Error: {first.text}" if first.text else "Error", first.cache)]
        if media:
            texts.append(Text(_MEDIA_BELOW))
            media.insert(0, (Text(f"Output of the tool call {call_id}:"), where))
        if result.cache is not None:
            last = texts.pop() if texts else Text("")
            texts.append(Text(last.text, last.cache or result.cache))
        content = self._written_parts([(text, where) for text in texts])
        return {"role": "tool", "tool_call_id": call_id, "content": content}, media

    def _content(self, parts: tuple[Part, ...], path: str) -> str | list[dict[str, Any]]:
        return self._written_parts([(part, f"{path}[{index}]") for index, part in enumerate(parts)])

    def _written_parts(self, parts: list[tuple[Part, str]]) -> str | list[dict[str, Any]]:
        """One string for one text, "" for nothing, else a list."""
        written = [self._part(part, where) for part, where in parts]
        if not written:
            return ""
        only_text = all(part.keys() == {"type", "text"} for part in written)
        if only_text and (len(written) == 1 or self._terms.provider in _STRINGS_ONLY):
            return "\n\n".join(part["text"] for part in written)
        return written

    def _part(self, part: Part, where: str) -> dict[str, Any]:
        if isinstance(part, Document) and (inline := _as_text(part)) is not None:
            part = inline
        match part:
            case Text():
                return {"type": "text", "text": part.text, **self.mark(part.cache)}
            case Image():
                return {"type": "image_url", "image_url": _image_url(part), **self.mark(part.cache)}
            case Document():
                return {**self._document(part, where), **self.mark(part.cache)}
            case Audio():
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format or "wav"}}
        raise UnsupportedError("this content cannot stand in a message of this role", where)

    def _document(self, part: Document, where: str) -> dict[str, Any]:
        provider = self._terms.provider
        url = part.url
        if url is None:
            url = f"data:{part.media_type or 'application/pdf'};base64,{part.data or ''}"
        elif provider not in {"mistral", "openrouter"}:
            raise UnsupportedError("this provider takes documents as data, not by URL", where)
        if provider == "mistral":
            named = {} if part.name is None else {"document_name": part.name}
            return {"type": "document_url", "document_url": url, **named}
        return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": url}}


def _listed(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _image_url(part: Image) -> dict[str, Any]:
    url = part.url
    if url is None:
        url = f"data:{part.media_type or 'image/png'};base64,{part.data or ''}"
    return {"url": url} if part.detail is None else {"url": url, "detail": part.detail}


def _as_text(part: Document) -> Text | None:
    """A document that is text, as text; None for any other."""
    text = part.text
    if text is None and part.data is not None and (part.media_type or "").startswith(_TEXT_TYPES):
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    if text is None:
        return None
    return Text(f"{part.name}\n\n{text}" if part.name else text, part.cache)
