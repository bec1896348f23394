"""What the price data does not say and a maker documents: who makes a model, its output limit, its name upstream."""

from __future__ import annotations

import re
from typing import Final

PROVIDERS: Final = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "gemini",
    "mistral": "mistral",
    "together": "together",
    "x-ai": "xai",
    "groq": "groq",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "openrouter": "openrouter",
    "cerebras": "cerebras",
    "azure": "azure",
}
"""The data's provider to ours."""

RESELLERS: Final = frozenset({"azure", "openrouter", "together", "fireworks", "groq", "cerebras"})
"""Providers that serve the models of others: their slugs carry the provider before them."""

MAKER_OF_PREFIX: Final = {
    "amazon": "amazon",
    "bytedance-seed": "bytedance",
    "deepseek-ai": "deepseek",
    "ibm-granite": "ibm",
    "meta-llama": "meta",
    "meta-models": "meta",
    "minimaxai": "minimax",
    "mistralai": "mistral",
    "x-ai": "xai",
    "z-ai": "zai",
    "zai-org": "zai",
}
"""The part of an id before its slash to a brand, where the two differ: one verdict holds wherever a maker is served."""

_FAMILIES: Final = (
    (r"claude", "anthropic"),
    (r"gpt-|chatgpt|o[134](-|$)|text-embedding-(3|ada)|(ada|babbage|curie|davinci)$", "openai"),
    (r"gemini|gemma|palm", "google"),
    (r"deepseek", "deepseek"),
    (r"(code)?llama", "meta"),
    (r"muse-", "meta"),
    (r"(open-)?mi[sx]tral|ministral|magistral|codestral|devstral|pixtral|voxtral", "mistral"),
    (r"qwen|qwq", "qwen"),
    (r"grok", "xai"),
    (r"kimi", "moonshotai"),
    (r"(zai-)?glm", "zai"),
    (r"minimax", "minimax"),
    (r"nemotron", "nvidia"),
    (r"command|c4ai", "cohere"),
    (r"phi-|wizardlm|mai-", "microsoft"),
    (r"jamba", "ai21"),
    (r"hermes|nous-", "nousresearch"),
    (r"lfm", "liquid"),
    (r"inkling", "thinkingmachines"),
)

_OUTPUT_LIMITS: Final = (
    (r"claude-(2|v1|instant)", 4_096),
    (r"claude-3-(haiku|sonnet|opus)", 4_096),
    (r"claude-3[-.]5", 8_192),
    (r"claude-opus-4([-.][01])?(-|$)", 32_000),
    (r"claude-(3[-.]7|haiku-4|sonnet-4|opus-4)", 64_000),
    (r"gpt-3\.5|gpt-4-(turbo|vision|\d{4}-preview)", 4_096),
    (r"gpt-4(-|$)", 8_192),
    (r"(chat)?gpt-4o|gpt-4\.5", 16_384),
    (r"gpt-4\.1|o1-preview", 32_768),
    (r"o1-mini", 65_536),
    (r"o[134](-|$)", 100_000),
    (r"gpt-5", 128_000),
    (r"gemini-(flash-|pro-)?(1\.|2\.0)", 8_192),
    (r"gemini-(2\.5|3)", 65_536),
    (r"deepseek-chat", 8_192),
)
"""The most output its maker documents for a model; the rest is unknown to us."""

UPSTREAM: Final = {
    ("azure", "ada"): "text-embedding-ada-002",
    ("mistral", "magistral-small"): "magistral-small-latest",
    ("mistral", "mistral-medium-3-1"): "mistral-medium-2508",
}
"""The name that a provider answers to, where the data's id is none."""

RESPONSES_ONLY: Final = re.compile(
    r"(o1|o3|gpt-[56](\.\d)?)-pro|o[34](-mini)?-deep-research|(gpt-5\.\d-)?codex(-mini)?|computer-use"
)
"""OpenAI's models that speak the responses dialect alone."""

CONTEXT_UNKNOWN_TOKENS: Final = 131_072
EMBEDDING_CONTEXT_UNKNOWN_TOKENS: Final = 8_192
OUTPUT_UNKNOWN_TOKENS: Final = 131_072
SMALL_CONTEXT_TOKENS: Final = 32_768


def brand_of(provider: str, model: str) -> str:
    """The maker of a model: by the prefix of its id, else by its family, else whoever serves it."""
    prefix, slash, bare = model.lstrip("~").lower().rpartition("/")
    if slash:
        maker = prefix.rpartition("/")[2]
        return MAKER_OF_PREFIX.get(maker, maker)
    found = next((brand for family, brand in _FAMILIES if re.match(family, bare)), None)
    return found or {"gemini": "google"}.get(provider, provider)


def context_tokens(known: int | None, *, embeddings: bool) -> int:
    """The context window, or the default for one that nobody names."""
    if known is not None:
        return known
    return EMBEDDING_CONTEXT_UNKNOWN_TOKENS if embeddings else CONTEXT_UNKNOWN_TOKENS


def output_tokens(model: str, context: int) -> int:
    """The output limit: what the maker documents, else all that a window can hold.

    In a small window half is kept for the input: the limit is also what is asked of the provider for a caller who
    named none, and a request for the whole window is refused there.
    """
    bare = model.lower().rpartition("/")[2]
    limit = next((tokens for name, tokens in _OUTPUT_LIMITS if re.match(name, bare)), OUTPUT_UNKNOWN_TOKENS)
    return min(limit, context // 2 if context <= SMALL_CONTEXT_TOKENS else context)
