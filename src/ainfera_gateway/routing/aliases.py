"""Model strings, resolved once at the boundary: to the router, or to a catalog slug that is then pinned."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ainfera_gateway.catalog.model import Model, model_unavailable
from ainfera_gateway.catalog.names import NO_NAMES, Names

ROUTER_SLUG: Final = "ainfera-inference"
ALIASES: Final = ("ainfera-mithril", "ainfera-auto", "ainfera/auto")
_TOLERATED_PREFIX: Final = "openai"
_SHOWN_CHARS_MAX: Final = 200
_NAME_CHARS_MAX: Final = 300


class Resolved(Struct, frozen=True):
    """``slug`` is what is recorded everywhere; ``alias`` the silent name that was asked for, None without one.

    ``upstream`` is what the model is to be called at its provider, where that is not the catalog's own name for it:
    a caller who names a snapshot gets that snapshot.
    """

    slug: str
    alias: str | None = None
    upstream: str | None = None

    @property
    def routed(self) -> bool:
        """Whether the router chooses; otherwise the slug is pinned."""
        return self.slug == ROUTER_SLUG


def resolve(model: str, models: Mapping[str, Model], names: Names = NO_NAMES) -> Resolved:
    """What a caller's model string means; ``models`` is the catalog by slug, ``names`` its further names.

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
    found = pinned_name(model, models, names)
    if found is not None:
        return found
    shown = model[:_SHOWN_CHARS_MAX]
    provider, slash, _ = model.partition("/")
    raise model_unavailable(
        shown,
        provider[:_SHOWN_CHARS_MAX] if slash else None,
        f"This model is not in the catalog; {_like(shown, models)}",
    )


def _like(name: str, models: Mapping[str, Model]) -> str:
    """Where to look for the right name: at the nearest ones, when any is near."""
    near = difflib.get_close_matches(name, models, n=3, cutoff=0.75)
    return f"is it {' or '.join(near)}?" if near else f"GET /v1/models lists what is; {ROUTER_SLUG} picks one."


def pinned_name(model: str, models: Mapping[str, Model], names: Names = NO_NAMES) -> Resolved | None:
    """The catalog's model of that name, None without one; the router and its aliases are none."""
    if len(model) > _NAME_CHARS_MAX:
        return None
    provider, slash, rest = model.partition("/")
    for name, served_by in ((model, None), (rest, provider)) if slash else ((model, None),):
        found = _named(name, models, names)
        tolerated = served_by in {None, _TOLERATED_PREFIX}
        if found is not None and (tolerated or models[found.slug].provider == served_by):
            return found
    return None


def _named(name: str, models: Mapping[str, Model], names: Names) -> Resolved | None:
    if name in models:
        return Resolved(name)
    named = names.find(name)
    if named is None or named.slug not in models:
        return None
    own = models[named.slug].upstream_model
    return Resolved(named.slug, upstream=None if named.upstream == own else named.upstream)
