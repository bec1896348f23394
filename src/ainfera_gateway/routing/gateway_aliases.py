"""The operator's names for models, the same for every tenant: a name to the router's slug or to a model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.config_tables import Overlay, named
from ainfera_gateway.routing.aliases import ALIASES, ROUTER_SLUG, pinned_name
from ainfera_gateway.settings import SettingsError

_CHARS_MAX: Final = 128
_RESERVED: Final = frozenset({ROUTER_SLUG, *ALIASES})
_RESERVED_FAULT: Final = "this name always means the router"
_TOLERATED_PREFIX: Final = "openai/"


def gateway_aliases(overlay: Overlay, catalog: Catalog) -> Mapping[str, str]:
    """The ``[aliases]`` of the file, checked against the catalog with its overlay; also that no own model has a name
    of the router.

    An alias stands before the catalog, a tenant's own alias before this one; one step resolves a name.
    Raises ``SettingsError`` with the full name of what is wrong.
    """
    for row in overlay.models:
        if _is_reserved(row.slug):
            raise SettingsError(f"AINFERA_CONFIG: {named('models', row.slug)}: {_RESERVED_FAULT}")
    aliases = dict(overlay.aliases)
    for name, target in aliases.items():
        reason = _name_fault(name) or _target_fault(target, aliases, catalog)
        if reason is not None:
            raise SettingsError(f"AINFERA_CONFIG: {named('aliases', name)}: {reason}")
    return aliases


def _is_reserved(name: str) -> bool:
    return name.removeprefix(_TOLERATED_PREFIX) in _RESERVED


def _name_fault(name: str) -> str | None:
    if _is_reserved(name):
        return _RESERVED_FAULT
    return f"a name has at most {_CHARS_MAX} characters" if len(name) > _CHARS_MAX else None


def _target_fault(target: str, aliases: Mapping[str, str], catalog: Catalog) -> str | None:
    if target in ALIASES:
        return f"say {ROUTER_SLUG} for the router"
    if target in aliases:
        return "an alias cannot lead to an alias"
    if target == ROUTER_SLUG or pinned_name(target, catalog.models, catalog.names) is not None:
        return None
    return f"must lead to {ROUTER_SLUG} or to a model of the catalog"
