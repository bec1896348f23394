"""Models and providers, as values. Stored rows and the seed are both read into these."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

import msgspec
from msgspec import Struct

from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.canonical.needs import EMBEDDINGS
from ainfera_gateway.catalog.names import NO_NAMES, Names
from ainfera_gateway.catalog.price import Prices, decimal_text
from ainfera_gateway.errors import GatewayError

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
Credential = Literal["bearer", "x-api-key", "api-key"]
"""How a provider takes its key: ``Authorization: Bearer``, or a header of that name."""
Quirk = Literal["nine_char_tool_ids", "known_fields_only", "known_message_fields_only", "floats_only"]
"""What a provider of the OpenAI chat wire wants differently: tool ids of nine letters and digits (Mistral), no member
it does not know at the top level (Mistral, Gemini, Groq, Cerebras), none in a message (Groq, Mistral, Cerebras), and
embeddings as lists of numbers alone."""
RoutableStatus = Literal["active", "not_configured", "disabled"]


class Provider(Struct, frozen=True, kw_only=True):
    """A company or machine that serves models over HTTP.

    ``base_url`` includes the version; empty means it must come from ``base_url_env``. ``wire`` is the dialect spoken
    there, ``credential`` how the key is sent, ``quirks`` what is wanted differently.
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
    wire: Wire = "openai_chat"
    credential: Credential = "bearer"
    quirks: frozenset[Quirk] = frozenset()
    max_tokens_field: MaxTokensField = "max_tokens"
    knows_usage_option: bool = True
    key_required: bool = True
    enabled: bool = True


class Model(Struct, frozen=True, kw_only=True):
    """A model as one provider serves it.

    ``brand`` is the maker of the model, the unit of verdicts. ``prior`` is its expected quality from 0 to 1, None
    when nobody has given one: such a model can be pinned, never routed to. ``latency_ms`` and ``agentic_index`` are
    None while unmeasured. ``wire`` is set where the model is reached otherwise than its provider's other models.
    ``capabilities_known`` is false where nobody has said what the model can do; then ``capabilities`` is empty, and a
    caller who names the model is let through.
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
    wire: Wire | None = None
    capabilities_known: bool = True
    enabled: bool = True

    @property
    def makes_embeddings(self) -> bool:
        """Whether it serves ``/v1/embeddings`` and nothing else."""
        return EMBEDDINGS in self.capabilities


@dataclass(frozen=True, eq=False)
class Catalog:
    """One snapshot: models by slug, providers by slug, and further names of the models.

    ``valid_until_us`` is the next moment at which a price changes by its own date or time of day, None when none does;
    from then on the stored catalog must be read anew. Equal to itself only, so that what is worked out from a snapshot
    can be remembered with it.
    """

    models: Mapping[str, Model]
    providers: Mapping[str, Provider]
    names: Names = NO_NAMES
    valid_until_us: int | None = None

    @cached_property
    def candidates(self) -> tuple[Model, ...]:
        """The models that carry a prior, the only ones the router can choose, in order of slug."""
        return tuple(model for model in self.models.values() if model.prior is not None)

    @cached_property
    def version(self) -> str:
        """SHA-256, in hex, of every fact of the snapshot that a decision can rest on."""
        facts = {
            "models": [_fact(model) for model in self.models.values()],
            "providers": {slug: provider.enabled for slug, provider in self.providers.items()},
        }
        return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()

    def status(self, model: Model, configured: frozenset[str]) -> RoutableStatus:
        """Whether a model can be called here; ``configured`` names the providers with a credential or base URL."""
        provider = self.providers.get(model.provider)
        if provider is None or not provider.enabled or not model.enabled:
            return "disabled"
        return "active" if model.provider in configured else "not_configured"

    def active_providers(self, configured: frozenset[str]) -> frozenset[str]:
        """Providers that are enabled and configured, the form the decision takes."""
        return frozenset(slug for slug in configured if slug in self.providers and self.providers[slug].enabled)


def _fact(model: Model) -> dict[str, object]:
    return {
        "agentic_index": None if model.agentic_index is None else decimal_text(model.agentic_index),
        "brand": model.brand,
        "capabilities": sorted(model.capabilities) if model.capabilities_known else None,
        "context_window": model.context_window,
        "enabled": model.enabled,
        "latency_ms": model.latency_ms,
        "max_output_tokens": model.max_output_tokens,
        "prices": model.prices.lines() if model.prices.complete else None,
        "prior": None if model.prior is None else decimal_text(model.prior),
        "provider": model.provider,
        "slug": model.slug,
        "upstream_model": model.upstream_model,
        "wire": model.wire,
    }


def catalog_of(
    models: Iterable[Model], providers: Iterable[Provider], names: Names = NO_NAMES, valid_until_us: int | None = None
) -> Catalog:
    """A snapshot, in order of slug."""
    return Catalog(
        names=names,
        valid_until_us=valid_until_us,
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
