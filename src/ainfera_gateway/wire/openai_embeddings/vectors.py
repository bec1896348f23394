"""Vectors in the form the caller asked for."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.json_splice import splice
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.answer import answer_members, splice_named

_items = msgspec.json.Decoder(list[Raw]).decode


def packed(vector: list[Any]) -> str:
    """Numbers as base64 of little-endian 32-bit floats. Raises ``ParseError`` for what is no such number."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        raise ParseError("the provider's answer holds an embedding that is not made of numbers", "data") from None


def with_base64(body: bytes) -> bytes:
    """An answer with each list of numbers in ``data`` packed; every other byte outside of ``data`` stays as it was.

    Vectors that are packed already stay so. Raises ``ParseError`` for an answer that cannot be read.
    """
    found = answer_members(body)
    data = next((body[member.value_start : member.value_end] for member in found if member.key == "data"), b"")
    if not data.startswith(b"["):
        return body
    try:
        listed = [_packed_item(bytes(item)) for item in _items(data)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ParseError("the provider's answer is not JSON", "data") from None
    return splice_named(body, found, {"data": b"[" + b",".join(listed) + b"]"})


def _packed_item(item: bytes) -> bytes:
    if not item.startswith(b"{"):
        return item
    found = answer_members(item)
    for member in found:
        value = item[member.value_start : member.value_end]
        if member.key == "embedding" and value.startswith(b"["):
            return splice(item, found, {"embedding": msgspec.json.encode(packed(read_json(value)))})
    return item
