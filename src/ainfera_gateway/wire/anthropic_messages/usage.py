"""The dialect's ``usage`` object, read leniently and written exactly.

On this wire ``input_tokens`` leaves out what was read from the cache and what was written to it; inside the house the
total has both.
"""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.usage import Usage

_TOKENS_MAX = 2**53
_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_OUTPUT = ("output_tokens", "thinking_tokens")


class UsageTally:
    """The reports of one answer as one.

    They are cumulative: a later figure takes the place of an earlier one, also a smaller one, for some begin with an
    estimate. Some send zeros for what they do not repeat, so a later zero erases a figure only where the report has
    another figure of the input beside it: then the parts of the input have moved.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, sent: Any, *, begins: bool = False) -> Usage | None:
        """Take a report in; the usage so far, None while nothing was reported.

        ``begins`` marks the report in ``message_start``: its ``output_tokens`` are those of the first token, which say
        nothing about an answer that is cut off, so they do not count.
        """
        report = _counts(sent)
        moved = any(report.get(name) for name in _INPUT)
        for name, value in report.items():
            if begins and name in _OUTPUT:
                continue
            if value or name not in self._counts or (moved and name in _INPUT):
                self._counts[name] = value
        return self.usage

    @property
    def usage(self) -> Usage | None:
        """Tokens by class, senseless figures left out."""
        counts = self._counts
        if not counts:
            return None
        cached, written = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
        long_lived, short_lived = counts.get("ephemeral_1h_input_tokens"), counts.get("ephemeral_5m_input_tokens")
        if long_lived is not None or short_lived is not None:
            written = max(written or 0, (long_lived or 0) + (short_lived or 0))
        fresh = counts.get("input_tokens")
        return Usage(
            input_tokens=None if fresh is None else fresh + (cached or 0) + (written or 0),
            output_tokens=counts.get("output_tokens"),
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=counts.get("thinking_tokens"),
            cache_write_1h_tokens=long_lived,
            web_searches=counts.get("web_search_requests"),
        )


def read_usage(sent: Any) -> Usage | None:
    """Tokens by class of a plain answer, or None when ``sent`` reports nothing."""
    return UsageTally().add(sent)


def usage_object(usage: Usage) -> dict[str, Any]:
    """The ``usage`` object of this dialect; what was not reported is 0 in the totals and absent in the details."""
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    told: dict[str, Any] = {
        "input_tokens": max(0, (usage.input_tokens or 0) - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.cache_write_1h_tokens is not None:
        told["cache_creation"] = {
            "ephemeral_5m_input_tokens": max(0, written - usage.cache_write_1h_tokens),
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        }
    if usage.reasoning_tokens is not None:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told


def _counts(sent: Any) -> dict[str, int]:
    if not isinstance(sent, dict):
        return {}
    found: dict[str, int] = {}
    for holder, names in (
        (sent, (*_INPUT, "output_tokens")),
        (sent.get("cache_creation"), ("ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens")),
        (sent.get("output_tokens_details"), ("thinking_tokens",)),
        (sent.get("server_tool_use"), ("web_search_requests",)),
    ):
        if not isinstance(holder, dict):
            continue
        for name in names:
            value = _count(holder.get(name))
            if value is not None:
                found[name] = value
    return found


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _TOKENS_MAX:
        return None
    return value
