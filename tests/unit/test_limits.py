"""Token buckets."""

from __future__ import annotations

from ainfera_gateway.limits import Buckets


class MovedClock:
    def __init__(self) -> None:
        self.s = 100.0

    def now_us(self) -> int:
        return int(self.s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.s


def test_a_bucket_admits_its_burst_then_refills_evenly() -> None:
    clock = MovedClock()
    buckets = Buckets(clock, per_minute=60, burst=3)
    assert [buckets.take("a")[0] for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b")[0]
    assert 0 < buckets.wait_s("a") <= 1
    clock.s += 1.0
    assert buckets.wait_s("a") == 0
    assert buckets.take("a")[0]
    assert not buckets.take("a")[0]


def test_waiting_changes_nothing_and_unknown_names_wait_for_nothing() -> None:
    clock = MovedClock()
    buckets = Buckets(clock, per_minute=1)
    assert buckets.wait_s("a") == 0
    assert buckets.take("a")[0]
    waits = {round(buckets.wait_s("a"), 6) for _ in range(5)}
    assert len(waits) == 1


def test_memory_is_bounded() -> None:
    buckets = Buckets(MovedClock(), per_minute=1)
    for number in range(60_000):
        buckets.take(str(number))
    assert len(buckets._buckets) <= 50_000
