"""The facts of a decision over the seed catalog, with what a test changes."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.catalog.seed import ANCHORS, SEED_MODELS, seed_catalog
from ainfera_gateway.routing.decision import DecisionInputs

CATALOG = seed_catalog()
MODELS = CATALOG.models
ALL_BRANDS = {model.brand: (True, "PASS", 1) for model in SEED_MODELS}
ANCHOR_PROVIDERS = frozenset(model.provider for model in ANCHORS)


def facts(**change: Any) -> DecisionInputs:
    base = DecisionInputs(models=SEED_MODELS, active_providers=ANCHOR_PROVIDERS, rulings=ALL_BRANDS, input_tokens=100)
    return msgspec.structs.replace(base, **change)


def vetoed(*brands: str) -> dict[str, tuple[bool, str, int | None]]:
    return ALL_BRANDS | dict.fromkeys(brands, (False, "FAIL", 2))


def slugs(models: tuple[Any, ...]) -> list[str]:
    return [model.slug for model in models]
