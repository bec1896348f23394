"""Identifiers: UUIDv7 (RFC 9562), opaque to callers, ordered by time for the storage engine. And random bytes."""

from __future__ import annotations

import os
import threading
import time

_POOL_BYTES = 4096
_POOLED_BYTES_MAX = 64

_lock = threading.Lock()
_last_ms = 0
_counter = 0
_pool = b""
_used = 0


def _forget_pool() -> None:
    global _pool, _used
    _pool, _used = b"", 0


os.register_at_fork(after_in_child=_forget_pool)


def random_bytes(count: int) -> bytes:
    """``count`` bytes of the system's generator, each given out once; at most 64.

    They are taken from a pool, because each system call hands the interpreter lock to another thread: six of them a
    call were a tenth of its time.
    """
    if count > _POOLED_BYTES_MAX:
        raise ValueError(f"at most {_POOLED_BYTES_MAX} bytes")
    with _lock:
        return _take(count)


def _take(count: int) -> bytes:
    global _pool, _used  # noqa: PLW0603 - the pool is process state
    if _used + count > len(_pool):
        _pool, _used = os.urandom(_POOL_BYTES), 0
    taken = _pool[_used : _used + count]
    _used += count
    return taken


def new_id() -> str:
    """A new UUIDv7 as its 36-character text; strictly increasing within this process."""
    global _last_ms, _counter  # noqa: PLW0603 - the monotonic counter of RFC 9562 section 6.2 is process state
    with _lock:
        tail = int.from_bytes(_take(8), "big")
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


def earliest_id(us: int) -> str:
    """A bound for look-ups: ids made at that moment (microseconds since the epoch) or later sort behind it."""
    text = f"{max(0, us) // 1_000:012x}"
    return f"{text[:8]}-{text[8:]}"


def id_time_s(text: str) -> int:
    """The Unix time at which an id was made."""
    return int(text.replace("-", "")[:12], 16) // 1000


def is_id(text: str) -> bool:
    """Whether ``text`` has the canonical lower-case form of a UUID."""
    if len(text) != 36 or text[8] + text[13] + text[18] + text[23] != "----":
        return False
    digits = text.replace("-", "")
    return len(digits) == 32 and all(c in "0123456789abcdef" for c in digits)
