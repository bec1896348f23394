"""Tokens by class, as a provider reported them."""

from __future__ import annotations

from msgspec import Struct


class Usage(Struct, frozen=True):
    """Tokens of one call. None means not reported; an explicit zero is kept as zero.

    ``input_tokens`` counts all input, the cached and cache-written parts included; ``output_tokens`` counts all
    output, reasoning included. The other token fields are parts of these two, never additions to them;
    ``cache_write_1h_tokens`` is the part of ``cache_write_tokens`` that is kept for an hour. ``web_searches`` counts
    the searches that a provider ran and bills one by one.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    web_searches: int | None = None

    @property
    def known(self) -> bool:
        """Whether both totals were reported, so that the call can be priced without an estimate."""
        return self.input_tokens is not None and self.output_tokens is not None


def _larger(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    if right is None:
        return left
    return max(left, right)


def merge(earlier: Usage | None, later: Usage | None) -> Usage | None:
    """Two reports about the same call as one.

    Reports are cumulative, so each class takes its larger figure: a report sent twice counts once, a running
    total ends at its last value, and a late report that omits a class does not erase it.
    """
    if earlier is None:
        return later
    if later is None:
        return earlier
    return Usage(
        input_tokens=_larger(earlier.input_tokens, later.input_tokens),
        output_tokens=_larger(earlier.output_tokens, later.output_tokens),
        cached_input_tokens=_larger(earlier.cached_input_tokens, later.cached_input_tokens),
        cache_write_tokens=_larger(earlier.cache_write_tokens, later.cache_write_tokens),
        reasoning_tokens=_larger(earlier.reasoning_tokens, later.reasoning_tokens),
        cache_write_1h_tokens=_larger(earlier.cache_write_1h_tokens, later.cache_write_1h_tokens),
        audio_input_tokens=_larger(earlier.audio_input_tokens, later.audio_input_tokens),
        audio_output_tokens=_larger(earlier.audio_output_tokens, later.audio_output_tokens),
        web_searches=_larger(earlier.web_searches, later.web_searches),
    )
