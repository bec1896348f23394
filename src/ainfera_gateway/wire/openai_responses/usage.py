"""The ``usage`` object of a response, read leniently."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.usage import Usage

_TOKENS_MAX = 2**53


def read_usage(sent: Any) -> Usage | None:
    """Tokens by class, or None when ``sent`` reports nothing. Senseless figures count as not reported.

    The totals of this wire include what is cached, written to the cache, and reasoned, as ours do.
    """
    if not isinstance(sent, dict):
        return None
    given = sent.get("input_tokens_details")
    made = sent.get("output_tokens_details")
    usage = Usage(
        input_tokens=_count(sent, "input_tokens"),
        output_tokens=_count(sent, "output_tokens"),
        cached_input_tokens=_count(given, "cached_tokens"),
        cache_write_tokens=_count(given, "cache_write_tokens"),
        reasoning_tokens=_count(made, "reasoning_tokens"),
    )
    return None if usage == Usage() else usage


def _count(sent: Any, name: str) -> int | None:
    value = sent.get(name) if isinstance(sent, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _TOKENS_MAX:
        return None
    return value
