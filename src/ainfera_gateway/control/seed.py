"""What a fresh database is given after its migrations. Only rows that are missing; what an operator changed stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import Engine, select

from ainfera_gateway.catalog.imported import Imported, day_us, imported
from ainfera_gateway.catalog.model import Model, Provider
from ainfera_gateway.catalog.schedule import Lines, in_force
from ainfera_gateway.catalog.seed import SEED_MODELS, SEED_PROVIDERS, SEED_VERDICTS, SeedVerdict
from ainfera_gateway.catalog.store import read_schedules
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import brand_verdicts, model_prices, models, providers

_TRIES = 5
PRICE_SOURCE = "seed"
"""The ``source`` of the prices of the seed's own models; imported ones name the data and its version."""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A price line that is missing; ``picousd`` per token (per search for searches)."""

    slug: str
    price_class: str
    picousd: int
    source: str
    valid_from_us: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The seed's rows that a database lacks."""

    providers: tuple[Provider, ...]
    models: tuple[Model, ...]
    prices: tuple[PriceRow, ...]
    verdicts: tuple[SeedVerdict, ...]

    @property
    def count(self) -> int:
        return len(self.providers) + len(self.models) + len(self.prices) + len(self.verdicts)


@dataclass(frozen=True, slots=True)
class Seed:
    """The unit that adds what is missing; ``submit`` returns how many rows."""

    missing: Missing

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> int:
        # Parents first: models refer to providers.
        for provider in self.missing.providers:
            page.insert("providers", provider_row(provider))
        for model in self.missing.models:
            page.insert("models", model_row(model))
        for price in self.missing.prices:
            page.insert(
                "model_prices",
                {
                    "id": new_id(),
                    "model_slug": price.slug,
                    "price_class": price.price_class,
                    "picousd_per_token": price.picousd,
                    "source": price.source,
                    "valid_from_us": price.valid_from_us,
                },
            )
        for verdict in self.missing.verdicts:
            page.insert("brand_verdicts", verdict_row(verdict, page.now_us))
        return self.missing.count


async def seed(recorder: Recorder, reader: Engine) -> int:
    """Add what is missing, in one transaction; returns how many rows.

    Processes that start at once on one database see the same rows missing: who comes later looks again.
    """
    for _ in range(_TRIES):
        missing = await asyncio.to_thread(find_missing, reader)
        if missing.count == 0:
            return 0
        try:
            return int(await recorder.submit(Seed(missing)))
        except asyncpg.UniqueViolationError as exc:
            clash = exc
    raise clash


def find_missing(reader: Engine, data: Imported | None = None) -> Missing:
    """What the database lacks of the seed and of ``data`` (None: the data that ships with the package).

    A brand with any verdict keeps its own. A model of the seed with any price line keeps its prices, and so does an
    imported model that has a line from another source; otherwise it gains what newer data says, never loses a row.
    """
    data = imported() if data is None else data
    with reader.connect() as connection:
        known_providers = set(connection.execute(select(providers.c.slug)).scalars())
        known_models = set(connection.execute(select(models.c.slug)).scalars())
        schedules = read_schedules(connection)
        sources = connection.execute(select(model_prices.c.model_slug, model_prices.c.source).distinct()).all()
        judged = set(connection.execute(select(brand_verdicts.c.brand).distinct()).scalars())
    kept = {slug for slug, source in sources if not source.startswith(f"{data.source} ")}
    if any(source.startswith(f"{data.source} ") and source[-10:] > str(data.imported_on) for _, source in sources):
        # An older gateway on a newer one's database: its data corrects nothing.
        kept |= set(schedules)
    lacking = tuple(model for model in data.models if model.slug not in known_models)
    day = day_us(data.imported_on)
    return Missing(
        providers=tuple(provider for provider in SEED_PROVIDERS if provider.slug not in known_providers),
        models=(
            *(model for model in SEED_MODELS if model.slug not in known_models),
            *(model.model(day) for model in lacking),
        ),
        prices=(
            *(
                PriceRow(model.slug, name, picousd, PRICE_SOURCE, 0)
                for model in SEED_MODELS
                if model.slug not in schedules
                for name, picousd in sorted(model.prices.lines().items())
            ),
            *(
                PriceRow(model.slug, name, picousd, data.label, moment)
                for model in data.models
                if model.slug not in kept
                for moment, lines in newer_schedules(schedules.get(model.slug, {}), model.schedules(), day)
                for name, picousd in sorted(lines.items())
            ),
        ),
        verdicts=tuple(verdict for verdict in SEED_VERDICTS if verdict.brand not in judged),
    )


def newer_schedules(
    stored: dict[int, dict[str, int]], wanted: dict[int, dict[str, int]], day: int
) -> Iterator[tuple[int, Lines]]:
    """The schedules of ``wanted``, data of that day, which ``stored`` lacks, with the moments they begin to hold.

    Rows are never changed, so a price that the data corrects without a date holds from the data's own day on, and a
    schedule that was announced otherwise before begins a microsecond after the one it replaces.
    """
    if not stored:
        yield from sorted(wanted.items())
        return
    grown = dict(stored)
    now = {day: in_force(wanted, day)} if in_force(wanted, day) else {}
    for begins, lines in sorted((now | {moment: new for moment, new in wanted.items() if moment > day}).items()):
        moment = begins
        while moment + 1 in grown:
            moment += 1
        if in_force(grown, moment) != lines:
            moment += moment in grown
            grown[moment] = dict(lines)
            yield moment, lines


def provider_row(provider: Provider) -> dict[str, Any]:
    """The row of ``providers``."""
    return {
        "slug": provider.slug,
        "display_name": provider.display_name,
        "base_url": provider.base_url,
        "enabled": int(provider.enabled),
    }


def model_row(model: Model) -> dict[str, Any]:
    """The row of ``models``; capabilities as a sorted JSON list (``null`` where unknown), decimals as text."""
    return {
        "slug": model.slug,
        "display_name": model.display_name,
        "brand": model.brand,
        "provider": model.provider,
        "upstream_model": model.upstream_model,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": json.dumps(sorted(model.capabilities) if model.capabilities_known else None),
        "prior": None if model.prior is None else str(model.prior),
        "prior_source": model.prior_source,
        "aa_index_source": model.aa_index_source,
        "latency_ms": model.latency_ms,
        "agentic_index": None if model.agentic_index is None else str(model.agentic_index),
        "wire": model.wire,
        "enabled": int(model.enabled),
    }


def verdict_row(verdict: SeedVerdict, now_us: int) -> dict[str, Any]:
    """The row of ``brand_verdicts``."""
    return {
        "id": new_id(),
        "brand": verdict.brand,
        "verdict": verdict.verdict,
        "condition": verdict.condition,
        "decided_by": verdict.decided_by,
        "decided_at_us": now_us,
        "evidence_url": verdict.evidence_url,
        "version": verdict.version,
    }
