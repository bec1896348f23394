"""Read JSON that somebody else wrote."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode


def read_json(body: bytes) -> Any:
    """The value of ``body``; ``ValueError`` when it is none.

    Half a surrogate pair, which a provider may send when it cuts a stream inside a character, is let through as the
    standard library lets it through; so are NaN and Infinity.
    """
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(body.decode("utf-8"))
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc
