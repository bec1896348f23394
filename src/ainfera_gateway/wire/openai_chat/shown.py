"""Media that messages show, and the text beside it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from ainfera_gateway.wire.media import Media, base64_of, document, image, sound
from ainfera_gateway.wire.openai_chat.body import ContentPart, Message

_IMAGES = frozenset({"image_url", "input_image"})


class FileFields(Struct, frozen=True):
    """A file: in base64, or by its id."""

    file_data: str | None = None


_file_decoder = msgspec.json.Decoder(FileFields | None)


def media_of(messages: tuple[Message, ...]) -> tuple[tuple[Media, ...], list[str]]:
    """Each piece of media, and the base64 that was sent, both in the order of the messages."""
    media: list[Media] = []
    payloads: list[str] = []
    for part in _parts(messages):
        data: str | None = None
        if part.type in _IMAGES:
            data, detail = _image_of(part)
            media.append(image(data, detail))
        elif part.input_audio is not None:
            data = part.input_audio.data
            media.append(sound(data))
        elif part.type == "file":
            data = _file_of(part)
            media.append(document(data))
        if data:
            payloads.append(data)
    return tuple(media), payloads


def texts_of(messages: tuple[Message, ...]) -> Iterator[str]:
    """What is said in words, for messages of which the media cannot be taken out."""
    for message in messages:
        if isinstance(message.content, str):
            yield message.content
        for call in message.tool_calls or ():
            if call.function is not None:
                yield call.function.name
                yield call.function.arguments
        yield message.reasoning_content or ""
    for part in _parts(messages):
        yield part.text or ""


def _parts(messages: tuple[Message, ...]) -> Iterator[ContentPart]:
    for message in messages:
        if isinstance(message.content, tuple):
            yield from message.content


def _image_of(part: ContentPart) -> tuple[str | None, str | None]:
    sent = part.image_url
    if sent is None or isinstance(sent, str):
        return base64_of(sent or ""), None
    return base64_of(sent.url), sent.detail


def _file_of(part: ContentPart) -> str | None:
    try:
        fields = _file_decoder.decode(part.file)
    except msgspec.DecodeError:
        return None
    sent = None if fields is None else fields.file_data
    # Some send the base64 alone.
    return None if sent is None else base64_of(sent) or sent
