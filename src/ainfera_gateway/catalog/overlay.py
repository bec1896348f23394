"""The operator's own providers and models, laid over the catalog. Pure.

A provider or model that the catalog has keeps what the file does not say. Prices are taken whole: who says what input
and output cost has said all, and tiers, windows and further lines of the catalog's own price are gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.canonical.needs import AUDIO, DOCUMENTS, EMBEDDINGS, STRUCTURED_OUTPUT, TOOLS, VISION
from ainfera_gateway.catalog.model import Catalog, Credential, MaxTokensField, Model, Provider, Quirk, catalog_of
from ainfera_gateway.catalog.names import Names
from ainfera_gateway.catalog.price import PriceError, Prices, per_million
from ainfera_gateway.config_tables import Overlay, OwnModel, OwnProvider, named
from ainfera_gateway.money import AmountError
from ainfera_gateway.settings import SettingsError

CAPABILITIES: Final = frozenset({TOOLS, VISION, AUDIO, DOCUMENTS, STRUCTURED_OUTPUT, EMBEDDINGS})
NO_KEY: Final = "none"
"""The credential of a provider that takes no key."""

CONTEXT_UNSAID: Final = 32_768
OUTPUT_UNSAID: Final = 4_096
"""Limits of an own model whose row says none: small, so that no more room is promised than most servers have."""

_PROVIDER_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_NAME: Final = re.compile(r"[!-~]{1,256}")
_PRICES: Final = ("input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_usd_per_mtok")
_NEEDED: Final = _PRICES[:2]


def with_overlay(catalog: Catalog, overlay: Overlay) -> Catalog:
    """The catalog with the operator's rows; ``catalog`` itself where there are none.

    Raises ``SettingsError`` with the full name of what is wrong. No value is repeated in it.
    """
    if not overlay.providers and not overlay.models:
        return catalog
    providers = dict(catalog.providers)
    for own in overlay.providers:
        providers[own.slug] = _provider(own, catalog.providers.get(own.slug))
    models = dict(catalog.models)
    for row in overlay.models:
        if row.provider not in providers:
            raise _wrong("models", row.slug, "provider", f"there is no provider of that name; {_known(providers)}")
        models[row.slug] = _model(row, catalog.models.get(row.slug))
    names = _names(catalog, models)
    return catalog_of(models.values(), providers.values(), names, catalog.valid_until_us)


def key_variables(overlay: Overlay) -> tuple[str, ...]:
    """The environment variables that hold the keys of the providers in the file, so that no log line shows their values."""
    return tuple(own.api_key_env or _prefix(own.slug) + "_API_KEY" for own in overlay.providers)


def _names(catalog: Catalog, models: Mapping[str, Model]) -> Names:
    """The catalog's further names, without those of models that are served elsewhere now: they are names from there."""
    moved = {
        slug
        for slug, model in catalog.models.items()
        if (models[slug].provider, models[slug].upstream_model) != (model.provider, model.upstream_model)
    }
    if not moved:
        return catalog.names
    exact, dated = (
        {name: found for name, found in kept.items() if found.slug not in moved}
        for kept in (catalog.names.exact, catalog.names.dated)
    )
    return Names(exact, dated)


def _provider(own: OwnProvider, known: Provider | None) -> Provider:
    if known is None and (not _PROVIDER_NAME.fullmatch(own.slug) or own.slug.startswith("ainfera")):
        reason = "a name is lower-case letters, digits and hyphens, at most 63, and does not begin with ainfera"
        raise SettingsError(f"AINFERA_CONFIG: {named('providers', own.slug)}: {reason}")
    base = known or Provider(
        slug=own.slug,
        display_name=own.slug,
        base_url="",
        api_key_env=f"{_prefix(own.slug)}_API_KEY",
        base_url_env=f"{_prefix(own.slug)}_BASE_URL",
    )
    changes = {name: value for name, value in _said(own) if name not in {"credential", "quirks"}}
    if own.base_url is not None:
        changes["base_url"] = _base_url(own.slug, own.base_url)
    if own.api_key_env is not None:
        _check_variable(own.slug, own.api_key_env)
    if own.quirks is not None:
        changes["quirks"] = frozenset(
            _choice("providers", own.slug, "quirks", quirk, get_args(Quirk)) for quirk in own.quirks
        )
    for member, allowed in (("wire", get_args(Wire)), ("max_tokens_field", get_args(MaxTokensField))):
        if member in changes:
            _choice("providers", own.slug, member, changes[member], allowed)
    return replace(base, **changes, **_credential(own))


def _credential(own: OwnProvider) -> dict[str, Any]:
    if own.credential is None:
        return {}
    _choice("providers", own.slug, "credential", own.credential, (*get_args(Credential), NO_KEY))
    if own.credential != NO_KEY:
        return {"credential": own.credential}
    for member in ("api_key_env", "key_required"):
        if getattr(own, member):
            raise _wrong(
                "providers", own.slug, member, f'says that there is a key, and credential = "{NO_KEY}" that not'
            )
    return {"api_key_env": "", "key_required": False}


def _model(row: OwnModel, known: Model | None) -> Model:
    if not _MODEL_NAME.fullmatch(row.slug):
        raise SettingsError(
            f"AINFERA_CONFIG: {named('models', row.slug)}: a name is 1 to 256 characters of ASCII without spaces"
        )
    base = known if known is not None and known.provider == row.provider else None
    prices = _row_prices(row, base)
    changes = {name: value for name, value in _said(row) if name not in {*_PRICES, "capabilities", "prior"}}
    if row.wire is not None:
        _choice("models", row.slug, "wire", row.wire, get_args(Wire))
    if row.capabilities is not None:
        allowed = tuple(sorted(CAPABILITIES))
        changes["capabilities"] = frozenset(
            _choice("models", row.slug, "capabilities", name, allowed) for name in row.capabilities
        )
        changes["capabilities_known"] = True
    changes |= _prior(row)
    if base is None:
        context = row.context_window or CONTEXT_UNSAID
        base = Model(
            slug=row.slug,
            display_name=row.slug,
            brand=row.provider,
            provider=row.provider,
            upstream_model=row.slug,
            context_window=context,
            max_output_tokens=min(OUTPUT_UNSAID, context),
            capabilities=frozenset(),
            capabilities_known=False,
            prices=prices,
        )
    made = replace(base, **changes, prices=prices)
    if made.max_output_tokens > made.context_window:
        raise _wrong("models", row.slug, "max_output_tokens", f"is more than context_window, {made.context_window}")
    return made


def _row_prices(row: OwnModel, base: Model | None) -> Prices:
    lines: dict[str, int] = {}
    for member in _PRICES:
        text = getattr(row, member)
        if text is not None:
            try:
                lines[member] = per_million(text)
            except (AmountError, PriceError):
                reason = "must be USD per million tokens, 0 or more, with at most six decimal places"
                raise _wrong("models", row.slug, member, reason) from None
    if not lines and base is not None:
        return base.prices
    for member in _NEEDED:
        if member not in lines:
            raise _wrong("models", row.slug, member, 'is missing: say what a million tokens cost ("0" for nothing)')
    return Prices(
        input_picousd=lines["input_usd_per_mtok"],
        output_picousd=lines["output_usd_per_mtok"],
        cached_input_picousd=lines.get("cached_input_usd_per_mtok"),
        cache_write_picousd=lines.get("cache_write_usd_per_mtok"),
    )


def _prior(row: OwnModel) -> dict[str, Any]:
    if row.prior is None:
        if row.prior_source is not None:
            raise _wrong("models", row.slug, "prior", "is missing: prior_source says where it comes from")
        return {}
    try:
        prior = Decimal(row.prior)
        sound = prior.is_finite() and 0 <= prior <= 1 and int(prior.as_tuple().exponent) >= -6
    except InvalidOperation:
        sound = False
    if not sound:
        raise _wrong("models", row.slug, "prior", "must be a decimal from 0 to 1 with at most six places")
    if row.prior_source is None:
        raise _wrong("models", row.slug, "prior_source", "is missing: a prior needs its source")
    return {"prior": prior, "aa_index_source": None}


def _base_url(slug: str, text: str) -> str:
    try:
        url = urlsplit(text)
        sound = url.scheme in ("http", "https") and bool(url.hostname)
        _ = url.port
    except ValueError:
        sound = False
    if not sound:
        raise _wrong("providers", slug, "base_url", "must be an http:// or https:// URL, with its version (…/v1)")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise _wrong("providers", slug, "base_url", "must hold no user, password, query or fragment")
    return text.rstrip("/")


def _check_variable(slug: str, name: str) -> None:
    if not _VARIABLE.fullmatch(name):
        reason = f"must be the name of an environment variable, such as {_prefix(slug)}_API_KEY, and never a key"
        raise _wrong("providers", slug, "api_key_env", reason)
    if name.upper().startswith("AINFERA_"):
        raise _wrong("providers", slug, "api_key_env", "variables that begin with AINFERA_ are the gateway's own")


def _choice(section: str, slug: str, member: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise _wrong(section, slug, member, f"must be {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}")
    return value


def _said(row: OwnProvider | OwnModel) -> Iterator[tuple[str, Any]]:
    """The members that the file says, without the name of the row."""
    for name in row.__slots__:
        if name != "slug" and (value := getattr(row, name)) is not None:
            yield name, value


def _known(providers: dict[str, Provider]) -> str:
    return f"known are {', '.join(sorted(providers))}"


def _prefix(slug: str) -> str:
    return slug.upper().replace("-", "_")


def _wrong(section: str, slug: str, member: str, reason: str) -> SettingsError:
    return SettingsError(f"AINFERA_CONFIG: {named(section, slug, member)}: {reason}")
