"""Canonical JSON, the bytes that the chain hashes and the store keeps.

Sorted keys, separators ``,`` and ``:``, UTF-8, nothing escaped that JSON does not force. What two readers could
render differently is refused rather than encoded: floats, NaN, integers beyond what a double holds exactly,
lone surrogates, NUL, keys that are not text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

INT_MAX = 2**53
DEPTH_MAX = 16
_NUL_ESCAPED = "\\u0000"


class CanonicalError(ValueError):
    """The payload has no canonical form. ``path`` names the offending place, for example ``$.usage[2]``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def canonical_json(payload: Mapping[str, Any]) -> bytes:
    """The canonical UTF-8 bytes of a JSON object.

    Takes a ``dict`` of str, int, bool, None, list and dict, at most 16 levels deep, integers within ±2^53.
    Raises ``CanonicalError``, which names the path, for anything else.
    """
    if type(payload) is not dict:
        raise CanonicalError("$", "the payload must be a dict")
    _check_dict(payload, DEPTH_MAX)
    text = _encode(payload)
    if _NUL_ESCAPED in text:
        # The six characters may also be an escaped backslash followed by u0000, which is legal: look closely.
        _explain_text(payload, "$")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        _explain_text(payload, "$")
        raise CanonicalError("$", "text with a lone surrogate") from exc


def _check_dict(value: dict[Any, Any], depth: int) -> None:
    """Walk types only. The path is not tracked here, because a good payload never needs it."""
    if depth == 0:
        raise CanonicalError("$", f"more than {DEPTH_MAX} levels deep")
    for key, item in value.items():
        if type(key) is not str:
            raise CanonicalError(_locate(value, key), "a key must be text")
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        try:
            _check_item(item, depth)
        except CanonicalError as exc:
            raise CanonicalError(f"$.{key}{exc.path[1:]}", exc.problem) from None


def _check_list(value: list[Any], depth: int) -> None:
    if depth == 0:
        raise CanonicalError("$", f"more than {DEPTH_MAX} levels deep")
    for index, item in enumerate(value):
        try:
            _check_item(item, depth)
        except CanonicalError as exc:
            raise CanonicalError(f"$[{index}]{exc.path[1:]}", exc.problem) from None


def _check_item(item: object, depth: int) -> None:
    kind = type(item)
    if kind is int:
        if not -INT_MAX <= item <= INT_MAX:  # type: ignore[operator]  # an int by the line above
            raise CanonicalError("$", "an integer beyond 2^53")
    elif kind is dict:
        _check_dict(item, depth - 1)  # type: ignore[arg-type]
    elif kind is list:
        _check_list(item, depth - 1)  # type: ignore[arg-type]
    elif kind is float:
        raise CanonicalError("$", "a float; write a decimal string")
    elif not (kind is bool or item is None or isinstance(item, str)):
        raise CanonicalError("$", f"{kind.__name__} is no JSON value of the chain")


def _locate(value: dict[Any, Any], key: object) -> str:
    return f"$[key {list(value).index(key)}]"


def _explain_text(value: object, path: str) -> None:
    """Raise with the path of the first text that holds NUL or a lone surrogate; return when there is none."""
    if isinstance(value, str):
        if "\0" in value:
            raise CanonicalError(path, "text with NUL")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise CanonicalError(path, "text with a lone surrogate")
    elif isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            _explain_text(key, f"{path}[key {index}]")
            _explain_text(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _explain_text(item, f"{path}[{index}]")
