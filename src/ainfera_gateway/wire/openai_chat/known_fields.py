"""Which members of a request a provider of this dialect knows, where knowing matters."""

from __future__ import annotations

_COMMON_FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "temperature",
        "top_p",
        "stream",
        "stop",
        "n",
        "tools",
        "tool_choice",
        "response_format",
    }
)
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
_OPENAI_FIELDS = _COMMON_FIELDS | {
    "max_completion_tokens",
    "stream_options",
    "seed",
    "parallel_tool_calls",
    "reasoning_effort",
    "reasoning_format",
    "service_tier",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
}
# Providers that refuse a request with a member they do not know, and what they know.
_KNOWN_FIELDS: dict[str, frozenset[str]] = {
    "mistral": _COMMON_FIELDS
    | _PENALTIES
    | {"random_seed", "parallel_tool_calls", "metadata", "prediction", "prompt_mode", "safe_prompt"},
    "gemini": _COMMON_FIELDS
    | {"max_completion_tokens", "stream_options", "reasoning_effort", "extra_body", "modalities", "service_tier"},
    "groq": _OPENAI_FIELDS
    | _PENALTIES
    | {
        "function_call",
        "functions",
        "metadata",
        "store",
        "include_reasoning",
        "documents",
        "citation_options",
        "compound_custom",
        "disable_tool_validation",
        "search_settings",
        "include_domains",
        "exclude_domains",
    },
    "cerebras": _OPENAI_FIELDS | _PENALTIES | {"prediction", "disable_reasoning", "clear_thinking"},
}

# Set by the house on the way out, whoever the provider is: their loss needs no word.
HOUSE_FIELDS = frozenset({"max_tokens", "max_completion_tokens", "stream_options"})

# The older single call stays for those who may know it; to take it out would cut the history.
_MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call"})
_STRICT_MESSAGE_FIELDS = {
    "groq": _MESSAGE_FIELDS | {"reasoning"},
    "cerebras": _MESSAGE_FIELDS | {"reasoning"},
    # A name is refused on any message but a tool's, where the id says it already.
    "mistral": (_MESSAGE_FIELDS - {"name"}) | {"prefix"},
}
CALL_FIELDS = frozenset({"id", "type", "function", "custom", "index"})
FUNCTION_FIELDS = frozenset({"name", "arguments"})

# What one vendor adds to messages goes to those who made it or pass it on to its maker, and to nobody else.
_REASONING_TEXT = frozenset({"deepseek", "fireworks", "together", "openrouter"})
_GUARDED: dict[str, frozenset[str]] = {
    "thinking_blocks": frozenset({"openrouter"}),
    "provider_specific_fields": frozenset(),
    "reasoning_content": _REASONING_TEXT,
    "reasoning_details": frozenset({"openrouter"}),
    "extra_content": frozenset({"gemini"}),
}
# OpenAI refuses members it does not know inside messages and tools; its caching needs no marks.
_NO_CACHE_MARKS = frozenset({"openai", "azure", "gemini", "mistral", "groq", "cerebras"})


def known_fields(provider: str) -> frozenset[str] | None:
    """The only members that a request to this provider may have; None where it is not strict, or nothing is known."""
    return _KNOWN_FIELDS.get(provider)


def message_fields(provider: str, quirks: frozenset[str]) -> frozenset[str] | None:
    """The only members that a message to this provider may have; None where it is not strict about them."""
    if "known_message_fields_only" not in quirks:
        return None
    return _STRICT_MESSAGE_FIELDS.get(provider, _MESSAGE_FIELDS)


def refused_marks(provider: str) -> frozenset[str]:
    """The names of members that must not stand anywhere in a message to this provider."""
    names = {name for name, takers in _GUARDED.items() if provider not in takers}
    if provider in _NO_CACHE_MARKS:
        names.add("cache_control")
    return frozenset(names)


def takes_developer(provider: str) -> bool:
    """Whether the provider knows the role ``developer``; to the others it is ``system``."""
    return provider not in {"mistral", "deepseek"}


def takes_cache_marks(provider: str) -> bool:
    """Whether ``cache_control`` means something to the provider; the others cache by themselves or not at all."""
    return provider == "openrouter"
