"""The model of each provider that clients are run with; ``anthropic`` has its own dialect, the others OpenAI's."""

from __future__ import annotations

from typing import Final

MODELS: Final = {
    "openai": "gpt-5-5",
    "gemini": "gemini-3-1-pro",
    "mistral": "mistral-large-3",
    "xai": "grok-4",
    "groq": "groq/llama-3.1-8b-instant",
    "deepseek": "deepseek-chat",
    "openrouter": "openrouter/ai21/jamba-1.6-large",
    "azure": "azure/o4-mini",
    "together": "together/MiniMaxAI/MiniMax-M3",
    "fireworks": "fireworks/deepseek-v3-0324",
    "cerebras": "cerebras/gpt-oss-120b",
}
CLAUDE: Final = "claude-opus-4-7"
RESPONSES: Final = "gpt-5.5-pro"
