"""Decode with msgspec, and say what was wrong in words that name the field."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from ainfera_gateway.canonical.problems import ParseError

_T = TypeVar("_T")

_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"^Object (?P<verb>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_EXPECTED = re.compile(r"^Expected `(?P<wanted>[^`]*)`(?P<detail>.*)$", re.DOTALL)


def decode(decoder: msgspec.json.Decoder[_T], body: bytes, *, path: str = "") -> _T:
    """The value of ``body``, or a ``ParseError`` with the path of the first field that does not fit.

    ``path`` is where ``body`` stands in the request, when it is not the whole of it.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise _problem(str(exc), path) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ParseError(f"{path or 'the body'} is not valid JSON: {exc}", path or None) from None


def join_path(path: str, name: str) -> str:
    """``messages[0]`` and ``role`` make ``messages[0].role``."""
    return f"{path}.{name}" if path and not name.startswith("[") else path + name


def _problem(text: str, base: str) -> ParseError:
    found = _AT.match(text)
    what = found["what"] if found else text
    path = join_path(base, (found["path"] if found else None) or "")
    path = path.removesuffix(".")
    named = _NAMED.match(what)
    if named:
        field = join_path(path, named["name"])
        problem = "is required" if named["verb"].startswith("missing") else "is not a known field"
        return ParseError(f"{field} {problem}", field)
    where = path or "the body"
    expected = _EXPECTED.match(what)
    if expected:
        wanted = expected["wanted"].replace(" | ", " or ")
        detail = expected["detail"].replace("`", "")
        return ParseError(f"{where} must be {wanted}{detail}", path or None)
    return ParseError(f"{where}: {what[:1].lower()}{what[1:]}".replace("`", ""), path or None)
