"""The stored catalog, read into one snapshot. What is a provider's nature, not its setting, comes from the seed."""

from __future__ import annotations

import json
from decimal import Decimal

from msgspec.structs import replace
from sqlalchemy import Connection, select

from ainfera_gateway.catalog.model import Catalog, Model, catalog_of
from ainfera_gateway.catalog.price import Prices
from ainfera_gateway.catalog.seed import SEED_PROVIDERS
from ainfera_gateway.storage.tables import model_prices, models, providers


def load_catalog(connection: Connection) -> Catalog:
    """Models with their newest prices, and providers."""
    known = {provider.slug: provider for provider in SEED_PROVIDERS}
    found = [
        replace(known[row.slug], display_name=row.display_name, base_url=row.base_url, enabled=bool(row.enabled))
        for row in connection.execute(select(providers))
        if row.slug in known
    ]
    lines: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(model_prices).order_by(model_prices.c.valid_from_us)):
        lines.setdefault(row.model_slug, {})[row.price_class] = row.picousd_per_token
    loaded = [
        Model(
            slug=row.slug,
            display_name=row.display_name,
            brand=row.brand,
            provider=row.provider,
            upstream_model=row.upstream_model,
            context_window=row.context_window,
            max_output_tokens=row.max_output_tokens,
            capabilities=frozenset(json.loads(row.capabilities)),
            prices=_prices(lines.get(row.slug, {})),
            prior=None if row.prior is None else Decimal(row.prior),
            prior_source=row.prior_source,
            aa_index_source=row.aa_index_source,
            latency_ms=row.latency_ms,
            agentic_index=None if row.agentic_index is None else Decimal(row.agentic_index),
            enabled=bool(row.enabled),
        )
        for row in connection.execute(select(models))
    ]
    return catalog_of(loaded, found)


def _prices(lines: dict[str, int]) -> Prices:
    return Prices(
        input_picousd=lines.get("input", 0),
        output_picousd=lines.get("output", 0),
        cached_input_picousd=lines.get("cached_input"),
        cache_write_picousd=lines.get("cache_write"),
    )
