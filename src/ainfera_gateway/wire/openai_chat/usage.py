"""The dialect's ``usage`` object, read leniently and written exactly."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.usage import Usage

_TOKENS_MAX = 2**53


def read_usage(sent: Any) -> Usage | None:
    """Tokens by class, or None when ``sent`` reports nothing. Senseless figures count as not reported.

    Some providers leave reasoning out of ``completion_tokens`` and add it only to ``total_tokens``, with or without
    a figure of its own; where the sums show that, it is added, so that ``output_tokens`` always includes it.
    """
    if not isinstance(sent, dict):
        return None
    prompt = _count(sent, "prompt_tokens")
    completion = _count(sent, "completion_tokens")
    total = _count(sent, "total_tokens")
    prompt_details = _object(sent, "prompt_tokens_details")
    completion_details = _object(sent, "completion_tokens_details")
    reasoning = _count(completion_details, "reasoning_tokens")
    if prompt is not None and completion is not None and total is not None:
        hidden = total - prompt - completion
        if hidden > 0 and (reasoning == hidden or not reasoning):
            completion, reasoning = completion + hidden, hidden
    usage = Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_input_tokens=_first(
            _count(prompt_details, "cached_tokens"),
            _count(sent, "prompt_cache_hit_tokens"),
            _count(sent, "cached_tokens"),
        ),
        cache_write_tokens=_count(prompt_details, "cache_write_tokens"),
        reasoning_tokens=reasoning,
        audio_input_tokens=_count(prompt_details, "audio_tokens"),
        audio_output_tokens=_count(completion_details, "audio_tokens"),
    )
    return None if usage == Usage() else usage


def usage_object(usage: Usage) -> dict[str, Any]:
    """The ``usage`` object of this dialect; what was not reported is 0 in the totals and absent in the details."""
    tokens_in = usage.input_tokens or 0
    tokens_out = usage.output_tokens or 0
    written: dict[str, Any] = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }
    prompt_details = {
        name: value
        for name, value in (
            ("cached_tokens", usage.cached_input_tokens),
            ("cache_write_tokens", usage.cache_write_tokens),
            ("audio_tokens", usage.audio_input_tokens),
        )
        if value is not None
    }
    if prompt_details:
        written["prompt_tokens_details"] = prompt_details
    completion_details = {
        name: value
        for name, value in (
            ("reasoning_tokens", usage.reasoning_tokens),
            ("audio_tokens", usage.audio_output_tokens),
        )
        if value is not None
    }
    if completion_details:
        written["completion_tokens_details"] = completion_details
    return written


def _object(sent: dict[str, Any], name: str) -> dict[str, Any]:
    value = sent.get(name)
    return value if isinstance(value, dict) else {}


def _count(sent: dict[str, Any], name: str) -> int | None:
    value = sent.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _TOKENS_MAX:
        return None
    return value


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
