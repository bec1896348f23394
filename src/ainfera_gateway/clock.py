"""The clock, one of the two borders that tests may fake."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Wall time in microseconds since the epoch, and a monotonic reading in seconds."""

    def now_us(self) -> int: ...

    def monotonic_s(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()


_DAY_US = 86_400_000_000


# Many events fall into one second and all of a call's counters into one day, so both texts are kept.
@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=16)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * (_DAY_US // 1_000_000), UTC).strftime("%Y-%m-%d")


def iso(us: int) -> str:
    """RFC 3339 text in UTC with microseconds, for example ``2026-11-23T20:30:00.000001Z``."""
    seconds, rest = divmod(us, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest:06d}Z"


def utc_day(us: int) -> str:
    """The UTC day of a moment, ``YYYY-MM-DD``."""
    return _day(us // _DAY_US)


def utc_month(us: int) -> str:
    """The UTC month of a moment, ``YYYY-MM``."""
    return utc_day(us)[:7]
