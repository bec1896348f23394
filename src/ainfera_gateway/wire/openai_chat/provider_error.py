"""Read the body of a provider's failure, whatever form it has."""

from __future__ import annotations

import html
import re
from typing import Any

from msgspec import Struct

from ainfera_gateway.wire.lenient import read_json

MESSAGE_CHARS_MAX = 500
CODE_CHARS_MAX = 64
_TEXT_CHARS_MAX = 16_384

_TAG = re.compile(r"<(?:script|style)\b.{0,4000}?</(?:script|style)>|<[^<>]{0,2000}>", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# Credentials by scheme, by prefix (also with the middle masked), by form, and by the word before them.
_SECRET = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[^\s\"',;<>]{4,}"
    r"|\b(?:sk|gsk|xai|fw|csk|pplx|tgp|ainfera)[-_][A-Za-z0-9_*.\-]{6,}"
    r"|\bAIza[A-Za-z0-9_*\-]{10,}"
    r"|\bhf_[A-Za-z0-9*]{8,}"
    r"|\beyJ[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]{4,}){1,2}"
    r"|\b(?=[A-Za-z]*[0-9])[A-Za-z0-9]{32,}\b"
    r"|(?i:\b(?:api[-_ ]?key|token|secret|password|authorization)(?: provided| is)?[\"']?\s*[:=]\s*)"
    r"[\"']?(?i:(?:bearer|basic)\s+)?[^\s\"',;<>]{6,}"
)
_REMOVED = "[removed]"


class ProviderError(Struct, frozen=True):
    """What a provider said went wrong, cut short and without secrets; ``code`` is its own word (or type), if any."""

    message: str
    code: str | None


def read_provider_error(body: bytes) -> ProviderError:
    """The message and code of an error body.

    It may be an OpenAI object, an array of one, ``{code, error}``, a list of validation faults, text, HTML or nothing.
    """
    if not body.strip():
        return ProviderError("the provider sent no explanation", None)
    text = body[:_TEXT_CHARS_MAX].decode("utf-8", "replace")
    try:
        document = read_json(body)
    except ValueError:
        return ProviderError(_tidy(html.unescape(_TAG.sub(" ", text))) or "the provider sent no explanation", None)
    message, code = _find(document)
    return ProviderError(_tidy(message) or _tidy(text), _tidy(code)[:CODE_CHARS_MAX] or None if code else None)


def _find(document: Any) -> tuple[str, str | None]:
    """Message and code, "" and None where there are none."""
    if isinstance(document, list) and document:
        return _find(document[0])
    if isinstance(document, str):
        return document, None
    if not isinstance(document, dict):
        return "", None
    error = document.get("error")
    if isinstance(error, dict):
        inner, inner_code = _passed_on(error) or _find(error)
        return inner, inner_code or _word(document, "code", "type")
    code = _word(document, "status", "code", "type")
    if isinstance(error, str) and error:
        return error, code
    for name in ("message", "detail", "details", "title", "error_description"):
        value = document.get(name)
        if isinstance(value, str) and value:
            return value, code
        if isinstance(value, list | dict) and value:
            found, found_code = _find(value)
            if not found and isinstance(value, list) and isinstance(value[0], dict):
                found = str(value[0].get("msg", ""))
            if found:
                return found, code or found_code
    return "", code


def _passed_on(error: dict[str, Any]) -> tuple[str, str | None] | None:
    """What a reseller was told by the provider behind it, as OpenRouter hands it on; None where it says nothing."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not raw:
        return None
    try:
        told = read_json(raw.encode("utf-8", "replace")) if isinstance(raw, str) else raw
    except ValueError:
        told = raw
    message, code = _find(told)
    return (message, code or _word(error, "code", "type")) if message else None


def _word(document: dict[str, Any], *names: str) -> str | None:
    """The first of the named members that is text, else the first that is a number."""
    values = [document.get(name) for name in names]
    texts = [value for value in values if isinstance(value, str) and value]
    numbers = [str(value) for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return next(iter(texts + numbers), None)


def _tidy(text: str) -> str:
    """One line, without secrets, without what cannot be written again as UTF-8, at most ``MESSAGE_CHARS_MAX``."""
    clean = text[:_TEXT_CHARS_MAX].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    clean = _SECRET.sub(_REMOVED, _SPACE.sub(" ", clean).strip())
    return clean if len(clean) <= MESSAGE_CHARS_MAX else clean[: MESSAGE_CHARS_MAX - 1] + "…"
