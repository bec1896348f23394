"""The tables of the configuration file: providers and models of the operator's own, and names for models.

Here is their form: which members there are and of which type. What a value means is checked where the catalog is
known (``catalog.overlay``, ``routing.gateway_aliases``). No value is ever repeated in a message: somebody may have
put a key in the wrong place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

SECTIONS: Final = ("providers", "models", "aliases")
KEY_ADVICE: Final = "a key never stands in the file: put it in an environment variable and name that in api_key_env"
_SECRETS: Final = frozenset({"api_key", "apikey", "key", "token", "secret", "password"})
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


class TableError(ValueError):
    """A table or a member of it is wrong or unknown; the message begins with its full name."""


@dataclass(frozen=True, slots=True)
class OwnProvider:
    """``[providers.SLUG]``. None stands for a member that was left out."""

    slug: str
    base_url: str | None = None
    display_name: str | None = None
    api_key_env: str | None = None
    wire: str | None = None
    credential: str | None = None
    quirks: tuple[str, ...] | None = None
    max_tokens_field: str | None = None
    knows_usage_option: bool | None = None
    key_required: bool | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class OwnModel:
    """``[models."SLUG"]``. None stands for a member that was left out; prices are decimal text, as written."""

    slug: str
    provider: str
    upstream_model: str | None = None
    display_name: str | None = None
    brand: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] | None = None
    input_usd_per_mtok: str | None = None
    output_usd_per_mtok: str | None = None
    cached_input_usd_per_mtok: str | None = None
    cache_write_usd_per_mtok: str | None = None
    prior: str | None = None
    prior_source: str | None = None
    wire: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the file adds to the catalog or changes in it. ``aliases`` are pairs of a name and what it means."""

    providers: tuple[OwnProvider, ...] = ()
    models: tuple[OwnModel, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


NO_OVERLAY: Final = Overlay()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable text without a space at its ends")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
        raise ValueError("must be a whole number from 1 to 1000000000")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("must be a list of texts")
    return tuple(_text(one) for one in value)


def _decimal(value: object) -> str:
    """Decimal text. A TOML float arrives as the ``Decimal`` of its own text, so it is as exact as a string."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError('must be a decimal such as "0.15"')
    return str(value)


_PROVIDER: Final = {
    "base_url": _text,
    "display_name": _text,
    "api_key_env": _text,
    "wire": _text,
    "credential": _text,
    "quirks": _texts,
    "max_tokens_field": _text,
    "knows_usage_option": _flag,
    "key_required": _flag,
    "enabled": _flag,
}
_MODEL: Final = {
    "provider": _text,
    "upstream_model": _text,
    "display_name": _text,
    "brand": _text,
    "context_window": _count,
    "max_output_tokens": _count,
    "capabilities": _texts,
    "input_usd_per_mtok": _decimal,
    "output_usd_per_mtok": _decimal,
    "cached_input_usd_per_mtok": _decimal,
    "cache_write_usd_per_mtok": _decimal,
    "prior": _decimal,
    "prior_source": _text,
    "wire": _text,
    "enabled": _flag,
}


def named(*parts: str) -> str:
    """The full name of a member as TOML writes it: ``models."gpt-4.1".provider``."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{_shown(part)}"' for part in parts)


def read_tables(document: Mapping[str, Any]) -> Overlay:
    """The overlay of a TOML document; what is no section of ``SECTIONS`` is passed over. Raises ``TableError``."""
    providers = [
        OwnProvider(slug, **_members(("providers", slug), table, _PROVIDER))
        for slug, table in _tables(document, "providers")
    ]
    models = []
    for slug, table in _tables(document, "models"):
        found = _members(("models", slug), table, _MODEL)
        if "provider" not in found:
            raise TableError(f"{named('models', slug, 'provider')}: is missing: say who serves the model")
        models.append(OwnModel(slug, **found))
    aliases = []
    for name, target in _section(document, "aliases").items():
        try:
            aliases.append((_text(name), _text(target)))
        except ValueError as exc:
            raise TableError(f"{named('aliases', name)}: {exc}") from exc
    return Overlay(tuple(providers), tuple(models), tuple(aliases))


def _section(document: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    found = document.get(section, {})
    if not isinstance(found, dict):
        raise TableError(f"{section}: must be a table")
    return found


def _tables(document: Mapping[str, Any], section: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = _section(document, section)
    for name, table in found.items():
        if not isinstance(table, dict):
            raise TableError(f"{named(section, name)}: must be a table of its own: [{named(section, name)}]")
    return list(found.items())


def _members(where: tuple[str, str], table: Mapping[str, Any], readers: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for member, value in table.items():
        name = named(*where, member)
        if member not in readers:
            raise TableError(f"{name}: {_unknown(where, member, value, readers)}")
        try:
            read[member] = readers[member](value)
        except (TypeError, ValueError) as exc:
            raise TableError(f"{name}: {exc}") from exc
    return read


def _unknown(where: tuple[str, str], member: str, value: object, readers: Mapping[str, Any]) -> str:
    if member.lower() in _SECRETS:
        return KEY_ADVICE
    if isinstance(value, dict):
        return f"unknown member; a name with a dot in it needs quotes: [{named(where[0], f'{where[1]}.{member}')}]"
    near = difflib.get_close_matches(member, readers, n=1)
    return f"unknown member; did you mean {near[0]}?" if near else "unknown member"


def _shown(text: str) -> str:
    """Text of the file that is safe to print on one line."""
    kept = "".join(char if char.isprintable() else "?" for char in text[:100])
    return kept.replace("\\", "\\\\").replace('"', '\\"')
