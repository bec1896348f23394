"""What a call costs: exact integers of pico-USD per token, by class, and how much to set aside for it.

5 USD per million tokens is 5,000,000 pico-USD per token, so a list price in USD per million with at most six
places is always a whole number here.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final, Protocol

from msgspec import Struct

from ainfera_gateway.money import parse_usd

TOKENS_PER_MILLION = 1_000_000
OUTPUT_TOKENS_UNASKED = 16_384
"""Output reserved for a caller who named no limit, where the model allows that much."""

PROJECTION_STEP_PICOUSD = 1_000_000
"""Projections are counted in steps of 1e-6 USD and rounded up, so that a budget is never exceeded by rounding."""

INPUT_LINES: Final = (
    "input",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "cached_audio_input",
)
OUTPUT_LINES: Final = ("output", "reasoning", "audio_output")
LINES: Final = (*INPUT_LINES, *OUTPUT_LINES, "web_search")
"""Every price line. All are per token but ``web_search``, which is per search that the provider ran."""


class PriceError(ValueError):
    """A price or a token count that cannot be billed."""


class UsageLike(Protocol):
    """Tokens of one call; None counts as zero.

    Cached, cache-written and audio tokens are parts of ``input_tokens``, those written for an hour part of the
    written ones; reasoning and audio are parts of ``output_tokens``. ``web_searches`` counts searches.
    """

    @property
    def input_tokens(self) -> int | None: ...

    @property
    def output_tokens(self) -> int | None: ...

    @property
    def cached_input_tokens(self) -> int | None: ...

    @property
    def cache_write_tokens(self) -> int | None: ...

    @property
    def reasoning_tokens(self) -> int | None: ...

    @property
    def cache_write_1h_tokens(self) -> int | None: ...

    @property
    def audio_input_tokens(self) -> int | None: ...

    @property
    def audio_output_tokens(self) -> int | None: ...

    @property
    def web_searches(self) -> int | None: ...


class Tier(Struct, frozen=True):
    """Prices for the whole of a call whose whole input is more than ``above_tokens``."""

    above_tokens: int
    prices: Prices


class Prices(Struct, frozen=True):
    """Price lines of one model in pico-USD per token.

    A class without a line of its own (None) is billed by the one above it: a write for an hour as a write, cached
    audio as cached input, every other input as plain input, reasoning and audio as plain output, a search not at all.
    ``tiers`` rise by threshold. ``complete`` is false where an input or output line is missing: such a model is refused.
    """

    input_picousd: int
    output_picousd: int
    cached_input_picousd: int | None = None
    cache_write_picousd: int | None = None
    cache_write_1h_picousd: int | None = None
    audio_input_picousd: int | None = None
    cached_audio_input_picousd: int | None = None
    reasoning_picousd: int | None = None
    audio_output_picousd: int | None = None
    web_search_picousd: int | None = None
    tiers: tuple[Tier, ...] = ()
    complete: bool = True

    @property
    def combined_picousd(self) -> int:
        """One token in plus one token out, the figure that ranks models."""
        return self.input_picousd + self.output_picousd

    @property
    def is_priced(self) -> bool:
        """Whether both plain lines are above zero; a model without a price is never routed to."""
        return self.input_picousd > 0 and self.output_picousd > 0

    def at(self, input_tokens: int) -> Prices:
        """The prices of a call with that much input in all: those of the highest tier that it passes."""
        found = self
        for tier in self.tiers:
            if input_tokens > tier.above_tokens:
                found = tier.prices
        return found

    def lines(self) -> dict[str, int]:
        """Price class to pico-USD per token, only classes with a line of their own: ``input``, ``input@200000``, …"""
        own = {name: line for name in LINES if (line := getattr(self, f"{name}_picousd")) is not None}
        for tier in self.tiers:
            own |= {f"{name}@{tier.above_tokens}": line for name, line in tier.prices.lines().items()}
        return own

    def hold_prices(self, input_tokens: int, without: frozenset[str] = frozenset()) -> tuple[int, int]:
        """What one token in and one token out can cost at most, in a call of up to ``input_tokens``.

        ``without`` names lines that this call cannot reach, for example ``cache_write_1h`` when nothing in it asks for
        an hour. Searches are not in it: how many a provider runs is not known before.
        """
        return _dearest(self, sum(input_tokens > tier.above_tokens for tier in self.tiers), without)

    def line(self, name: str) -> int:
        """What one of that class costs, by its own line or the one it falls back to."""
        own: int | None = getattr(self, f"{name}_picousd")
        if own is not None:
            return own
        return self.line(_FALLBACK[name]) if name in _FALLBACK else 0


_FALLBACK: Final = {
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "cached_audio_input": "cached_input",
    "reasoning": "output",
    "audio_output": "output",
}


@lru_cache(maxsize=4096)
def _dearest(prices: Prices, tiers: int, without: frozenset[str]) -> tuple[int, int]:
    """The dearest lines of the base and the first ``tiers`` tiers: a lower tier is not always the cheaper one."""
    reached = (prices, *(tier.prices for tier in prices.tiers[:tiers]))
    return (
        max(found.line(name) for found in reached for name in INPUT_LINES if name not in without),
        max(found.line(name) for found in reached for name in OUTPUT_LINES if name not in without),
    )


class Cost(Struct, frozen=True):
    """The cost of one call by class, in pico-USD. ``input`` and ``output`` are what no other class took."""

    input_picousd: int
    output_picousd: int
    cached_input_picousd: int
    cache_write_picousd: int
    cache_write_1h_picousd: int = 0
    audio_input_picousd: int = 0
    cached_audio_input_picousd: int = 0
    reasoning_picousd: int = 0
    audio_output_picousd: int = 0
    web_search_picousd: int = 0

    @property
    def total_picousd(self) -> int:
        """The sum of the classes, which is what is billed."""
        total: int = sum(getattr(self, name) for name in self.__struct_fields__)
        return total


def per_million(usd: str) -> int:
    """Pico-USD per token of a list price in USD per million tokens, for example ``"1.25"`` → 1,250,000.

    Raises ``PriceError`` when the price is negative or not a whole number of pico-USD per token.
    """
    picousd, rest = divmod(parse_usd(usd), TOKENS_PER_MILLION)
    if rest or picousd < 0:
        raise PriceError(f"{usd} USD per million tokens is not a whole, non-negative number of pico-USD per token")
    return picousd


def usd_per_million(picousd_per_token: int) -> str:
    """The list price in USD per million tokens, exact, with two to six places: 1,250,000 → ``"1.25"``."""
    whole, places = divmod(picousd_per_token, 10**6)
    return f"{whole}.{f'{places:06d}'.rstrip('0').ljust(2, '0')}"


def counts(usage: UsageLike) -> dict[str, int]:
    """``usage`` as counts that overlap nowhere, one a price line. Raises ``PriceError`` for a negative count.

    Providers have been seen to report more cached tokens than input; input then counts as what its parts add up to,
    because each class was reported as consumed. Nobody says which cached tokens were audio: those count as cached
    audio that find no room beside the cached ones.
    """
    reported = {name: getattr(usage, name) or 0 for name in _COUNTED}
    if min(reported.values()) < 0:
        raise PriceError("a count is negative")
    cached, hour, audio = reported["cached_input_tokens"], reported["cache_write_1h_tokens"], "audio_input_tokens"
    written = max(reported["cache_write_tokens"], hour)
    total = max(reported["input_tokens"], cached + written, reported[audio])
    fresh_audio = min(reported[audio], total - cached - written)
    cached_audio = min(cached, reported[audio] - fresh_audio)
    spoken, thought = reported["audio_output_tokens"], reported["reasoning_tokens"]
    output = max(reported["output_tokens"], spoken)
    thought = min(thought, output - spoken)
    return {
        "input": total - cached - written - fresh_audio,
        "cached_input": cached - cached_audio,
        "cache_write": written - hour,
        "cache_write_1h": hour,
        "audio_input": fresh_audio,
        "cached_audio_input": cached_audio,
        "output": output - spoken - thought,
        "reasoning": thought,
        "audio_output": spoken,
        "web_search": reported["web_searches"],
    }


_COUNTED: Final = (
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "web_searches",
)
_INPUT_COUNTS: Final = frozenset(INPUT_LINES)


def cost_by_class(usage: UsageLike, prices: Prices) -> Cost:
    """The exact cost of ``usage``, class by class, at the tier its whole input falls into.

    Raises ``PriceError`` for a negative count.
    """
    counted = counts(usage)
    found = (
        prices.at(sum(count for name, count in counted.items() if name in _INPUT_COUNTS)) if prices.tiers else prices
    )
    return Cost(**{f"{name}_picousd": count * found.line(name) if count else 0 for name, count in counted.items()})


def cost_picousd(usage: UsageLike, prices: Prices) -> int:
    """The exact cost of ``usage`` in pico-USD. Raises ``PriceError`` for a negative count."""
    return cost_by_class(usage, prices).total_picousd


def output_tokens_reserved(asked: int | None, model_max: int) -> int:
    """Output tokens a call is projected and held for: what was asked, never beyond what the model can give."""
    return min(OUTPUT_TOKENS_UNASKED if asked is None else asked, model_max)


def projected_picousd(prices: Prices, input_tokens: int, output_tokens: int) -> int:
    """The projected cost, rounded up to 1e-6 USD: no call within these counts costs more, searches apart."""
    input_line, output_line = prices.hold_prices(input_tokens)
    exact = input_tokens * input_line + output_tokens * output_line
    return -(-exact // PROJECTION_STEP_PICOUSD) * PROJECTION_STEP_PICOUSD


def output_tokens_payable(prices: Prices, input_tokens: int, funds_picousd: int) -> int:
    """The most output tokens whose projection, input included, ``funds_picousd`` pays; -1 when input alone is too much.

    Funds are counted in whole projection steps, so a hold of the projection never exceeds them.
    """
    input_line, output_line = prices.hold_prices(input_tokens)
    whole = funds_picousd // PROJECTION_STEP_PICOUSD * PROJECTION_STEP_PICOUSD
    left = whole - input_tokens * input_line
    if left < 0:
        return -1
    return left // output_line if output_line > 0 else 2**53


def decimal_text(value: Decimal) -> str:
    """Plain text of a decimal without exponent or trailing zeros: equal values give equal text."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
