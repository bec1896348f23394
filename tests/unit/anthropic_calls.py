"""What tests of the Anthropic dialect ask with."""

from __future__ import annotations

from typing import Any

TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
THINKING: dict[str, Any] = {"type": "enabled", "budget_tokens": 1024}


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]
