"""How much to think, in the words of the provider."""

from __future__ import annotations

import re
from typing import Any

from ainfera_gateway.canonical.conversation import Effort, Reasoning
from ainfera_gateway.wire.passage import Terms

# A budget of thinking tokens up to the first figure is little effort, up to the second medium, above it much.
LOW_BUDGET_MAX = 2_048
MEDIUM_BUDGET_MAX = 8_192

# Models that refuse the field, by provider: those that match (True) or those that do not (False).
_REFUSING: dict[str, tuple[re.Pattern[str], bool]] = {
    "openai": (re.compile(r"gpt-[34]|chatgpt|-chat"), True),
    "azure": (re.compile(r"gpt-[34]|chatgpt|-chat"), True),
    "gemini": (re.compile(r"gemini-(1|2\.0)|gemma"), True),
    "groq": (re.compile(r"gpt-oss"), False),
    "cerebras": (re.compile(r"gpt-oss"), False),
    "together": (re.compile(r"gpt-oss"), False),
    "xai": (re.compile(r"grok-3-mini|grok-4\.[356]"), False),
    "fireworks": (re.compile(r"gpt-oss|deepseek-v3|glm-4|qwen3"), False),
}
# Those who know an effort above high.
_XHIGH = frozenset({"openai", "azure", "openrouter"})


def reasoning_fields(reasoning: Reasoning | None, terms: Terms, *, lacking: bool) -> tuple[dict[str, Any], list[str]]:
    """Members of the request, and the names of what the provider cannot be told.

    ``adaptive`` leaves the matter to the model, so nothing is said. Not to think at all is a wish that most models
    refuse to be told; it is named instead. ``lacking`` says that the history calls tools without the reasoning behind
    it, which DeepSeek refuses as long as it thinks.
    """
    if lacking and terms.provider == "deepseek":
        asked = reasoning is not None and reasoning.effort != "none"
        return {"thinking": {"type": "disabled"}}, ["thinking"] if asked else []
    if reasoning is None or reasoning == Reasoning(summary=reasoning.summary):
        return {}, []
    effort = reasoning.effort
    if terms.provider == "deepseek":
        return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}, []
    if terms.provider == "openrouter":
        return _openrouter(reasoning), []
    if effort is None and reasoning.budget_tokens is None:
        return {}, []
    if effort == "none" or not _takes_effort(terms):
        return {}, ["thinking" if effort in {None, "none"} else "output_config.effort"]
    return {"reasoning_effort": _known(effort or budget_effort(reasoning.budget_tokens or 0), terms.provider)}, []


def lacks_reasoning(messages: list[dict[str, Any]]) -> bool:
    """Whether any message calls tools and does not say why."""
    return any(message.get("tool_calls") and not message.get("reasoning_content") for message in messages)


def budget_effort(budget_tokens: int) -> Effort:
    """The effort that a budget of thinking tokens amounts to."""
    if budget_tokens <= LOW_BUDGET_MAX:
        return "low"
    return "medium" if budget_tokens <= MEDIUM_BUDGET_MAX else "high"


def _openrouter(reasoning: Reasoning) -> dict[str, Any]:
    if reasoning.effort == "none":
        return {"reasoning": {"enabled": False}}
    if reasoning.budget_tokens is not None:
        return {"reasoning": {"max_tokens": reasoning.budget_tokens}}
    if reasoning.effort is not None:
        return {"reasoning": {"effort": _known(reasoning.effort, "openrouter")}}
    return {"reasoning": {"enabled": True}}


def _known(effort: Effort, provider: str) -> Effort:
    if effort in {"xhigh", "max"}:
        return "xhigh" if provider in _XHIGH else "high"
    return effort


def _takes_effort(terms: Terms) -> bool:
    refusing = _REFUSING.get(terms.provider)
    if refusing is None:
        return terms.provider != "mistral"
    pattern, when_found = refusing
    return (pattern.search(terms.upstream_model.lower()) is not None) is not when_found
