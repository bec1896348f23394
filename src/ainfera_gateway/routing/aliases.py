"""Model strings, resolved once at the boundary: to the router, or to a catalog slug that is then pinned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ainfera_gateway.catalog.model import Model, model_unavailable

ROUTER_SLUG: Final = "ainfera-inference"
ALIASES: Final = ("ainfera-mithril", "ainfera-auto", "ainfera/auto")
_TOLERATED_PREFIX: Final = "openai"
_SHOWN_CHARS_MAX: Final = 200


class Resolved(Struct, frozen=True):
    """``slug`` is what is recorded everywhere; ``alias`` the silent name that was asked for, None without one."""

    slug: str
    alias: str | None = None

    @property
    def routed(self) -> bool:
        """Whether the router chooses; otherwise the slug is pinned."""
        return self.slug == ROUTER_SLUG


def resolve(model: str, models: Mapping[str, Model]) -> Resolved:
    """What a caller's model string means; ``models`` is the catalog by slug.

    A catalog slug is taken as it stands. ``provider/slug`` must name the slug's own provider; an ``openai/`` prefix is
    tolerated before every name, since clients put it there to say which dialect they speak.
    Raises ``GatewayError`` 422 ``model_unavailable``.
    """
    if model in models:
        return Resolved(model)
    bare = model.removeprefix(f"{_TOLERATED_PREFIX}/")
    if bare == ROUTER_SLUG:
        return Resolved(ROUTER_SLUG)
    if bare in ALIASES:
        return Resolved(ROUTER_SLUG, alias=bare)
    if bare in models:
        return Resolved(bare)
    provider, slash, slug = model.partition("/")
    found = models.get(slug) if slash else None
    if found is not None and found.provider == provider:
        return Resolved(slug)
    shown = model[:_SHOWN_CHARS_MAX]
    raise model_unavailable(
        shown,
        provider[:_SHOWN_CHARS_MAX] if slash else None,
        "This model is not in the catalog; GET /v1/models lists it.",
    )
