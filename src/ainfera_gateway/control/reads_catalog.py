"""The catalog as callers see it: models with the router among them, and providers."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

from ainfera_gateway.catalog.model import Catalog, Model
from ainfera_gateway.catalog.price import usd_per_million
from ainfera_gateway.control.context import Control
from ainfera_gateway.errors import not_found
from ainfera_gateway.routing.aliases import ROUTER_SLUG, pinned_name

ROUTER_PROVIDER = "ainfera"
_OPENAI_CREATED = 1_700_000_000
"""A list of OpenAI's form must name a time; the catalog keeps none."""


def list_models(control: Control) -> list[dict[str, Any]]:
    """Every model of the catalog, the router first. The rows are shared: read, never changed."""
    return list(_rows(control.catalog(), control.configured()).values())


def callable_models(control: Control) -> list[dict[str, Any]]:
    """The router and the models whose provider is switched on here: for lists that cannot say which those are."""
    rows = list_models(control)
    return [row for row in rows if row["type"] == "router" or row["routable_status"] == "active"]


def one_model(control: Control, slug: str) -> dict[str, Any]:
    """The row of one slug, or of any other name that a call may use for it. Raises 404."""
    catalog = control.catalog()
    rows = _rows(catalog, control.configured())
    if slug in {ROUTER_SLUG, f"{ROUTER_PROVIDER}/{ROUTER_SLUG}"}:
        return rows[ROUTER_SLUG]
    found = pinned_name(slug, catalog.models, catalog.names)
    if found is None:
        raise not_found()
    return rows[found.slug]


@lru_cache(maxsize=4)
def _rows(catalog: Catalog, configured: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Rows by slug, made once for a snapshot of the catalog and the providers that are configured."""
    rows = {model.slug: _model(model, catalog.status(model, configured)) for model in catalog.models.values()}
    return {ROUTER_SLUG: _router(list(rows.values())), **rows}


def list_providers(control: Control) -> list[dict[str, Any]]:
    """Every provider: ``active`` is enabled in the catalog, ``configured`` has a credential or an address here."""
    catalog, configured = control.catalog(), control.configured()
    served = Counter(model.provider for model in catalog.models.values())
    return [
        {
            "slug": provider.slug,
            "display_name": provider.display_name,
            "active": provider.enabled,
            "configured": provider.slug in configured,
            "models": served[provider.slug],
        }
        for provider in catalog.providers.values()
    ]


def openai_model(row: dict[str, Any]) -> dict[str, Any]:
    """A row in the form of OpenAI's model object."""
    return {"id": row["slug"], "object": "model", "created": _OPENAI_CREATED, "owned_by": row["provider"]}


def anthropic_model(row: dict[str, Any]) -> dict[str, Any]:
    """A row in the form of Anthropic's model object."""
    created = "2023-11-14T22:13:20Z"
    return {"type": "model", "id": row["slug"], "display_name": row["display_name"], "created_at": created}


def _model(model: Model, status: str) -> dict[str, Any]:
    return {
        "slug": model.slug,
        "display_name": model.display_name,
        "provider": model.provider,
        "type": "model",
        "routable_status": status,
        "input_cost_per_million_usd": usd_per_million(model.prices.input_picousd),
        "output_cost_per_million_usd": usd_per_million(model.prices.output_picousd),
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": sorted(model.capabilities),
    }


def _router(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The one router row: active when any model is, and what it can do is what they can. Its price is the model's."""
    active = [row for row in rows if row["routable_status"] == "active"]
    return {
        "slug": ROUTER_SLUG,
        "display_name": "Ainfera Inference",
        "provider": ROUTER_PROVIDER,
        "type": "router",
        "routable_status": "active" if active else "not_configured",
        "input_cost_per_million_usd": None,
        "output_cost_per_million_usd": None,
        "context_window": max((row["context_window"] for row in active), default=None),
        "max_output_tokens": max((row["max_output_tokens"] for row in active), default=None),
        "capabilities": sorted({name for row in active for name in row["capabilities"]}),
    }
