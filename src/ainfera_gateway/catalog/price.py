"""What tokens cost: exact integers of pico-USD per token, by class.

5 USD per million tokens is 5,000,000 pico-USD per token, so a list price in USD per million with at most six
places is always a whole number here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from ainfera_gateway.money import parse_usd

TOKENS_PER_MILLION = 1_000_000
OUTPUT_TOKENS_UNASKED = 16_384
"""Output reserved for a caller who named no limit, where the model allows that much."""

PROJECTION_STEP_PICOUSD = 1_000_000
"""Projections are counted in steps of 1e-6 USD and rounded up, so that a budget is never exceeded by rounding."""


class PriceError(ValueError):
    """A price or a token count that cannot be billed."""


class UsageLike(Protocol):
    """Tokens of one call. Cached and cache-written tokens are parts of ``input_tokens``; None counts as zero."""

    @property
    def input_tokens(self) -> int | None: ...

    @property
    def output_tokens(self) -> int | None: ...

    @property
    def cached_input_tokens(self) -> int | None: ...

    @property
    def cache_write_tokens(self) -> int | None: ...


class Prices(Struct, frozen=True):
    """Price lines of one model in pico-USD per token.

    A class of input without a line of its own (None) is billed as plain input.
    """

    input_picousd: int
    output_picousd: int
    cached_input_picousd: int | None = None
    cache_write_picousd: int | None = None

    @property
    def combined_picousd(self) -> int:
        """One token in plus one token out, the figure that ranks models."""
        return self.input_picousd + self.output_picousd

    @property
    def is_priced(self) -> bool:
        """Whether both plain lines are above zero; a model without a price is never routed to."""
        return self.input_picousd > 0 and self.output_picousd > 0

    def lines(self) -> dict[str, int]:
        """The stored form: price class to pico-USD per token, only classes with a line of their own."""
        named = {
            "input": self.input_picousd,
            "output": self.output_picousd,
            "cached_input": self.cached_input_picousd,
            "cache_write": self.cache_write_picousd,
        }
        return {name: line for name, line in named.items() if line is not None}


class Cost(Struct, frozen=True):
    """The cost of one call by class, in pico-USD. ``input`` is the part of the input that no cache touched."""

    input_picousd: int
    output_picousd: int
    cached_input_picousd: int
    cache_write_picousd: int

    @property
    def total_picousd(self) -> int:
        """The sum of the classes, which is what is billed."""
        return self.input_picousd + self.output_picousd + self.cached_input_picousd + self.cache_write_picousd


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


def cost_by_class(usage: UsageLike, prices: Prices) -> Cost:
    """The exact cost of ``usage``, class by class.

    Raises ``PriceError`` for a negative count. Providers have been seen to report more cached tokens than input;
    input then counts as what its parts add up to, because each class was reported as consumed.
    """
    cached = usage.cached_input_tokens or 0
    written = usage.cache_write_tokens or 0
    total_in = usage.input_tokens or 0
    output = usage.output_tokens or 0
    if min(cached, written, total_in, output) < 0:
        raise PriceError("a token count is negative")
    plain = max(0, total_in - cached - written)
    cached_line = prices.cached_input_picousd
    write_line = prices.cache_write_picousd
    return Cost(
        input_picousd=plain * prices.input_picousd,
        output_picousd=output * prices.output_picousd,
        cached_input_picousd=cached * (prices.input_picousd if cached_line is None else cached_line),
        cache_write_picousd=written * (prices.input_picousd if write_line is None else write_line),
    )


def cost_picousd(usage: UsageLike, prices: Prices) -> int:
    """The exact cost of ``usage`` in pico-USD. Raises ``PriceError`` for a negative count."""
    return cost_by_class(usage, prices).total_picousd


def output_tokens_reserved(asked: int | None, model_max: int) -> int:
    """Output tokens a call is projected and held for: what was asked, never beyond what the model can give."""
    return min(OUTPUT_TOKENS_UNASKED if asked is None else asked, model_max)


def projected_picousd(prices: Prices, input_tokens: int, output_tokens: int) -> int:
    """The projected cost, rounded up to 1e-6 USD: the one estimator that serves the budget gate, caps and hold."""
    exact = input_tokens * prices.input_picousd + output_tokens * prices.output_picousd
    return -(-exact // PROJECTION_STEP_PICOUSD) * PROJECTION_STEP_PICOUSD


def output_tokens_payable(prices: Prices, input_tokens: int, funds_picousd: int) -> int:
    """The most output tokens whose projection, input included, ``funds_picousd`` pays; -1 when input alone is too much.

    Funds are counted in whole projection steps, so a hold of the projection never exceeds them.
    """
    whole = funds_picousd // PROJECTION_STEP_PICOUSD * PROJECTION_STEP_PICOUSD
    left = whole - input_tokens * prices.input_picousd
    if left < 0:
        return -1
    return left // prices.output_picousd if prices.output_picousd > 0 else 2**53


def decimal_text(value: Decimal) -> str:
    """Plain text of a decimal without exponent or trailing zeros: equal values give equal text."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
