"""Ids of tool calls: what this dialect takes as one, and the signature of another maker that may ride in one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

_VALID = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_VALID = re.compile(r"[^a-zA-Z0-9_-]")
_HASH_CHARS = 16
THOUGHT_MARK = "__thought__"


def valid_id(call_id: str) -> str:
    """An id of letters, digits, ``_`` and ``-``: itself where it is one, else with a hash that keeps it its own.

    The same id always becomes the same one, so results find their calls.
    """
    if _VALID.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_NOT_VALID.sub('_', call_id)}_{digest[:_HASH_CHARS]}"


def with_thought(call_id: str, thought_signature: str | None) -> str:
    """The id that a caller gets, with the signature behind the call in it, for this dialect has no place for it."""
    if not thought_signature:
        return call_id
    packed = base64.urlsafe_b64encode(thought_signature.encode("utf-8", "replace")).decode().rstrip("=")
    return f"{call_id}{THOUGHT_MARK}{packed}"


def split_thought(call_id: str) -> tuple[str, str | None]:
    """The id and the signature that ``with_thought`` put together; an id without one is itself."""
    bare, mark, packed = call_id.rpartition(THOUGHT_MARK)
    if not mark or not packed:
        return call_id, None
    try:
        padded = packed + "=" * (-len(packed) % 4)
        signature = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return call_id, None
    return bare, signature
