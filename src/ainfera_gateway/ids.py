"""Identifiers: UUIDv7 (RFC 9562), opaque to callers, ordered by time for the storage engine."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def new_id() -> str:
    """A new UUIDv7 as its 36-character text; strictly increasing within this process."""
    global _last_ms, _counter  # noqa: PLW0603 - the monotonic counter of RFC 9562 section 6.2 is process state
    tail = int.from_bytes(os.urandom(8), "big")
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms = now_ms
            _counter = (tail >> 62) & 0x3FF
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms += 1
                _counter = 0
        value = (_last_ms << 80) | (0x7 << 76) | (_counter << 64) | (0b10 << 62) | (tail & (2**62 - 1))
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether ``text`` has the canonical lower-case form of a UUID."""
    if len(text) != 36 or text[8] + text[13] + text[18] + text[23] != "----":
        return False
    digits = text.replace("-", "")
    return len(digits) == 32 and all(c in "0123456789abcdef" for c in digits)
