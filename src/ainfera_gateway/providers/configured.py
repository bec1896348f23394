"""Which providers can be called from here, read from the environment: ``…_API_KEY`` and ``…_BASE_URL`` each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ainfera_gateway.catalog.model import Provider
from ainfera_gateway.providers.backend import Backend

LOCAL = "local"
_LOCAL_DROPS = frozenset(
    {"n_predict", "ignore_eos", "cache_prompt", "id_slot", "n_keep", "n_discard", "t_max_predict_ms", "grammar", "lora"}
)
"""Members of llama.cpp's own dialect that change what is billed, kept or shared between callers."""


class BaseUrlError(ValueError):
    """A ``…_BASE_URL`` is not an http(s) URL; the message names the variable."""


def backend_of(provider: Provider, base_url: str, api_key: str) -> Backend:
    """The backend of a provider at an address."""
    local = provider.slug == LOCAL
    return Backend(
        provider=provider.slug,
        base_url=base_url,
        api_key=api_key,
        wire=provider.wire,
        credential=provider.credential,
        quirks=frozenset(provider.quirks),
        max_tokens_field=provider.max_tokens_field,
        knows_usage_option=provider.knows_usage_option,
        drop_fields=_LOCAL_DROPS if local else frozenset(),
        one_choice=local,
        short_idle=local,
    )


def configured_backends(providers: Iterable[Provider], environ: Mapping[str, str]) -> dict[str, Backend]:
    """Backends of every provider whose credential (or, where none is needed, base URL) the environment has.

    Raises ``BaseUrlError``.
    """
    found: dict[str, Backend] = {}
    for provider in providers:
        key = environ.get(provider.api_key_env, "")
        override = environ.get(provider.base_url_env, "")
        if override and not override.startswith(("http://", "https://")):
            raise BaseUrlError(f"{provider.base_url_env}: must be an http:// or https:// URL")
        base_url = _versioned(provider, override) if override else provider.base_url
        if not base_url or (not key and provider.key_required):
            continue
        found[provider.slug] = backend_of(provider, base_url, key)
    return found


def _versioned(provider: Provider, base_url: str) -> str:
    """``ANTHROPIC_BASE_URL`` may come with or without its version; all others include theirs."""
    trimmed = base_url.rstrip("/")
    if provider.slug == "anthropic" and not trimmed.endswith("/v1"):
        return f"{trimmed}/v1"
    return trimmed
