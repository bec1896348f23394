"""What a JSON body must hold before anything reads it: depth, encoding, and characters no store can keep.

Each check looks at the bytes with a few passes of C code; the slow walk that names a field runs only once
a body is already suspected.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator

from ainfera_gateway.canonical.problems import ParseError

DEPTH_MAX = 64
CONTAINERS_MAX = 500_000
_PATH_CHARS_MAX = 200
_WALK_NODES_MAX = 100_000

_OPEN_CLOSE = bytes.maketrans(b"{}[]", b"()()")
_NOT_STRUCTURE = bytes(code for code in range(256) if code not in b'{}[]"')
# With escaped backslashes out of the way: NUL, a first half not followed by a second, a second not after a first.
_SUSPECT_ESCAPE = re.compile(
    rb"\\u(?:0000|[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F]))"
)
_UNREADABLE_CHARS = re.compile("[\x00\ud800-\udfff]")


def check_depth(body: bytes, depth_max: int = DEPTH_MAX) -> None:
    """Refuse objects and arrays nested deeper than ``depth_max``, or more than ``CONTAINERS_MAX`` of them.

    The outermost one is depth 1. Brackets inside strings do not count. A body that is not well formed may pass: the decoder refuses it.
    """
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return
    # Escaped quotes go first, so that every quote left begins or ends a string; then all that is neither quote nor
    # bracket; then pairs of quotes now side by side, which leaves inside and outside as they were; then strings.
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_OPEN_CLOSE, _NOT_STRUCTURE)
    brackets = b"".join(bare.replace(b'""', b"").split(b'"')[::2])
    if brackets.count(b"(") > CONTAINERS_MAX:
        raise ParseError(f"the body has more than {CONTAINERS_MAX} objects and arrays", None)
    too_many_open = b"(" * (depth_max + 1)
    depth = 0
    while brackets:
        # A run of openers is that deep at once: without this look, hostile megabytes would cost 64 passes.
        if depth == depth_max or too_many_open in brackets:
            raise ParseError(f"the body is nested deeper than {depth_max} levels", None)
        inner_removed = brackets.replace(b"()", b"")
        if len(inner_removed) == len(brackets):
            return
        brackets = inner_removed
        depth += 1


def check_text(body: bytes) -> None:
    """Refuse a byte order mark, bytes that are not UTF-8, and NUL or lone surrogates in any string, by field."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise ParseError("the body starts with a byte order mark; send plain UTF-8", None)
    if not body.isascii():
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as exc:
            field = find_unreadable(body.decode("utf-8", "surrogateescape"))
            raise ParseError(f"{field or 'the body'} is not valid UTF-8 (byte {exc.start})", field) from None
    suspected = b"\x00" in body
    if not suspected and b"\\u" in body:
        suspected = _SUSPECT_ESCAPE.search(body.replace(b"\\\\", b"  ")) is not None
    if not suspected:
        return
    field = find_unreadable(body.decode("utf-8"))
    raise ParseError(f"{field or 'the body'} contains a NUL character or half a surrogate pair", field or None)


def find_unreadable(text: str) -> str | None:
    """The path of the first string (or key) with a NUL or a lone surrogate; None when none, or not JSON.

    "" means the top level itself: a member name there, or a body that is one string.
    """
    return _find(text, lambda value: isinstance(value, str) and _UNREADABLE_CHARS.search(value) is not None)


def find_not_finite(text: str) -> str | None:
    """The path of the first ``NaN`` or ``Infinity``; None when none, or not JSON in another way."""
    return _find(text, lambda value: isinstance(value, float) and not math.isfinite(value))


def _find(text: str, wrong: Callable[[object], bool]) -> str | None:
    """Walk the document in its own order until ``wrong`` says so of a value or a member name.

    The walk ends at ``_WALK_NODES_MAX``: past that the body is still refused, only without a field's name.
    """
    try:
        document = json.loads(text, strict=False)
        for path, value in itertools.islice(_walk("", document), _WALK_NODES_MAX):
            if wrong(value):
                return path[:_PATH_CHARS_MAX]
    except (ValueError, RecursionError):
        return None
    return None


def _walk(path: str, value: object) -> Iterator[tuple[str, object]]:
    yield path, value
    if isinstance(value, dict):
        for name, member in value.items():
            yield path, name
            yield from _walk(f"{path}.{name}" if path else str(name), member)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(f"{path}[{index}]", item)
