"""Token buckets in memory: per agent for calls, per address for unknown keys and signups."""

from __future__ import annotations

from ainfera_gateway.clock import Clock

_BUCKETS_MAX = 50_000


class Buckets:
    """One bucket a name, ``per_minute`` tokens each, refilled evenly; the oldest are dropped past a bound."""

    def __init__(self, clock: Clock, per_minute: int, burst: int | None = None) -> None:
        self._clock = clock
        self._rate_per_s = per_minute / 60
        self.limit = burst or per_minute
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> tuple[bool, int, float]:
        """(admitted, whole tokens left, seconds until full again or, when refused, until the next token)."""
        now = self._clock.monotonic_s()
        tokens, seen = self._buckets.pop(name, (float(self.limit), now))
        tokens = min(float(self.limit), tokens + (now - seen) * self._rate_per_s)
        admitted = tokens >= 1
        if admitted:
            tokens -= 1
        if len(self._buckets) >= _BUCKETS_MAX:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[name] = (tokens, now)
        if not admitted:
            return False, 0, (1 - tokens) / self._rate_per_s
        return True, int(tokens), (self.limit - tokens) / self._rate_per_s

    def wait_s(self, name: str) -> float:
        """Seconds until ``take`` would admit; 0 when it would now. Changes nothing."""
        tokens, seen = self._buckets.get(name, (float(self.limit), 0.0))
        tokens += (self._clock.monotonic_s() - seen) * self._rate_per_s
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate_per_s
