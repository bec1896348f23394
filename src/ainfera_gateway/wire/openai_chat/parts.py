"""Content parts of a message, read into the canonical ones."""

from __future__ import annotations

import re

import msgspec

from ainfera_gateway.canonical.conversation import Audio, Document, Image, Text, UnsupportedError
from ainfera_gateway.wire.openai_chat.opened import Opened, stored_file

ReadPart = Text | Image | Document | Audio

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*?;base64,", re.IGNORECASE)
_WEB = ("http://", "https://")


def read_content(sent: bytes | None, path: str, unread: list[str]) -> list[ReadPart]:
    """The parts of a message's ``content``, text or array; none for null or empty text.

    Raises ``UnsupportedError`` for a part of unknown kind: without it the message would say something else.
    """
    if sent is None or sent == b'""':
        return []
    if sent.startswith(b'"'):
        return [Text(msgspec.json.decode(sent, type=str))]
    items = Opened(b'{"content":' + sent + b"}", path).items("content")
    return [_read_part(item, f"{path}.content[{index}]", unread) for index, item in enumerate(items)]


def with_cache(parts: list[ReadPart], mark: bytes | None, path: str, unread: list[str]) -> list[ReadPart]:
    """A mark on the whole message, moved to its last part; a part that has its own keeps it."""
    if mark is None:
        return parts
    if not parts or isinstance(parts[-1], Audio):
        unread.append(f"{path}.cache_control")
        return parts
    last = parts[-1]
    return parts if last.cache else [*parts[:-1], msgspec.structs.replace(last, cache=mark)]


def split_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 of a ``data:`` URL; None for any other URL."""
    found = _DATA_URL.match(url)
    return (found["type"] or None, url[found.end() :]) if found else None


def _read_part(sent: bytes, path: str, unread: list[str]) -> ReadPart:
    part = Opened(sent, path)
    kind = part.text("type")
    read: ReadPart
    if kind in {"text", "input_text", "output_text"}:
        read = Text(part.text("text") or "", part.raw("cache_control"))
    elif kind == "refusal":
        read = Text(part.text("refusal") or "", part.raw("cache_control"))
    elif kind in {"image_url", "input_image"}:
        read = _read_image(part, unread)
    elif kind == "input_audio":
        audio = part.inner("input_audio") or part
        read = Audio(audio.text("data") or "", audio.text("format"))
        unread += audio.left() if audio is not part else []
    elif kind == "file":
        read = _read_file(part, unread)
    else:
        raise UnsupportedError(f"a content part of type {kind} cannot be carried to this model", path)
    unread += part.left()
    return read


def _read_image(part: Opened, unread: list[str]) -> Image:
    value = part.raw("image_url")
    if value is None and part.raw("file_id") is not None:
        raise stored_file(part.at("file_id"))
    if value is None:
        raise UnsupportedError("an image needs its image_url", part.at("image_url"))
    cache = part.raw("cache_control")
    if value.startswith(b'"'):
        url, detail = msgspec.json.decode(value, type=str), part.text("detail")
    else:
        image = Opened(value, part.at("image_url"))
        url, detail = image.text("url") or "", image.text("detail")
        unread += image.left()
    inline = split_data_url(url)
    if inline is None:
        return Image(url=url, detail=detail, cache=cache)
    return Image(data=inline[1], media_type=inline[0], detail=detail, cache=cache)


def _read_file(part: Opened, unread: list[str]) -> Document:
    cache = part.raw("cache_control")
    file = part.inner("file")
    if file is None:
        raise UnsupportedError("a file part needs its file", part.at("file"))
    name, stated = file.text("filename"), file.text("format")
    sent, file_id = file.text("file_data"), file.text("file_id")
    unread += file.left()
    if sent is None and file_id is None:
        raise UnsupportedError("a file needs file_data or file_id", file.path)
    if sent is None:
        if file_id is None or not file_id.startswith(_WEB):
            raise stored_file(file.at("file_id"))
        return Document(url=file_id, media_type=stated, name=name, cache=cache)
    if file_id is not None:
        unread.append(file.at("file_id"))
    if sent.startswith(_WEB):
        return Document(url=sent, media_type=stated, name=name, cache=cache)
    media_type, data = split_data_url(sent) or (None, sent)
    return Document(data=data, media_type=media_type or stated or "application/pdf", name=name, cache=cache)
