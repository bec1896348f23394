"""What a fresh database is given after its migrations. Only rows that are missing; what an operator changed stays."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from ainfera_gateway.catalog.model import Model, Provider
from ainfera_gateway.catalog.seed import SEED_MODELS, SEED_PROVIDERS, SEED_VERDICTS, SeedVerdict
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import brand_verdicts, model_prices, models, providers

PRICE_SOURCE = "seed"


@dataclass(frozen=True, slots=True)
class Missing:
    """The seed's rows that a database lacks."""

    providers: tuple[Provider, ...]
    models: tuple[Model, ...]
    prices: tuple[tuple[str, str, int], ...]
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
        for slug, price_class, picousd in self.missing.prices:
            page.insert(
                "model_prices",
                {
                    "id": new_id(),
                    "model_slug": slug,
                    "price_class": price_class,
                    "picousd_per_token": picousd,
                    "source": PRICE_SOURCE,
                    "valid_from_us": 0,
                },
            )
        for verdict in self.missing.verdicts:
            page.insert("brand_verdicts", verdict_row(verdict, page.now_us))
        return self.missing.count


async def seed(recorder: Recorder, reader: Engine) -> int:
    """Add what is missing, in one transaction; returns how many rows."""
    missing = await asyncio.to_thread(find_missing, reader)
    return int(await recorder.submit(Seed(missing))) if missing.count else 0


def find_missing(reader: Engine) -> Missing:
    """What the database lacks. A brand with any verdict keeps its own; a model with any price line keeps its prices."""
    with reader.connect() as connection:
        known_providers = set(connection.execute(select(providers.c.slug)).scalars())
        known_models = set(connection.execute(select(models.c.slug)).scalars())
        priced = set(connection.execute(select(model_prices.c.model_slug).distinct()).scalars())
        judged = set(connection.execute(select(brand_verdicts.c.brand).distinct()).scalars())
    return Missing(
        providers=tuple(provider for provider in SEED_PROVIDERS if provider.slug not in known_providers),
        models=tuple(model for model in SEED_MODELS if model.slug not in known_models),
        prices=tuple(
            (model.slug, price_class, picousd)
            for model in SEED_MODELS
            if model.slug not in priced
            for price_class, picousd in sorted(model.prices.lines().items())
        ),
        verdicts=tuple(verdict for verdict in SEED_VERDICTS if verdict.brand not in judged),
    )


def provider_row(provider: Provider) -> dict[str, Any]:
    """The row of ``providers``."""
    return {
        "slug": provider.slug,
        "display_name": provider.display_name,
        "base_url": provider.base_url,
        "enabled": int(provider.enabled),
    }


def model_row(model: Model) -> dict[str, Any]:
    """The row of ``models``; capabilities as a sorted JSON list, decimals as text."""
    return {
        "slug": model.slug,
        "display_name": model.display_name,
        "brand": model.brand,
        "provider": model.provider,
        "upstream_model": model.upstream_model,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": json.dumps(sorted(model.capabilities)),
        "prior": None if model.prior is None else str(model.prior),
        "prior_source": model.prior_source,
        "aa_index_source": model.aa_index_source,
        "latency_ms": model.latency_ms,
        "agentic_index": None if model.agentic_index is None else str(model.agentic_index),
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
