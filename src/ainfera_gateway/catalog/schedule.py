"""Stored price lines, read into the prices that hold at one moment. Pure.

A price class is text: a line of ``price.LINES``, then ``@200000`` for calls whose whole input is more than that, then
``~0100-0400`` for calls made between these times of the UTC day. ``input@200000~0100-0400`` is all of it. A schedule is
the set of lines that begin to hold at one moment, and it replaces the schedule before it as a whole: otherwise a tier
that was given up would live on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ainfera_gateway.catalog.price import LINES, PriceError, Prices, Tier

_CLASS: Final = re.compile(r"([a-z0-9_]+?)(?:@(\d{1,12}))?(?:~(\d{4})-(\d{4}))?")
_MINUTE_US: Final = 60_000_000
_DAY_US: Final = 24 * 60 * _MINUTE_US

Lines = Mapping[str, int]
"""Price class to pico-USD per token (per search for ``web_search``)."""


class Window(Struct, frozen=True):
    """A time of the UTC day in minutes, from ``start`` up to but not at ``end``; it may run over midnight."""

    start: int
    end: int

    def holds(self, minute: int) -> bool:
        """Whether that minute of the day lies in it."""
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


class PriceClass(Struct, frozen=True):
    """A price class, taken apart."""

    line: str
    above_tokens: int | None = None
    window: Window | None = None


def price_class(text: str) -> PriceClass:
    """The parts of a stored price class. Raises ``PriceError`` for text that is none."""
    match = _CLASS.fullmatch(text)
    if match is None or match[1] not in LINES:
        raise PriceError(f"{text} is no price class")
    window = None if match[3] is None else Window(_minute(match[3], text), _minute(match[4], text))
    return PriceClass(match[1], None if match[2] is None else int(match[2]), window)


def prices_at(lines: Lines, now_us: int) -> Prices:
    """The prices of one schedule at a moment, in microseconds since the epoch.

    Within a window its lines stand in for the plain ones. A tier starts from the base, so a line without a tier of
    its own costs the same in all. Without an input and an output line the prices are not ``complete``.
    """
    minute = now_us % _DAY_US // _MINUTE_US
    base: dict[str, int] = {}
    tiers: dict[int, dict[str, int]] = {}
    parsed = [(price_class(text), picousd) for text, picousd in lines.items()]
    # Plain lines before those of a window, so that the latter win.
    for found, picousd in sorted(parsed, key=lambda pair: pair[0].window is not None):
        if found.window is None or found.window.holds(minute):
            level = base if found.above_tokens is None else tiers.setdefault(found.above_tokens, {})
            level[found.line] = picousd
    return replace(_prices(base), tiers=_tiers(base, tiers))


def _tiers(base: dict[str, int], tiers: dict[int, dict[str, int]]) -> tuple[Tier, ...]:
    built, reached = [], base
    for above in sorted(tiers):
        reached = reached | tiers[above]
        built.append(Tier(above, _prices(reached)))
    return tuple(built)


def next_change_us(lines: Lines, now_us: int) -> int | None:
    """The next moment at which a window of this schedule opens or closes, None where it has none."""
    windows = [found.window for found in map(price_class, lines) if found.window is not None]
    day_us = now_us - now_us % _DAY_US
    edges = {day_us + minute * _MINUTE_US for window in windows for minute in (window.start, window.end)}
    return min((edge if edge > now_us else edge + _DAY_US for edge in edges), default=None)


def in_force(schedules: Mapping[int, Lines], now_us: int) -> Lines:
    """The schedule that holds at a moment, of schedules by the moment they begin; empty before the first."""
    begun = [moment for moment in schedules if moment <= now_us]
    return schedules[max(begun)] if begun else {}


def _prices(lines: dict[str, int]) -> Prices:
    return Prices(
        **{f"{name}_picousd": lines.get(name) for name in LINES}
        | {  # type: ignore[arg-type]  # the names are the fields'
            "input_picousd": lines.get("input", 0),
            "output_picousd": lines.get("output", 0),
            "complete": "input" in lines and "output" in lines,
        }
    )


def _minute(clock: str, text: str) -> int:
    hours, minutes = int(clock[:2]), int(clock[2:])
    if hours > 23 or minutes > 59:
        raise PriceError(f"{text} names no time of day")
    return hours * 60 + minutes
