"""The providers that imported deployments need: those of the catalog where they fit, else tables of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ainfera_gateway.catalog.model import Provider
from ainfera_gateway.cli.import_litellm_deployment import Place
from ainfera_gateway.cli.import_litellm_facts import SERVERS
from ainfera_gateway.cli.import_report import table
from ainfera_gateway.config_tables import named

_NAME_CHARS_MAX: Final = 60
_TRAITS: Final = ("wire", "credential", "max_tokens_field", "knows_usage_option")
_PLAIN: Final = Provider(slug="", display_name="", base_url="", api_key_env="", base_url_env="")
_NOISE: Final = frozenset({"api", "key", "base", "url"})


class Providers:
    """Gives each place a provider's name. ``variables`` are those to set, each with what it is for."""

    def __init__(self, known: Mapping[str, Provider], places: Iterable[Place]) -> None:
        self._known = known
        self._standard = {place.family for place in places if self._is_standard(place)}
        self._slugs: dict[Place, str] = {}
        self._keys = {provider.slug: provider.api_key_env for provider in known.values()}
        self.tables: dict[str, str] = {}
        self.variables: dict[str, str] = {}

    def slug(self, place: Place, path: str) -> str:
        """The provider of a place; the first that asks, at ``path``, has its table made."""
        if place not in self._slugs:
            self._slugs[place] = self._made(place, path)
        return self._slugs[place]

    def key_variable(self, place: Place) -> str:
        """The variable of a place's key, after ``slug`` was asked for it."""
        return place.key_env or self._keys[self._slugs[place]]

    def _is_standard(self, place: Place) -> bool:
        seed = self._known.get(place.family)
        return seed is not None and place.is_plain and place.key_env in {None, seed.api_key_env}

    def _made(self, place: Place, path: str) -> str:
        seed = self._known.get(place.family)
        if seed is not None and place.is_plain:
            standard = self._is_standard(place)
            if standard or (seed.slug not in self._standard and seed.slug not in self._slugs.values()):
                self.variables[place.key_env or seed.api_key_env] = f"the key of {seed.slug}"
                if not seed.base_url:
                    self.variables[seed.base_url_env] = f"the address of {seed.slug}, with its version"
                if not standard:
                    self._add(seed.slug, {"api_key_env": place.key_env}, [f"{path}.litellm_params"])
                return seed.slug
        slug = self._new_name(place)
        comments = [f"{path}.litellm_params"]
        if not place.is_plain or (seed is not None and seed.base_url):
            base = place.base if seed is None or not place.is_plain else seed.base_url
        else:
            base = None
        members: dict[str, Any] = {} if base is None else {"base_url": base}
        if base is None:
            variable = f"{_prefix(slug)}_BASE_URL"
            held = "" if place.base_env is None else f", what {place.base_env} held"
            comments.append(f"{variable} says the address{held}")
            self.variables[variable] = f"the address of {slug}, with its version"
        self._add(slug, members | self._key(place, slug, seed) | _traits(seed), comments)
        return slug

    def _key(self, place: Place, slug: str, seed: Provider | None) -> dict[str, Any]:
        if place.keyless:
            return {"credential": "none"}
        name = place.key_env or (f"{_prefix(slug)}_API_KEY" if seed is None else seed.api_key_env)
        self.variables[name] = f"the key of {slug}"
        self._keys[slug] = name
        return {"api_key_env": name}

    def _add(self, slug: str, members: Mapping[str, Any], comments: list[str]) -> None:
        self.tables[slug] = table(named("providers", slug), members, comments)

    def _new_name(self, place: Place) -> str:
        prefix = place.family or SERVERS.get(place.kind, "server")
        if place.base is not None:
            url = urlsplit(place.base)
            where = str(url.hostname)
            if place.family == "azure":
                where = where.partition(".")[0]
            elif url.port is not None:
                where = f"{where}-{url.port}"
        else:
            where = str(place.base_env or place.key_env)
        words = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-").removeprefix(f"{prefix}-").split("-")
        label = "-".join(word for word in words if place.base is not None or word not in _NOISE)
        name = stem = f"{prefix}-{label or 'own'}"[:_NAME_CHARS_MAX].strip("-")
        number = 2
        while name in self._known or name in self._slugs.values():
            name, number = f"{stem}-{number}", number + 1
        return name


def _traits(seed: Provider | None) -> dict[str, Any]:
    """What is peculiar to a provider and holds for it at any address."""
    if seed is None:
        return {}
    members = {name: getattr(seed, name) for name in _TRAITS if getattr(seed, name) != getattr(_PLAIN, name)}
    return members | ({"quirks": sorted(seed.quirks)} if seed.quirks else {})


def _prefix(slug: str) -> str:
    return slug.upper().replace("-", "_")
