"""Messages of a request, read into canonical turns."""

from __future__ import annotations

from typing import Any

import msgspec

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
from ainfera_gateway.wire.anthropic_messages.tool_ids import split_thought
from ainfera_gateway.wire.openai_chat.opened import Opened, stored_file

MAKER = "anthropic"
_NO_CITATIONS: Any = ([], {}, {"enabled": False})
_DIRECT: Any = ({"type": "direct"},)


def read_turns(messages: list[bytes], unread: list[str]) -> list[Turn]:
    """The turns; ``unread`` gains the paths of what was sent and has no place in them."""
    turns: list[Turn] = []
    for index, sent in enumerate(messages):
        message = Opened(sent, f"messages[{index}]")
        role = message.text("role")
        parts = _read_parts(message.raw("content"), message.at("content"), unread)
        if role == "system":
            turns.append(Turn("system", parts))
        else:
            turns.append(Turn("assistant" if role == "assistant" else "user", parts))
        unread += message.left()
    return turns


def read_texts(sent: bytes, path: str, unread: list[str]) -> tuple[Text, ...]:
    """Text, or blocks of it; a block of another kind is named in ``unread``."""
    parts = _read_parts(sent, path, unread)
    unread += [f"{path}[{index}]" for index, part in enumerate(parts) if not isinstance(part, Text)]
    return tuple(part for part in parts if isinstance(part, Text))


def _read_parts(sent: bytes | None, path: str, unread: list[str]) -> tuple[Part, ...]:
    if sent is None:
        return ()
    if sent.startswith(b'"'):
        return (Text(msgspec.json.decode(sent, type=str)),)
    parts: list[Part] = []
    # The array is taken out of an object of one member, whose name is that of the content in error messages.
    holder, _, name = path.rpartition(".")
    for index, item in enumerate(Opened(b'{"%s":%s}' % (name.encode(), sent), holder).items(name)):
        parts += _read_block(Opened(item, f"{path}[{index}]"), unread)
    return tuple(parts)


def _read_block(block: Opened, unread: list[str]) -> list[Part]:
    """The parts of one block; a kind that only the provider of this dialect knows is named and gives none."""
    kind = block.text("type")
    cache = block.raw("cache_control")
    parts: list[Part]
    match kind:
        case "text":
            parts = [Text(block.text("text") or "", cache)]
            _name_unless(block, "citations", _NO_CITATIONS, unread)
        case "image":
            parts = [_read_image(block, cache)]
        case "document":
            parts = _read_document(block, cache, unread)
        case "search_result":
            parts = [_read_search_result(block, cache, unread)]
        case "thinking":
            text, signature = block.text("thinking") or "", block.text("signature")
            parts = [Thinking(text, signature, maker=MAKER)] if signature else []
            unread += [] if signature else [block.path]
        case "redacted_thinking":
            parts = [Thinking(redacted=block.text("data") or "", maker=MAKER)]
        case "tool_use":
            parts = [_read_call(block, cache, unread)]
        case "tool_result":
            parts = [_read_result(block, cache, unread)]
        case "container_upload":
            raise stored_file(block.at("file_id"))
        case _:
            unread.append(block.path)
            return []
    unread += block.left()
    return parts


def _read_image(block: Opened, cache: bytes | None) -> Image:
    source = _source(block)
    match source.text("type"):
        case "base64":
            return Image(data=source.text("data"), media_type=source.text("media_type"), cache=cache)
        case "url":
            return Image(url=source.text("url"), cache=cache)
        case "file":
            raise stored_file(source.at("file_id"))
    raise UnsupportedError("an image from this source cannot be carried to this model", source.path)


def _read_document(block: Opened, cache: bytes | None, unread: list[str]) -> list[Part]:
    source, name = _source(block), block.text("title")
    _name_unless(block, "citations", _NO_CITATIONS, unread)
    media_type = source.text("media_type")
    match source.text("type"):
        case "base64":
            return [Document(data=source.text("data"), media_type=media_type, name=name, cache=cache)]
        case "url":
            return [Document(url=source.text("url"), name=name, cache=cache)]
        case "file":
            raise stored_file(source.at("file_id"))
        case "text":
            return [Document(text=source.text("data") or "", media_type=media_type, name=name, cache=cache)]
        case "content":
            inner = _read_parts(source.raw("content"), source.at("content"), unread)
            texts = [part.text for part in inner if isinstance(part, Text)]
            shown: list[Part] = [part for part in inner if isinstance(part, Image)]
            return [Document(text="\n\n".join(texts), name=name, cache=cache), *shown]
    raise UnsupportedError("a document from this source cannot be carried to this model", source.path)


def _read_search_result(block: Opened, cache: bytes | None, unread: list[str]) -> Text:
    """A search result of the caller's own, as text: where it is from, what it is called, what it says."""
    _name_unless(block, "citations", _NO_CITATIONS, unread)
    head = [block.text("title"), block.text("source")]
    inner = read_texts(block.raw("content") or b"[]", block.at("content"), unread)
    return Text("\n\n".join(filter(None, [*head, *(text.text for text in inner)])), cache)


def _read_call(block: Opened, cache: bytes | None, unread: list[str]) -> ToolUse:
    call_id, thought_signature = split_thought(block.text("id") or "")
    arguments = (block.raw("input") or b"{}").decode()
    # A call that code of the provider made is to others one of the model's own.
    _name_unless(block, "caller", _DIRECT, unread)
    return ToolUse(call_id, block.text("name") or "", arguments, thought_signature, cache)


def _read_result(block: Opened, cache: bytes | None, unread: list[str]) -> ToolResult:
    call_id = split_thought(block.text("tool_use_id") or "")[0]
    read = _read_parts(block.raw("content"), block.at("content"), unread)
    parts = tuple(part for part in read if isinstance(part, Text | Image | Document))
    return ToolResult(call_id, parts, block.flag("is_error") or False, cache)


def _name_unless(block: Opened, name: str, defaults: Any, unread: list[str]) -> None:
    """Name a member in ``unread``, unless it only says what holds anyway."""
    sent = block.raw(name)
    if sent is not None and msgspec.json.decode(sent) not in defaults:
        unread.append(block.at(name))


def _source(block: Opened) -> Opened:
    source = block.inner("source")
    if source is None:
        raise UnsupportedError("the source is missing", block.at("source"))
    return source
