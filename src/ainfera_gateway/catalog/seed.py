"""What a fresh installation knows: providers, the models that carry a prior, and the verdicts that let them serve.
The many models without a prior are in ``imported``.

A brand is the maker of a model (``google`` for Gemini), a provider is who serves it (``gemini``): a verdict about a
maker holds wherever its models are served. Context windows and output limits are the smallest the maker documents,
so a call is never promised room that is not there. Latencies and agentic indices are unmeasured, hence absent.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.catalog.imported import day_us, imported
from ainfera_gateway.catalog.model import Catalog, Credential, MaxTokensField, Model, Provider, Quirk, catalog_of
from ainfera_gateway.catalog.price import Prices, per_million

PRIOR_SOURCE_ANCHOR = "artificial_analysis"
AA_INDEX_SOURCE = "routing_backend_v1_lock"
PRIOR_SOURCE_OPERATOR = "operator"
DECIDED_BY_SEED = "seed"


class SeedVerdict(Struct, frozen=True):
    """A verdict row without its id and time; the code that stores it adds both."""

    brand: str
    verdict: str
    decided_by: str
    version: int
    condition: str | None = None
    evidence_url: str | None = None


def _provider(
    slug: str,
    display_name: str,
    base_url: str,
    *,
    brand: str = "",
    wire: Wire = "openai_chat",
    credential: Credential = "bearer",
    quirks: frozenset[Quirk] = frozenset(),
    max_tokens_field: MaxTokensField = "max_tokens",
    knows_usage_option: bool = True,
    key_required: bool = True,
) -> Provider:
    name = slug.upper()
    return Provider(
        slug=slug,
        display_name=display_name,
        brand=brand,
        base_url=base_url,
        api_key_env=f"{name}_API_KEY",
        base_url_env=f"{name}_BASE_URL",
        wire=wire,
        credential=credential,
        quirks=quirks,
        max_tokens_field=max_tokens_field,
        knows_usage_option=knows_usage_option,
        key_required=key_required,
    )


_KNOWN_ONLY: frozenset[Quirk] = frozenset({"known_fields_only", "known_message_fields_only"})

SEED_PROVIDERS: tuple[Provider, ...] = (
    _provider(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com/v1",
        brand="anthropic",
        wire="anthropic_messages",
        credential="x-api-key",
    ),
    _provider(
        "openai",
        "OpenAI",
        "https://api.openai.com/v1",
        brand="openai",
        max_tokens_field="max_completion_tokens",
    ),
    _provider(
        "gemini",
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        brand="google",
        quirks=frozenset({"known_fields_only"}),
    ),
    # Mistral refuses fields it does not know, stream_options among them, and sends usage unasked.
    _provider(
        "mistral",
        "Mistral",
        "https://api.mistral.ai/v1",
        brand="mistral",
        knows_usage_option=False,
        quirks=_KNOWN_ONLY.union(("nine_char_tool_ids",)),
    ),
    _provider("together", "Together", "https://api.together.xyz/v1"),
    _provider("xai", "xAI", "https://api.x.ai/v1", brand="xai"),
    _provider("groq", "Groq", "https://api.groq.com/openai/v1", quirks=_KNOWN_ONLY),
    _provider("deepseek", "DeepSeek", "https://api.deepseek.com/v1", brand="deepseek"),
    _provider("fireworks", "Fireworks", "https://api.fireworks.ai/inference/v1"),
    _provider("openrouter", "OpenRouter", "https://openrouter.ai/api/v1"),
    _provider("cerebras", "Cerebras", "https://api.cerebras.ai/v1", quirks=_KNOWN_ONLY),
    # An Azure address names the customer's own resource, so it can only come from the environment.
    _provider("azure", "Azure OpenAI", "", credential="api-key", max_tokens_field="max_completion_tokens"),
    _provider("local", "Local model", "", brand="local", key_required=False),
)


def _anchor(
    slug: str,
    display_name: str,
    makers: tuple[str, str],
    upstream_model: str,
    prior: str,
    usd_per_mtok: tuple[str, str],
    limits: tuple[int, int],
    capabilities: frozenset[str],
) -> Model:
    brand, provider = makers
    return Model(
        slug=slug,
        display_name=display_name,
        brand=brand,
        provider=provider,
        upstream_model=upstream_model,
        context_window=limits[0],
        max_output_tokens=limits[1],
        capabilities=capabilities,
        prices=Prices(input_picousd=per_million(usd_per_mtok[0]), output_picousd=per_million(usd_per_mtok[1])),
        prior=Decimal(prior),
        prior_source=PRIOR_SOURCE_ANCHOR,
        aa_index_source=AA_INDEX_SOURCE,
    )


ANCHORS: tuple[Model, ...] = (
    _anchor(
        "claude-opus-4-7",
        "Claude Opus 4.7",
        ("anthropic", "anthropic"),
        "claude-opus-4-7",
        "0.95",
        ("15", "75"),
        (200_000, 64_000),
        # Anthropic's OpenAI-compatible surface ignores response_format, so structured output is not promised on it.
        frozenset({"tools", "vision"}),
    ),
    _anchor(
        "gpt-5-5",
        "GPT-5.5",
        ("openai", "openai"),
        "gpt-5.5",
        "0.90",
        ("5", "15"),
        (400_000, 128_000),
        frozenset({"tools", "vision", "documents", "structured_output"}),
    ),
    _anchor(
        "gemini-3-1-pro",
        "Gemini 3.1 Pro",
        ("google", "gemini"),
        "gemini-3.1-pro",
        "0.87",
        ("1.25", "10"),
        (1_048_576, 65_536),
        frozenset({"tools", "vision", "audio", "structured_output"}),
    ),
    _anchor(
        "grok-4",
        "Grok 4",
        ("xai", "xai"),
        "grok-4",
        "0.86",
        ("5", "15"),
        (256_000, 64_000),
        frozenset({"tools", "vision", "structured_output"}),
    ),
    _anchor(
        "mistral-large-3",
        "Mistral Large 3",
        ("mistral", "mistral"),
        "mistral-large-3",
        "0.74",
        ("2", "6"),
        (256_000, 32_768),
        frozenset({"tools", "vision", "structured_output"}),
    ),
)

LOCAL_MODEL = Model(
    slug="smollm2-135m-instruct",
    display_name="SmolLM2 135M Instruct (local)",
    brand="local",
    provider="local",
    upstream_model="smollm2-135m-instruct",
    context_window=4_096,
    max_output_tokens=2_048,
    # The local server constrains its output by grammar. Tools are left out: at this size a model does not use them.
    capabilities=frozenset({"structured_output"}),
    prices=Prices(input_picousd=per_million("0.01"), output_picousd=per_million("0.01")),
    prior=Decimal("0.10"),
    prior_source=PRIOR_SOURCE_OPERATOR,
)

SEED_MODELS: tuple[Model, ...] = (*ANCHORS, LOCAL_MODEL)

SEED_VERDICTS: tuple[SeedVerdict, ...] = tuple(
    SeedVerdict(brand=brand, verdict="PASS", decided_by=DECIDED_BY_SEED, version=1)
    for brand in sorted({model.brand for model in SEED_MODELS if model.prior is not None})
)


def seed_catalog() -> Catalog:
    """The catalog of a fresh installation, at the prices of the day its data was imported."""
    data = imported()
    now_us = day_us(data.imported_on)
    models = (*SEED_MODELS, *(model.model(now_us) for model in data.models))
    return catalog_of(models, SEED_PROVIDERS, data.names())
