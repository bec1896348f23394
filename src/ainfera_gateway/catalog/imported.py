"""The price data that ships with the package: models that can be pinned, with dated prices, and their further names.

``make catalog`` writes the file from the ``genai-prices`` package; nothing is fetched when the gateway runs.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.names import Named, Names
from ainfera_gateway.catalog.schedule import in_force, prices_at

DATA_FILE = "models.json"


class DatedPrices(Struct, frozen=True, omit_defaults=True):
    """Price class to pico-USD, from the start of a UTC day on (``since`` None: from always)."""

    lines: dict[str, int]
    since: date | None = None

    @property
    def since_us(self) -> int:
        """The first moment at which they hold, in microseconds since the epoch."""
        return 0 if self.since is None else day_us(self.since)


class ImportedModel(Struct, frozen=True, omit_defaults=True):
    """A model of the data file. ``capabilities`` None means that nobody says what it can do."""

    slug: str
    display_name: str
    brand: str
    provider: str
    upstream_model: str
    context_window: int
    max_output_tokens: int
    prices: tuple[DatedPrices, ...]
    capabilities: tuple[str, ...] | None = None
    wire: Wire | None = None

    def schedules(self) -> dict[int, dict[str, int]]:
        """Schedules of price lines by the moment they begin."""
        return {dated.since_us: dated.lines for dated in self.prices}

    def model(self, now_us: int) -> Model:
        """The model with the prices of a moment."""
        return Model(
            slug=self.slug,
            display_name=self.display_name,
            brand=self.brand,
            provider=self.provider,
            upstream_model=self.upstream_model,
            context_window=self.context_window,
            max_output_tokens=self.max_output_tokens,
            capabilities=frozenset(self.capabilities or ()),
            capabilities_known=self.capabilities is not None,
            wire=self.wire,
            prices=prices_at(in_force(self.schedules(), now_us), now_us),
        )


class Imported(Struct, frozen=True):
    """The data file. ``exact`` and ``dated`` map a name to slug and upstream name, as ``Names`` does."""

    source: str
    version: str
    imported_on: date
    models: tuple[ImportedModel, ...]
    exact: dict[str, tuple[str, str]]
    dated: dict[str, tuple[str, str]]

    @property
    def label(self) -> str:
        """Where a price comes from, the ``source`` of its row: the data, its version, the day of the import."""
        return f"{self.source} {self.version} {self.imported_on}"

    def names(self) -> Names:
        """The further names of all models."""
        return Names(
            {name: Named(*found) for name, found in self.exact.items()},
            {name: Named(*found) for name, found in self.dated.items()},
        )


def day_us(day: date) -> int:
    """The start of a UTC day in microseconds since the epoch."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000


@cache
def imported() -> Imported:
    """The data file, read once. Raises ``msgspec.ValidationError`` when it is damaged."""
    content = files("ainfera_gateway.catalog").joinpath("data", DATA_FILE).read_bytes()
    return msgspec.json.decode(content, type=Imported)
