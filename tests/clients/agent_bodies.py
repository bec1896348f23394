"""Bodies as coding agents send them: many tools, long files, cached system blocks, members of betas. All made up here."""

from __future__ import annotations

import json
import random
from typing import Any, Final

_SYLLABLES: Final = ("ka", "lo", "mi", "ru", "te", "sa", "no", "vi", "eth", "or", "un", "da")
_STRANGE: Final = (
    "Grüße",
    "naïve",
    "日本語",
    "\U0001f426\U0001f469\u200d\U0001f4bb",
    "\u2028",
    'a "quoted" \\ back\tslash',
    "\x7f",
)
_TYPES: Final = ("string", "integer", "boolean", "number")
BETAS: Final = "context-management-2025-06-27,interleaved-thinking-2025-05-14,one-of-tomorrow-2027-02-03"


class Writer:
    """Writes the same body for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def word(self) -> str:
        if self._random.random() < 0.02:
            return self._random.choice(_STRANGE)
        return "".join(self._random.choices(_SYLLABLES, k=self._random.randint(1, 4)))

    def text(self, words: int) -> str:
        return " ".join(self.word() for _ in range(words))

    def name(self, number: int) -> str:
        return f"{''.join(self._random.choices(_SYLLABLES, k=2))}_{number}"

    def schema(self) -> dict[str, Any]:
        """An object with members of many kinds, nested ones among them."""
        members: dict[str, Any] = {
            self.name(number): {"type": self._random.choice(_TYPES), "description": self.text(6)}
            for number in range(self._random.randint(1, 6))
        }
        inner = {"type": "object", "properties": dict(list(members.items())[:1]), "additionalProperties": False}
        members["items"] = {"type": "array", "items": inner, "maxItems": self._random.randint(1, 90)}
        members["either"] = {"anyOf": [{"type": "string", "enum": ["a", "b/c"]}, {"type": "null"}], "default": None}
        return {"type": "object", "properties": members, "required": list(members)[:2], "additionalProperties": False}

    def number(self) -> float:
        """A number whose digits would not survive being read as a float of another width and written again."""
        return self._random.choice((1e-07, 0.30000000000000004, 12345678901234567, 1.0))


def anthropic_body(tools: int, *, seed: int, stream: bool, size: int = 120_000) -> dict[str, Any]:
    """A Messages request of at least ``size`` bytes; the first system block is another for each seed."""
    writer = Writer(seed)
    use = {
        "type": "tool_use",
        "id": f"toolu_{seed:06}",
        "name": "read_0",
        "input": {"path": "a/b", "n": writer.number()},
    }
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": [{"type": "text", "text": writer.text(400)}]}
    kept = {"type": "ephemeral", "ttl": "1h"}
    body = {
        "model": "claude-opus-4-7",
        "max_tokens": 64_000,
        "metadata": {"user_id": json.dumps({"device": writer.word(), "session": seed, "nested": {"a": [1, None]}})},
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "system": [
            {"type": "text", "text": f"billing: session {seed}; {writer.text(4)}"},
            {"type": "text", "text": writer.text(900), "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": writer.text(900), "cache_control": kept},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": writer.text(60)}, {"type": "text", "text": "go on"}]},
            {"role": "assistant", "content": [{"type": "text", "text": writer.text(9)}, use]},
            {"role": "user", "content": [result, {"type": "text", "text": "next", "cache_control": kept}]},
        ],
        "tools": [
            {"name": f"read_{number}", "description": writer.text(30), "input_schema": writer.schema()}
            for number in range(tools)
        ],
        "stream": stream,
    }
    return _grown(body, writer, size, lambda text: body["messages"][0]["content"][0].update(text=text))


def openai_body(tools: int, *, seed: int, stream: bool, size: int = 120_000) -> dict[str, Any]:
    """A chat completion of at least ``size`` bytes."""
    writer = Writer(seed)
    called = json.dumps({"path": "a/b", "n": writer.number()}, indent=1)
    call = {"id": f"call_{seed:06}", "type": "function", "function": {"name": "read_0", "arguments": called}}
    body = {
        "model": "gpt-5.5",
        "max_completion_tokens": 32_000,
        "temperature": 0.55,
        "top_p": 1,
        "messages": [
            {"role": "system", "content": writer.text(900)},
            {"role": "system", "content": f"session {seed}"},
            {"role": "user", "content": [{"type": "text", "text": writer.text(60)}]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": writer.text(400)},
            {"role": "user", "content": "go on"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": f"read_{number}", "description": writer.text(30), "parameters": writer.schema()},
            }
            for number in range(tools)
        ],
        "tool_choice": "auto",
        "reasoning_effort": "medium",
        "verbosity": "low",
        "prompt_cache_key": f"session-{seed}",
        "store": False,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    return _grown(body, writer, size, lambda text: body["messages"][2]["content"][0].update(text=text))


def _grown(body: dict[str, Any], writer: Writer, size: int, put: Any) -> dict[str, Any]:
    missing = size - len(written(body))
    if missing > 0:
        text = ""
        while len(text) < missing:
            text += writer.text(200) + "\n"
        put(text)
    return body


def written(body: dict[str, Any], *, style: int = 0) -> bytes:
    """The body as JSON, in one of three layouts that clients use."""
    if style == 0:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    if style == 1:
        return json.dumps(body, ensure_ascii=True).encode()
    return json.dumps(body, ensure_ascii=False, indent=2).encode()
