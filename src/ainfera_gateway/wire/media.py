"""Pieces of media in a request: what is known of each without decoding it, and the text that is left beside them."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from ainfera_gateway.wire.image_size import image_size

_HEAD_CHARS = 64 * 1024
"""Base64 that is looked at. A JPEG whose frame starts later than that counts as one of unknown size."""
_WAV_HEAD_BYTES = 32
_SOUND_BYTES_A_SECOND = (2_000, 400_000)


class Media(Struct, frozen=True):
    """One piece. ``size`` is of the file, in bytes, 0 when it is elsewhere; width and height are 0 when unknown.

    ``detail`` is what the caller asked for of an image; ``bytes_a_second`` what sound says of itself, 0 for nothing.
    """

    kind: Literal["image", "document", "sound"]
    size: int = 0
    width: int = 0
    height: int = 0
    detail: str = ""
    bytes_a_second: int = 0


def image(data: str | None, detail: str | None = None) -> Media:
    """An image of ``data`` in base64; None for one that is elsewhere."""
    if data is None:
        return Media("image", detail=detail or "")
    width, height = image_size(_head(data)) or (0, 0)
    return Media("image", _size(data), width, height, detail or "")


def document(data: str | None) -> Media:
    """A document of ``data`` in base64; None for one that is elsewhere."""
    return Media("document", 0 if data is None else max(1, _size(data)))


def sound(data: str) -> Media:
    """Sound of ``data`` in base64. Only WAV says how long it is; how fast it says to be is believed within bounds."""
    head = _head(data[:64])
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE" or len(head) < _WAV_HEAD_BYTES:
        return Media("sound", _size(data))
    least, most = _SOUND_BYTES_A_SECOND
    return Media("sound", _size(data), bytes_a_second=min(max(int.from_bytes(head[28:32], "little"), least), most))


def base64_of(url: str) -> str | None:
    """The base64 of a ``data:`` URL; None for any other."""
    if url[:5].lower() != "data:":
        return None
    return url.partition(",")[2]


def without(text: bytes, payloads: Iterable[str]) -> bytes | None:
    """JSON ``text`` less the base64 in it, which stands there in the order given; None if one is not found.

    Some writers of JSON escape each slash. One pass over the text.
    """
    kept: list[bytes] = []
    place = 0
    for payload in payloads:
        sent = payload.encode("utf-8", "replace")
        found = text.find(sent, place)
        if found < 0:
            sent = sent.replace(b"/", b"\\/")
            found = text.find(sent, place)
        if found < 0:
            return None
        kept.append(text[place:found])
        place = found + len(sent)
    kept.append(text[place:])
    return b"".join(kept)


def _size(data: str) -> int:
    return len(data) * 3 // 4


def _head(data: str) -> bytes:
    """The first bytes of a file; nothing where this is no base64."""
    start = data[:_HEAD_CHARS]
    try:
        return binascii.a2b_base64(start[: len(start) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""
