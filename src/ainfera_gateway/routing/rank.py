"""Presets: the order of the models that passed every gate, and whether the next one may step in for the first."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

from msgspec import Struct

from ainfera_gateway.canonical.request import Preset
from ainfera_gateway.catalog.model import Model

PresetSource = Literal["caller", "spend_policy", "default"]
DEFAULT_PRESET: Final[Preset] = "balanced"

ORDERS: Final[Mapping[Preset, str]] = {
    "balanced": "price,quality,slug",
    "cost_first": "price,quality,slug",
    "quality_first": "quality,price,slug",
    "latency_first": "latency,price,quality,slug",
    "compliance_first": "price,quality,slug",
    "strict_no_fallback": "price,quality,slug",
}
"""What each preset compares, in turn: lower price, higher quality, lower known latency (unknown last), slug."""

NO_FALLBACK: Final[frozenset[Preset]] = frozenset({"compliance_first", "strict_no_fallback"})


class Ranking(Struct, frozen=True):
    """The preset that orders a decision, who named it, and whether a fallback is allowed."""

    preset: Preset
    source: PresetSource
    fallback_allowed: bool


def ranking(caller: Preset | None, spend_policy: Preset | None) -> Ranking:
    """The order that results from the caller's preset and the spend policy's.

    The caller's order wins over the policy's, which may only tighten: where the policy says ``cost_first`` the caller
    cannot choose a dearer order, and where it forbids fallback, fallback stays forbidden.
    """
    fallback_allowed = caller not in NO_FALLBACK and spend_policy not in NO_FALLBACK
    if caller is not None and spend_policy != "cost_first":
        return Ranking(caller, "caller", fallback_allowed)
    if spend_policy is not None:
        return Ranking(spend_policy, "spend_policy", fallback_allowed)
    return Ranking(DEFAULT_PRESET, "default", fallback_allowed)


def rank_key(model: Model, preset: Preset) -> tuple[Any, ...]:
    """The sort key of a model that carries a prior; the smallest key serves. The slug makes the order total."""
    price = model.prices.combined_picousd
    # copy_negate and not the minus operator: that one rounds to the context's precision.
    better = Decimal(0) if model.prior is None else model.prior.copy_negate()
    if preset == "quality_first":
        return (better, price, model.slug)
    if preset == "latency_first":
        return (model.latency_ms is None, model.latency_ms or 0, price, better, model.slug)
    return (price, better, model.slug)
