"""Ids of tool calls, as a provider takes them. The same id always becomes the same one, so results find their calls."""

from __future__ import annotations

import hashlib
import re

ID_CHARS_MAX = 40
_NINE = re.compile(r"[a-zA-Z0-9]{9}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def nine_chars(call_id: str) -> str:
    """An id of nine letters and digits: itself where it is one, else nine taken from its hash."""
    if _NINE.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode()).digest())
    chars: list[str] = []
    for _ in range(9):
        number, digit = divmod(number, len(_DIGITS))
        chars.append(_DIGITS[digit])
    return "".join(chars)


def bounded(call_id: str) -> str:
    """An id of at most ``ID_CHARS_MAX`` characters, OpenAI's limit: a longer one by its hash."""
    if len(call_id) <= ID_CHARS_MAX:
        return call_id
    return "call_" + hashlib.sha256(call_id.encode()).hexdigest()[: ID_CHARS_MAX - 5]


def sent_id(call_id: str, quirks: frozenset[str]) -> str:
    """The id that goes to a provider with these ``quirks``."""
    return nine_chars(call_id) if "nine_char_tool_ids" in quirks else bounded(call_id)
