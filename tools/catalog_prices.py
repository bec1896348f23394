"""Prices of the ``genai-prices`` package as exact price lines."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final

from genai_prices import types

from ainfera_gateway.catalog.imported import DatedPrices
from ainfera_gateway.catalog.price import PriceError, per_million

_LINES: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "cached_audio_input",
    "output_audio_mtok": "audio_output",
    "output_reasoning_mtok": "reasoning",
    "web_searches_kcount": "web_search",
}
_PER_THOUSAND: Final = frozenset({"web_searches_kcount"})
_NOT_CALLED: Final = frozenset({"storage_searches_kcount"})
"""Bills for files that were stored with the provider, which no call through the gateway can reach."""
_EMBEDDING_LINES: Final = frozenset({"input_mtok"})
"""Of an embedding model only text is billed: ``/v1/embeddings`` carries nothing else."""
_HOUR_PER_INPUT: Final = 2
"""Anthropic's documented price of a write that is kept for an hour, as a multiple of plain input."""


class LeftOutError(Exception):
    """Why a model is not imported."""


def dated_prices(model: types.ModelInfo, today: date, *, embeddings: bool, anthropic: bool) -> tuple[DatedPrices, ...]:
    """The schedule that holds on a day and those after it. Raises ``LeftOutError`` or ``PriceError``."""
    entries = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    starts = {_start(entry): None for entry in entries if not isinstance(entry.constraint, types.TimeOfDateConstraint)}
    past = [start for start in starts if start is None or start <= today]
    current = max(past, key=lambda start: start or date.min)
    found = []
    for start in sorted({current, *(start for start in starts if start not in past)}, key=lambda day: day or date.min):
        lines = _schedule(entries, start, embeddings=embeddings)
        if anthropic and not embeddings:
            lines |= _hour_lines(lines)
        found.append(DatedPrices(dict(sorted(lines.items())), start))
    return tuple(found)


def _start(entry: types.ConditionalPrice) -> date | None:
    return entry.constraint.start_date if isinstance(entry.constraint, types.StartDateConstraint) else None


def _schedule(entries: list[types.ConditionalPrice], start: date | None, *, embeddings: bool) -> dict[str, int]:
    """The lines from a day on: of the entries that hold then the last wins, windows behind it for their hours."""
    holding = [
        number
        for number, entry in enumerate(entries)
        if not isinstance(entry.constraint, types.TimeOfDateConstraint)
        and (_start(entry) or date.min) <= (start or date.min)
    ]
    base = _lines(entries[holding[-1]].prices, embeddings=embeddings)
    lines = dict(base)
    for entry in entries[holding[-1] + 1 :]:
        if isinstance(entry.constraint, types.TimeOfDateConstraint):
            within = _lines(entry.prices, embeddings=embeddings)
            if set(within) != set(base):
                raise LeftOutError("the prices of a time of day have other lines than the plain ones")
            hours = f"{_clock(entry.constraint.start_time)}-{_clock(entry.constraint.end_time)}"
            lines |= {f"{name}~{hours}": picousd for name, picousd in within.items()}
    return lines


def _clock(moment: time) -> str:
    day = datetime.combine(date(2026, 1, 1), moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return day.astimezone(UTC).strftime("%H%M")


def _lines(prices: types.ModelPrice, *, embeddings: bool) -> dict[str, int]:
    named = {name: value for name, value in vars(prices).items() if value is not None and name not in _NOT_CALLED}
    if not named:
        raise LeftOutError("free or unpriced")
    if embeddings:
        named = {name: value for name, value in named.items() if name in _EMBEDDING_LINES}
    unknown = sorted(set(named) - set(_LINES))
    if unknown:
        raise LeftOutError(f"billed by what no usage of a call tells: {', '.join(unknown)}")
    if "input_mtok" not in named:
        raise LeftOutError("no input price")
    lines: dict[str, int] = {}
    for name, value in named.items():
        if isinstance(value, types.TieredPrices):
            lines[_LINES[name]] = _picousd(name, value.base)
            lines |= {f"{_LINES[name]}@{tier.start}": _picousd(name, tier.price) for tier in value.tiers}
        else:
            lines[_LINES[name]] = _picousd(name, value)
    if embeddings:
        lines["output"] = 0
    if "output" not in lines:
        raise LeftOutError("no output price")
    if lines["input"] == 0 and not lines["output"]:
        raise LeftOutError("free or unpriced")
    return lines


def _picousd(name: str, usd: Decimal) -> int:
    """Pico-USD per token of USD per million, or per search of USD per thousand."""
    text = format(usd, "f")
    try:
        return per_million(text) * (1_000 if name in _PER_THOUSAND else 1)
    except (PriceError, ValueError):
        raise LeftOutError("a price is no whole number of pico-USD per token") from None


def _hour_lines(lines: dict[str, int]) -> dict[str, int]:
    """Writes kept for an hour, where the data has the short ones alone."""
    if "cache_write" not in lines or "cache_write_1h" in lines:
        return {}
    return {
        name.replace("input", "cache_write_1h", 1): picousd * _HOUR_PER_INPUT
        for name, picousd in lines.items()
        if name == "input" or name.startswith(("input@", "input~"))
    }
