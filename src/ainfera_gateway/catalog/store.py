"""The stored catalog, read into one snapshot. What is a provider's nature, not its setting, comes from the seed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, select

from ainfera_gateway.catalog.imported import imported
from ainfera_gateway.catalog.model import Catalog, Model, catalog_of
from ainfera_gateway.catalog.schedule import Lines, in_force, next_change_us, prices_at
from ainfera_gateway.catalog.seed import SEED_PROVIDERS
from ainfera_gateway.storage.tables import model_prices, models, providers

Schedules = dict[str, dict[int, dict[str, int]]]
"""Price lines by model, then by the moment from which they hold."""


def load_catalog(connection: Connection, now_us: int | None = None) -> Catalog:
    """Models with the prices that hold at ``now_us`` (microseconds since the epoch; None: by the machine's clock),
    providers, and the further names of the shipped data.

    The snapshot's ``valid_until_us`` says when some price changes by its date or time of day.
    """
    now = time.time_ns() // 1000 if now_us is None else now_us
    known = {provider.slug: provider for provider in SEED_PROVIDERS}
    found = [
        replace(known[row.slug], display_name=row.display_name, base_url=row.base_url, enabled=bool(row.enabled))
        for row in connection.execute(select(providers))
        if row.slug in known
    ]
    schedules = read_schedules(connection)
    changes: list[int] = []
    loaded = []
    for row in connection.execute(select(models)):
        dated = schedules.get(row.slug, {})
        lines = in_force(dated, now)
        loaded.append(_model(row, lines, now))
        changes += [moment for moment in dated if moment > now]
        if (edge := next_change_us(lines, now)) is not None:
            changes.append(edge)
    return catalog_of(loaded, found, imported().names(), min(changes, default=None))


def read_schedules(connection: Connection, slug: str | None = None) -> Schedules:
    """The stored price lines, of one model or of all."""
    columns = model_prices.c
    statement = select(columns.model_slug, columns.valid_from_us, columns.price_class, columns.picousd_per_token)
    if slug is not None:
        statement = statement.where(columns.model_slug == slug)
    schedules: Schedules = {}
    for model, moment, name, picousd in connection.execute(statement):
        schedules.setdefault(model, {}).setdefault(moment, {})[name] = picousd
    return schedules


def stored_lines(connection: Connection, slug: str, at_us: int) -> Mapping[str, int]:
    """The price lines of one model that held at a moment, by price class; empty when none did."""
    return in_force(read_schedules(connection, slug).get(slug, {}), at_us)


def _model(row: Row[Any], lines: Lines, now_us: int) -> Model:
    capabilities = json.loads(row.capabilities)
    return Model(
        slug=row.slug,
        display_name=row.display_name,
        brand=row.brand,
        provider=row.provider,
        upstream_model=row.upstream_model,
        context_window=row.context_window,
        max_output_tokens=row.max_output_tokens,
        capabilities=frozenset(capabilities or ()),
        capabilities_known=capabilities is not None,
        prices=prices_at(lines, now_us),
        prior=None if row.prior is None else Decimal(row.prior),
        prior_source=row.prior_source,
        aa_index_source=row.aa_index_source,
        latency_ms=row.latency_ms,
        agentic_index=None if row.agentic_index is None else Decimal(row.agentic_index),
        wire=row.wire,
        enabled=bool(row.enabled),
    )
