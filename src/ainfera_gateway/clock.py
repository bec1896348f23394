"""The clock, one of the two borders that tests may fake."""

from __future__ import annotations

import time
from datetime import UTC, datetime
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


def iso(us: int) -> str:
    """RFC 3339 text in UTC with microseconds, for example ``2026-11-23T20:30:00.000001Z``."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06d}Z"


def utc_day(us: int) -> str:
    """The UTC day of a moment, ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d")


def utc_month(us: int) -> str:
    """The UTC month of a moment, ``YYYY-MM``."""
    return utc_day(us)[:7]
