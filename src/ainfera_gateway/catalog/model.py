"""Models and providers, as values. Stored rows and the seed are both read into these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from ainfera_gateway.catalog.price import Prices
from ainfera_gateway.errors import GatewayError

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
RoutableStatus = Literal["active", "not_configured", "disabled"]


class Provider(Struct, frozen=True, kw_only=True):
    """A company or machine that serves models over HTTP.

    ``base_url`` includes the version and speaks OpenAI's chat dialect; empty means it must come from ``base_url_env``.
    ``brand`` is the maker whose verdict governs the provider's own models; empty for those that serve other makers'.
    ``max_tokens_field`` is the name the provider reads the output limit by. ``knows_usage_option`` says whether
    ``stream_options`` may be sent. ``key_required`` is false where a base URL alone makes the provider usable.
    """

    slug: str
    display_name: str
    brand: str = ""
    base_url: str
    api_key_env: str
    base_url_env: str
    max_tokens_field: MaxTokensField = "max_tokens"
    knows_usage_option: bool = True
    key_required: bool = True
    enabled: bool = True


class Model(Struct, frozen=True, kw_only=True):
    """A model as one provider serves it.

    ``brand`` is the maker of the model, the unit of verdicts. ``prior`` is its expected quality from 0 to 1, None
    when nobody has given one: such a model can be pinned, never routed to. ``latency_ms`` and ``agentic_index`` are
    None while unmeasured.
    """

    slug: str
    display_name: str
    brand: str
    provider: str
    upstream_model: str
    context_window: int
    max_output_tokens: int
    capabilities: frozenset[str]
    prices: Prices
    prior: Decimal | None = None
    prior_source: str | None = None
    aa_index_source: str | None = None
    latency_ms: int | None = None
    agentic_index: Decimal | None = None
    enabled: bool = True


class Catalog(Struct, frozen=True):
    """One snapshot: models by slug and providers by slug."""

    models: Mapping[str, Model]
    providers: Mapping[str, Provider]

    def status(self, model: Model, configured: frozenset[str]) -> RoutableStatus:
        """Whether a model can be called here; ``configured`` names the providers with a credential or base URL."""
        provider = self.providers.get(model.provider)
        if provider is None or not provider.enabled or not model.enabled:
            return "disabled"
        return "active" if model.provider in configured else "not_configured"

    def active_providers(self, configured: frozenset[str]) -> frozenset[str]:
        """Providers that are enabled and configured, the form the decision takes."""
        return frozenset(slug for slug in configured if slug in self.providers and self.providers[slug].enabled)


def catalog_of(models: Iterable[Model], providers: Iterable[Provider]) -> Catalog:
    """A snapshot, in order of slug."""
    return Catalog(
        models={model.slug: model for model in sorted(models, key=lambda model: model.slug)},
        providers={provider.slug: provider for provider in sorted(providers, key=lambda provider: provider.slug)},
    )


def model_unavailable(model: str, provider: str | None, why: str) -> GatewayError:
    """422 ``model_unavailable``, with the model and provider at the top level of the envelope."""
    return GatewayError(
        422,
        "model_unavailable",
        why,
        field="model",
        top={"model": model, "provider": provider},
        detail={"model": model, "provider": provider},
    )
