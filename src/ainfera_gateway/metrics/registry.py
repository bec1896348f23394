"""A small registry of counters, gauges and histograms with bounded label sets.

Updates may come from any thread. A label value beyond its bound is counted under ``other``, so that nothing a caller
sends can grow the memory or the scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from threading import Lock
from typing import Generic, Literal, TypeVar

OTHER = "other"
LABEL_VALUES_MAX = 200

Number = int | float | Decimal
LabelValues = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Label:
    """A label: its name, and either the closed set of its values or how many distinct values it may take.

    ``reserved`` values are admitted beyond that number.
    """

    name: str
    values_max: int = LABEL_VALUES_MAX
    values: frozenset[str] | None = None
    reserved: frozenset[str] = frozenset()


class CounterSeries:
    """One series of a counter; ``inc`` adds a whole, non-negative amount."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self.value = 0
        self._lock = Lock()

    def inc(self, amount: int = 1) -> None:
        if amount < 0:
            raise ValueError("a counter only grows")
        with self._lock:
            self.value += amount


class GaugeSeries:
    """One series of a gauge: set, moved, or read from a function at the time of the scrape."""

    __slots__ = ("_lock", "_read", "_value")

    def __init__(self) -> None:
        self._value: Number = 0
        self._read: Callable[[], Number] | None = None
        self._lock = Lock()

    @property
    def value(self) -> Number:
        return self._value if self._read is None else self._read()

    def set(self, value: Number) -> None:
        self._value = value

    def add(self, amount: int) -> None:
        """Move an integer gauge up or down."""
        with self._lock:
            self._value = int(self._value) + amount

    def set_function(self, read: Callable[[], Number]) -> None:
        """Read the value from ``read`` at each scrape; it must not block."""
        self._read = read


class HistogramSeries:
    """One series of a histogram. Counts are kept per bucket; the cumulative form is made when it is rendered."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        # A bound belongs to its bucket (le), hence bisect_left.
        index = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[index] += 1
            self._sum += value

    def snapshot(self) -> tuple[list[int], float]:
        """Counts per bucket (the last one is above every bound) and the sum, taken together."""
        with self._lock:
            return list(self._counts), self._sum


SeriesT = TypeVar("SeriesT", CounterSeries, GaugeSeries, HistogramSeries)


class Family(Generic[SeriesT]):
    """A metric and its series by label values."""

    def __init__(
        self, kind: Kind, name: str, description: str, labels: Sequence[Label], make: Callable[[], SeriesT]
    ) -> None:
        self.kind = kind
        self.name = name
        self.description = description
        self.labels = tuple(labels)
        self._make: Callable[[], SeriesT] = make
        self._series: dict[LabelValues, SeriesT] = {}
        self._seen: tuple[set[str], ...] = tuple(set() for _ in self.labels)
        self._lock = Lock()
        if not self.labels:
            self._series[()] = make()

    def at(self, *values: str) -> SeriesT:
        """The series of these label values, made at 0 when it is new; a value beyond its bound reads ``other``."""
        series = self._series.get(values)
        return self._admit(values) if series is None else series

    def items(self) -> list[tuple[LabelValues, SeriesT]]:
        """Every series, sorted by label values."""
        with self._lock:
            return sorted(self._series.items(), key=lambda item: item[0])

    def _admit(self, values: LabelValues) -> SeriesT:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} takes {len(self.labels)} label values")
        with self._lock:
            bounded = tuple(map(self._bounded, self.labels, self._seen, values))
            series = self._series.get(bounded)
            if series is None:
                series = self._series[bounded] = self._make()
            return series

    @staticmethod
    def _bounded(label: Label, seen: set[str], value: str) -> str:
        if label.values is not None:
            return value if value in label.values else OTHER
        if value not in seen and value not in label.reserved:
            if len(seen) >= label.values_max:
                return OTHER
            seen.add(value)
        return value


class Counter(Family[CounterSeries]):
    """A count that only grows."""

    def __init__(self, name: str, description: str, labels: Sequence[Label] = ()) -> None:
        super().__init__("counter", name, description, labels, CounterSeries)

    def inc(self, *values: str, amount: int = 1) -> None:
        self.at(*values).inc(amount)


class Gauge(Family[GaugeSeries]):
    """A value that goes up and down."""

    def __init__(self, name: str, description: str, labels: Sequence[Label] = ()) -> None:
        super().__init__("gauge", name, description, labels, GaugeSeries)

    def set(self, value: Number, *values: str) -> None:
        self.at(*values).set(value)


class Histogram(Family[HistogramSeries]):
    """Observations in buckets; ``bounds`` are the finite upper bounds, ascending."""

    def __init__(self, name: str, description: str, bounds: Iterable[float], labels: Sequence[Label] = ()) -> None:
        self.bounds = tuple(bounds)
        if not self.bounds or list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError("bucket bounds must ascend")
        super().__init__("histogram", name, description, labels, lambda: HistogramSeries(self.bounds))

    def observe(self, value: float, *values: str) -> None:
        self.at(*values).observe(value)


Metric = Counter | Gauge | Histogram


class Registry:
    """The metrics of one process, each name once."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, description: str, labels: Sequence[Label] = ()) -> Counter:
        metric = Counter(name, description, labels)
        self._add(metric)
        return metric

    def gauge(self, name: str, description: str, labels: Sequence[Label] = ()) -> Gauge:
        metric = Gauge(name, description, labels)
        self._add(metric)
        return metric

    def histogram(
        self, name: str, description: str, bounds: Iterable[float], labels: Sequence[Label] = ()
    ) -> Histogram:
        metric = Histogram(name, description, bounds, labels)
        self._add(metric)
        return metric

    def metrics(self) -> list[Metric]:
        """Every metric, sorted by name."""
        return [self._metrics[name] for name in sorted(self._metrics)]

    def _add(self, metric: Metric) -> None:
        if metric.name in self._metrics:
            raise ValueError(f"{metric.name} is declared twice")
        self._metrics[metric.name] = metric
