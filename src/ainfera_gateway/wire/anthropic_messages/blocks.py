"""Content blocks of a request, each read by its own type; what no type here fits is kept as it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

from ainfera_gateway.wire.anthropic_messages.body import (
    DocumentBlock,
    ImageBlock,
    Kind,
    KnownBlock,
    Message,
    ToolResultBlock,
)
from ainfera_gateway.wire.media import Media, document, image
from ainfera_gateway.wire.validation import decode

KNOWN_TYPES = frozenset({"text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"})

_kind_decoder = msgspec.json.Decoder(Kind)
_known_decoder: msgspec.json.Decoder[KnownBlock] = msgspec.json.Decoder(KnownBlock)
_text = msgspec.json.Decoder(str).decode


class OtherBlock(Struct, frozen=True):
    """A block of a type that is not known here."""

    type: str
    sent: Raw


Block = KnownBlock | OtherBlock
Content = str | tuple[Block, ...]


def read_messages(messages: tuple[Message, ...]) -> tuple[Content, ...]:
    """The content of each message. ``ParseError`` names the field of a block that is not what its type says."""
    return tuple(_read_content(message.content, f"messages[{index}].content") for index, message in enumerate(messages))


def inner_blocks(block: Block, path: str = "") -> tuple[Block, ...]:
    """The blocks that stand in the result of a tool, or in a document that is made of blocks."""
    if isinstance(block, ToolResultBlock):
        content = block.content
        return _read_all(content, f"{path}.content") if isinstance(content, tuple) else ()
    if isinstance(block, DocumentBlock) and bytes(block.source.content).startswith(b"["):
        items = msgspec.json.decode(block.source.content, type=tuple[Raw, ...])
        return _read_all(items, f"{path}.source.content")
    return ()


def walk(contents: tuple[Content, ...]) -> Iterator[Block]:
    """Every block, those inside of others included."""
    pending = [block for content in reversed(contents) if not isinstance(content, str) for block in reversed(content)]
    while pending:
        block = pending.pop()
        yield block
        pending += reversed(inner_blocks(block))


def media_of(contents: tuple[Content, ...]) -> tuple[tuple[Media, ...], list[str]]:
    """Each piece of media, and the base64 that was sent, both in the order of the messages."""
    media: list[Media] = []
    payloads: list[str] = []
    for block in walk(contents):
        if not isinstance(block, ImageBlock | DocumentBlock) or block.source.type in {"text", "content"}:
            continue
        data = block.source.data if block.source.type == "base64" else None
        media.append(image(data) if isinstance(block, ImageBlock) else document(data))
        if data:
            payloads.append(data)
    return tuple(media), payloads


def text_of(contents: tuple[Content, ...]) -> str:
    """All that is billed as text, for messages of which the media cannot be taken out."""
    texts = [content for content in contents if isinstance(content, str)]
    for block in walk(contents):
        if isinstance(block, DocumentBlock):
            texts += _document_text(block)
        elif isinstance(block, ToolResultBlock):
            texts.append(block.content if isinstance(block.content, str) else "")
        elif not isinstance(block, ImageBlock):
            texts.append(_plain_text(block))
    return "".join(texts)


def _read_content(content: str | tuple[Raw, ...], path: str) -> Content:
    return content if isinstance(content, str) else _read_all(content, path)


def _read_all(items: tuple[Raw, ...], path: str) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        kind = decode(_kind_decoder, item, path=where).type
        if kind not in KNOWN_TYPES:
            blocks.append(OtherBlock(kind, item))
            continue
        block = decode(_known_decoder, item, path=where)
        inner_blocks(block, where)
        blocks.append(block)
    return tuple(blocks)


def _document_text(block: DocumentBlock) -> list[str]:
    source = block.source
    texts = [block.title or "", block.context or ""]
    if source.type == "text":
        texts.append(source.data or "")
    elif bytes(source.content).startswith(b'"'):
        texts.append(_text(source.content))
    return texts


def _plain_text(block: Block) -> str:
    match block:
        case OtherBlock(sent=sent):
            return bytes(sent).decode()
        case _:
            told = msgspec.to_builtins(block, builtin_types=(Raw,))
            return "".join(
                value if isinstance(value, str) else bytes(msgspec.json.encode(value)).decode()
                for name, value in told.items()
                if name not in {"type", "cache_control", "signature"} and value is not None
            )
