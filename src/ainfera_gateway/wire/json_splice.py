"""Change single members of a JSON object inside its bytes, and leave every other byte as it was.

The decoder, in C, says what each value's bytes are; this module only walks from member name to member name. No
loop runs over the characters of a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec
from msgspec import Raw, Struct

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.json_limits import find_not_finite

MEMBERS_MAX = 1024

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_NAME = re.compile(rb'[ \t\n\r]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_AFTER_VALUE = re.compile(rb"[ \t\n\r]*([,}])")
_OPEN = re.compile(rb"[ \t\n\r]*\{")
_TEXT_OPEN = re.compile(r"[ \t\n\r]*\{[ \t\n\r]*(\}?)")
_TEXT_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_TEXT_AFTER = re.compile(r"[ \t\n\r]*(?:,[ \t\n\r]*|(\}))")
_KEEP = b"(keep)"  # told apart by identity, never by value


class Member(Struct, frozen=True):
    """One member: ``body[key_start:value_end]`` is ``"key": value``; ``key`` is decoded."""

    key: str
    key_start: int
    value_start: int
    value_end: int


class DuplicateMemberError(ParseError):
    """A member name that stands twice in one object."""


def members(body: bytes, *, path: str = "") -> list[Member]:
    """The members of the object that ``body`` is, in order, with exact byte offsets.

    ``path`` names the object in errors when it is not the whole request. Raises ``ParseError`` for anything that is
    not one well-formed JSON object of at most ``MEMBERS_MAX`` members, ``DuplicateMemberError`` for a repeated name.
    """
    values = _decode(body, path)
    if len(values) > MEMBERS_MAX:
        raise ParseError(f"{path or 'the body'} has more than {MEMBERS_MAX} members", path or None)
    found: list[Member] = []
    seen: set[str] = set()
    opened = _OPEN.match(body)
    position = opened.end() if opened else 0
    while named := _NAME.match(body, position):
        token = named.group(1)
        key: str = msgspec.json.decode(token) if b"\\" in token else token[1:-1].decode("utf-8")
        start = named.end()
        value = bytes(values[key])
        end = start + len(value)
        after = _AFTER_VALUE.match(body, end) if body.startswith(value, start) else None
        # The decoder keeps the last of equal names, so an earlier one shows as another value or as a name seen before.
        if after is None or key in seen:
            field = f"{path}.{key}" if path else key
            raise DuplicateMemberError(f"{field} appears more than once", field)
        seen.add(key)
        found.append(Member(key, named.start(1), start, end))
        position = after.end()
        if after.group(1) == b"}":
            break
    return found


def members_with_repeats(body: bytes) -> list[Member]:
    """Like ``members``, but for what a provider sent: repeated names and half surrogates are let through.

    Slower, for the rare body that ``members`` refuses. Raises ``ParseError`` when it is no JSON object at all.
    """
    try:
        text = body.decode("utf-8")
        found = _members_of_text(text)
    except (ValueError, RecursionError) as exc:
        raise ParseError("the body is not a JSON object", None) from exc
    if text.isascii():
        return found
    shifted: list[Member] = []
    chars = offset = 0
    for member in found:
        bounds: list[int] = []
        for bound in (member.key_start, member.value_start, member.value_end):
            offset += len(text[chars:bound].encode())
            chars = bound
            bounds.append(offset)
        shifted.append(Member(member.key, *bounds))
    return shifted


def _members_of_text(text: str) -> list[Member]:
    """Members by character offset; ``ValueError`` for anything but one JSON object."""
    scan = json.JSONDecoder(strict=False).raw_decode
    opened = _TEXT_OPEN.match(text)
    if opened is None:
        raise ValueError("not an object")
    found: list[Member] = []
    position = opened.end()
    separator = opened.group(1)
    while separator != "}":
        key, key_end = scan(text, position)
        colon = _TEXT_COLON.match(text, key_end)
        if colon is None or not isinstance(key, str):
            raise ValueError("not a member")
        _, value_end = scan(text, colon.end())
        after = _TEXT_AFTER.match(text, value_end)
        if after is None:
            raise ValueError("neither comma nor end")
        found.append(Member(key, position, colon.end(), value_end))
        position = after.end()
        separator = after.group(1)
    if text[position:].strip(" \t\n\r"):
        raise ValueError("trailing characters")
    return found


def splice(
    body: bytes,
    members: Sequence[Member],
    replace: Mapping[str, bytes | None],
    append: Mapping[str, bytes] | None = None,
) -> bytes:
    """``body`` with some values replaced, some members removed (None) and some appended; all else byte for byte.

    A member goes together with the comma and space before it (the first one: after it). A name to remove need not be
    there; a name to replace must be (``KeyError``), a name to append must not stay (``ValueError``). All values are
    JSON bytes; an appended member is written without spaces.
    """
    added = append or {}
    _check_names({member.key for member in members}, replace, added)
    if members:
        pieces = [body[: members[0].key_start]]
        tail = body[members[-1].value_end :]
    else:
        inside = _opened(body)
        pieces = [body[:inside]]
        tail = body[inside:]
    any_kept = False
    gap_start = 0
    for member in members:
        value = replace.get(member.key, _KEEP)
        if value is not None:
            if any_kept:
                pieces.append(body[gap_start : member.key_start])
            any_kept = True
            pieces.append(body[member.key_start : member.value_start])
            pieces.append(body[member.value_start : member.value_end] if value is _KEEP else value)
        gap_start = member.value_end
    for key, value in added.items():
        pieces.append(b"," if any_kept else b"")
        pieces.append(msgspec.json.encode(key) + b":" + value)
        any_kept = True
    pieces.append(tail)
    return b"".join(pieces)


def with_usage_asked(stream_options: bytes) -> bytes:
    """The value of ``stream_options`` with ``include_usage`` true and the rest as it was; ``null`` counts as empty."""
    if stream_options == b"null":
        return b'{"include_usage":true}'
    inner = members(stream_options, path="stream_options")
    if any(member.key == "include_usage" for member in inner):
        return splice(stream_options, inner, {"include_usage": b"true"})
    return splice(stream_options, inner, {}, {"include_usage": b"true"})


def without_tags(metadata: bytes) -> bytes | None:
    """The value of ``metadata`` without ``tags``; None when tags were all it held, so that it should go altogether."""
    if metadata == b"null":
        return metadata
    inner = members(metadata, path="metadata")
    if [member.key for member in inner] == ["tags"]:
        return None
    return splice(metadata, inner, {"tags": None})


def _check_names(present: AbstractSet[str], replace: Mapping[str, bytes | None], append: Mapping[str, bytes]) -> None:
    for key, value in replace.items():
        if value is not None and key not in present:
            raise KeyError(key)
    for key in append:
        if key in present and replace.get(key, _KEEP) is not None:
            raise ValueError(f"{key} is there already")


def _opened(body: bytes) -> int:
    opened = _OPEN.match(body)
    if opened is None:
        raise ValueError("not an object")
    return opened.end()


def _decode(body: bytes, path: str) -> dict[str, Raw]:
    name = path or "the body"
    try:
        return _decode_members(body)
    except msgspec.ValidationError:
        raise ParseError(f"{name} must be a JSON object", path or None) from None
    except RecursionError:
        raise ParseError(f"{name} is nested too deep", path or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        if b"NaN" in body or b"Infinity" in body:
            field = find_not_finite(body.decode("utf-8", "replace"))
            if field is not None:
                raise ParseError(f"{field or name} is not a finite number", field or path or None) from None
        reason = str(exc).removeprefix("JSON is malformed: ")
        raise ParseError(f"{name} is not valid JSON: {reason}", path or None) from None
