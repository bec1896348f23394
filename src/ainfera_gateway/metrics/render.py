"""The Prometheus text format 0.0.4: sorted, so that the same figures always give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate

from ainfera_gateway.metrics.registry import Histogram, HistogramSeries, LabelValues, Metric, Number, Registry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(registry: Registry) -> bytes:
    """The whole scrape as UTF-8 text."""
    return "".join(line + "\n" for metric in registry.metrics() for line in _lines(metric)).encode("utf-8", "replace")


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escape_help(metric.description)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    names = [label.name for label in metric.labels]
    if isinstance(metric, Histogram):
        for values, histogram in metric.items():
            yield from _histogram_lines(metric, names, values, histogram)
        return
    for values, series in metric.items():
        yield f"{metric.name}{_labels(names, values)} {_number(series.value)}"


def _histogram_lines(
    metric: Histogram, names: Sequence[str], values: LabelValues, series: HistogramSeries
) -> Iterator[str]:
    counts, total = series.snapshot()
    bounds = [*(_number(bound) for bound in metric.bounds), "+Inf"]
    cumulative = list(accumulate(counts))
    for bound, count in zip(bounds, cumulative, strict=True):
        yield f"{metric.name}_bucket{_labels([*names, 'le'], (*values, bound))} {count}"
    yield f"{metric.name}_sum{_labels(names, values)} {_number(total)}"
    yield f"{metric.name}_count{_labels(names, values)} {cumulative[-1]}"


def _labels(names: Sequence[str], values: LabelValues) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: Number) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(int(value))
