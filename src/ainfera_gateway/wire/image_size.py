"""Width and height of an image from the first bytes of its file. Nothing is decoded, and nothing is trusted far."""

from __future__ import annotations

PIXELS_MAX = 1 << 16
"""No side is believed to be longer; longer ones count as unknown."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WEBP_HEAD_BYTES = 30
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def image_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, of PNG, JPEG, GIF or WebP; None where they cannot be told from ``head``."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        found = _png(head)
    elif head.startswith(b"\xff\xd8"):
        found = _jpeg(head)
    elif head.startswith((b"GIF87a", b"GIF89a")):
        found = (_little(head, 6, 2), _little(head, 8, 2))
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        found = _webp(head)
    else:
        return None
    if found is None or not (0 < found[0] <= PIXELS_MAX and 0 < found[1] <= PIXELS_MAX):
        return None
    return found


def _png(head: bytes) -> tuple[int, int] | None:
    # The header must be the first chunk; Apple's own kind of PNG has another before it, and is unknown here.
    return (_big(head, 16, 4), _big(head, 20, 4)) if head[12:16] == b"IHDR" else None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """Go from marker to marker until the one that starts a frame; each step is forward, so this ends."""
    place = 2
    while place + 9 <= len(head):
        if head[place] != 0xFF:
            return None
        marker = head[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _NO_LENGTH:
            place += 2
        elif marker in _START_OF_FRAME:
            return _big(head, place + 7, 2), _big(head, place + 5, 2)
        else:
            place += 2 + max(2, _big(head, place + 2, 2))
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    if len(head) < _WEBP_HEAD_BYTES:
        return None
    match head[12:16]:
        case b"VP8X":
            return 1 + _little(head, 24, 3), 1 + _little(head, 27, 3)
        case b"VP8L" if head[20:21] == b"\x2f":
            bits = _little(head, 21, 4)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            return _little(head, 26, 2) & 0x3FFF, _little(head, 28, 2) & 0x3FFF
        case _:
            return None


def _big(head: bytes, start: int, length: int) -> int:
    """0 where ``head`` ends before."""
    return int.from_bytes(head[start : start + length], "big") if len(head) >= start + length else 0


def _little(head: bytes, start: int, length: int) -> int:
    return int.from_bytes(head[start : start + length], "little") if len(head) >= start + length else 0
