"""The languages spoken on the two sides of the house."""

from __future__ import annotations

from typing import Literal

Dialect = Literal["openai", "anthropic", "native"]
"""What a caller speaks: OpenAI chat completions, Anthropic messages, or ``/v1/inference``."""

Wire = Literal["openai_chat", "anthropic_messages", "openai_responses"]
"""What a provider speaks, by the room of its codec in ``wire/``."""
