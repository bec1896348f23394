"""What must not be logged, by field name at any depth and by shape inside any text.

Shapes are matched with RE2, whose time is linear in the text; a backtracking engine can be held up for seconds by a
few kilobytes that a caller chose. ``Scrubber`` also knows the exact secrets of this process, since several providers'
keys have no shape of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import re2

REDACTED = "[redacted]"
DEPTH_MAX = 8
ITEMS_MAX = 256
TEXT_CHARS_MAX = 16_384
_SECRET_CHARS_MIN = 8
_METRIC_LIKE_CHARS_MAX = 40
_NAME_CHARS_MIN = 16
_NAME_CHARS_MAX = 64
# Ids and hashes are most of what is logged, and no shape below fits into these characters alone.
_ID_CHARS = "0123456789abcdef-"

_SECRET_NAMES = frozenset(
    {
        "authorization", "proxy_authorization", "cookie", "set_cookie", "password", "passwd", "pwd", "passphrase",
        "secret", "secrets", "token", "apikey", "api_key", "x_api_key", "x_goog_api_key", "key_secret", "private_key",
        "private_key_pem", "hmac_key", "data_key", "signing_key", "internal_key", "x_ainfera_internal_key",
        "credential", "credentials", "bearer", "jws", "prompt", "messages", "completion", "database_url", "dsn",
    }
)  # fmt: skip
_SECRET_ENDINGS = ("_api_key", "_password", "_secret", "_token", "_private_key", "_internal_key", "_data_key", "_dsn")

_PAIR_NAMES = (
    r"passw(?:or)?d|pwd|passphrase|secret|api[_-]?key|(?:access|refresh|auth|id)_token|client_secret|private_key"
    r"|x[_-]goog[_-]api[_-]key|internal[_-]key|data_key|hmac_key"
)
# A named group tells which replacement a hit gets. Order matters: the first alternative that fits wins.
_SHAPES = (
    r"(?P<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.)*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z))",
    r"(?P<store>\b(?:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?)(?:\+\w+)?://)[^\s\"'<>]*@",
    r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#\"'<>]*@",
    r"(?P<header>(?i:\b(?:proxy-)?authorization[\"']?\s*[:=]\s*(?:b?[\"'])?))[^\r\n\"',;}]+",
    r"(?P<cookie>(?i:\b(?:set-)?cookie[\"']?\s*[:=]\s*(?:b?[\"'])?))[^\r\n\"']+",
    r"(?P<scheme>(?i:\b(?:bearer|basic)\s+))[A-Za-z0-9._~+/=-]{8,}",
    r"(?P<pair>(?i:(?:\b|_)(?:"
    + _PAIR_NAMES
    + r")(?:[\"']?\s*[:=]\s*|[\"']\s*,\s*)))(?:b?\"[^\"]*\"|b?'[^']*'|[^\s\"',;&}]+)",
    r"(?P<query>[?&](?i:key|token|sig|signature)=)[^&\s\"'#]+",
    r"(?P<ours>\bainfera_[A-Za-z0-9_-]{16,})",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*",
    r"\b(?:c?sk|rk|pk)-[A-Za-z0-9_-]{16,}",
    r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\b(?:gsk|hf|fw|tgp_v1|r8|npm|pypi)_[A-Za-z0-9_-]{20,}",
    r"\bxai-[A-Za-z0-9_-]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
)
_KEPT_GROUPS = ("store", "url", "header", "cookie", "scheme", "pair", "query")
_shapes = re2.compile("|".join(_SHAPES))
_camel_case = re2.compile(r"([a-z0-9])([A-Z])")


def secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret or a caller's text, whatever its value looks like.

    ``x-api-key``, ``X_API_KEY`` and ``xApiKey`` are one name.
    """
    return _secret_name(name[-_NAME_CHARS_MAX:])


@lru_cache(maxsize=1024)
def _secret_name(name: str) -> bool:
    plain = _camel_case.sub(r"\1_\2", name).lower().replace("-", "_")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def scrub_text(text: str) -> str:
    """``text`` without the secrets that have a shape; text without any comes back unchanged."""
    if len(text) < _SECRET_CHARS_MIN or not text.strip(_ID_CHARS):
        return text
    if not text.isascii():
        # RE2 reads UTF-8, which has no lone surrogates.
        text = text.encode("utf-8", "replace").decode("utf-8")
    if _shapes.search(text) is None:
        return text
    return str(_shapes.sub(_replacement, text))


def _replacement(match: Any) -> str:
    found = match.groupdict()
    ours = found["ours"]
    if ours is not None and _metric_like(ours):
        return str(match.group())
    for name in _KEPT_GROUPS:
        if found[name] is not None:
            end = "@" if name in ("store", "url") else ""
            return f"{found[name]}{REDACTED}{end}"
    return REDACTED


def _metric_like(text: str) -> bool:
    """Names of series start like a key does, but hold lower-case words only and are shorter than any key."""
    return len(text) <= _METRIC_LIKE_CHARS_MAX and all(char == "_" or "a" <= char <= "z" for char in text)


def _names_secret(value: object) -> bool:
    """Whether this is the first half of a header or another pair that holds a secret."""
    if isinstance(value, bytes):
        value = value[-_NAME_CHARS_MAX:].decode("ascii", "replace")
    return isinstance(value, str) and secret_name(value)


class Scrubber:
    """Scrubs texts and values. ``known_secrets`` are exact texts to remove wherever they stand (8 characters up)."""

    def __init__(self, known_secrets: Iterable[str] = ()) -> None:
        # Longest first, so that a secret which contains another one goes as a whole.
        self._known = sorted({s for s in known_secrets if len(s) >= _SECRET_CHARS_MIN}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` without secrets, at most 16,384 characters."""
        if not text.isascii():
            # A lone surrogate is escaped by JSON writers and refused by JSON readers.
            text = text.encode("utf-8", "replace").decode("utf-8")
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, REDACTED)
        scrubbed = scrub_text(text)
        if len(scrubbed) > TEXT_CHARS_MAX:
            return f"{scrubbed[:TEXT_CHARS_MAX]}… ({len(scrubbed)} characters)"
        return scrubbed

    def name(self, name: str) -> str:
        """A field's name without secrets; short ones cannot hold any."""
        return name if len(name) < _NAME_CHARS_MIN else self.text(name)

    def value(self, value: object, depth: int = DEPTH_MAX) -> Any:
        """A JSON value without secrets; other objects become their text. Depth and width are bounded."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self.text(bytes(value).decode("utf-8", "replace"))
        if depth == 0:
            return "[too deep]"
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple) and len(value) == 2 and _names_secret(value[0]):
            return [self.value(value[0], depth - 1), REDACTED]
        if isinstance(value, list | tuple | set | frozenset):
            items = list(value) if isinstance(value, list | tuple) else sorted(value, key=str)
            kept = [self.value(item, depth - 1) for item in items[:ITEMS_MAX]]
            return [*kept, f"({len(items) - ITEMS_MAX} more)"] if len(items) > ITEMS_MAX else kept
        return self.text(str(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for count, (key, item) in enumerate(value.items()):
            if count == ITEMS_MAX:
                made["…"] = f"({len(value) - ITEMS_MAX} more)"
                break
            name = key if isinstance(key, str) else str(key)
            made[self.name(name)] = REDACTED if secret_name(name) and item is not None else self.value(item, depth - 1)
        return made
