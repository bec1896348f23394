"""What the simulated model answers to OpenAI's Responses: output items, how it ended, the bill."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .dialect import Call
from .finish import openai_finish
from .responses_schema import MAKER
from .script import Acts
from .signatures import envelope
from .speech import (
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    OVERBILLED_BY,
    Prompt,
    Said,
    Tool,
    content_text,
    count_tokens,
    speak,
)

_PICTURES = ("input_image", "input_file")


@dataclass(frozen=True, slots=True)
class Item:
    """An output item when it is done, and the pieces it comes in."""

    whole: Mapping[str, Any]
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The output, its status (None: the provider does not say), and the token counts that a truthful bill shows."""

    items: tuple[Item, ...]
    status: str | None
    incomplete: str | None
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int


def items_of(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The input as items; a string is a user message."""
    value = request["input"]
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def last_user_text(request: Mapping[str, Any]) -> str:
    """The text of the last user message, directives included."""
    for item in reversed(items_of(request)):
        if item.get("role") == "user":
            return content_text(item.get("content"))
    return ""


def input_tokens(request: Mapping[str, Any]) -> int:
    """Tokens of the input: texts, arguments and outputs, images and files flat, tools as their JSON."""
    total = 3 + count_tokens(request.get("instructions") or "")
    for item in items_of(request):
        content = item.get("content", item.get("output"))
        total += MESSAGE_TOKENS + count_tokens(content_text(content)) + count_tokens(item.get("arguments") or "")
        if isinstance(content, list):
            total += IMAGE_TOKENS * sum(part.get("type") in _PICTURES for part in content)
    if request.get("tools"):
        total += count_tokens(msgspec.json.encode(request["tools"]).decode())
    return total


def compose(call: Call, acts: Acts) -> Answer:
    """The answer to a call under its acts."""
    request = call.request
    tokens = input_tokens(request)
    if acts.empty == "choices":
        return Answer((), "completed", None, tokens, 0, 0)
    said = speak(_prompt(request), acts, call.max_tokens)
    finish = openai_finish(acts.finish, "stop" if said.end == "stop_sequence" else said.end)
    status: str | None = "completed"
    incomplete = {
        "length": "max_output_tokens",
        "model_length": "max_output_tokens",
        "content_filter": "content_filter",
    }
    if finish in incomplete:
        status = "incomplete"
    elif finish is None or finish == "error":
        status = "failed" if finish else None
    items = _items(said, call, acts, "incomplete" if status == "incomplete" else "completed")
    return Answer(items, status, incomplete.get(finish or ""), tokens, said.tokens + acts.reasoning, acts.reasoning)


def _prompt(request: Mapping[str, Any]) -> Prompt:
    items = items_of(request)
    results: list[str] = []
    for item in reversed(items):
        if item.get("type") not in ("function_call_output", "custom_tool_call_output"):
            break
        results.insert(0, content_text(item["output"]))
    choice = request.get("tool_choice")
    named = choice if isinstance(choice, dict) else {}
    silent = choice == "none" or (not results and items[-1].get("role") != "user")
    form = (request.get("text") or {}).get("format") or {"type": "text"}
    tools = [tool for tool in request.get("tools") or [] if tool["type"] in ("function", "custom")]
    return Prompt(
        text=last_user_text(request),
        turns=len(items),
        results=tuple(results) if results else None,
        tools=tuple(Tool(tool["name"], tool.get("parameters") or {}, tool["type"]) for tool in tools),
        choice="none" if silent else "any" if named or choice == "required" else "auto",
        forced=named.get("name") if named.get("type") in ("function", "custom") else None,
        parallel=request.get("parallel_tool_calls") is not False,
        form=None if form["type"] == "text" else form.get("schema") or {},
    )


def _items(said: Said, call: Call, acts: Acts, status: str) -> tuple[Item, ...]:
    def name(prefix: str, number: int = 0) -> str:
        return prefix + hashlib.sha256(f"{call.digest}:{prefix}{number}".encode()).hexdigest()[:32]

    items: list[Item] = []
    reasoning = call.request.get("reasoning") or {}
    if acts.reasoning or reasoning.get("effort") not in (None, "none"):
        shown = reasoning.get("summary") is not None
        pieces = ("The", " input", " wants", " an", " answer.") if shown else ()
        whole: dict[str, Any] = {"id": name("rs_"), "type": "reasoning", "summary": []}
        if shown:
            whole["summary"] = [{"type": "summary_text", "text": "".join(pieces)}]
        if "reasoning.encrypted_content" in (call.request.get("include") or []):
            whole["encrypted_content"] = envelope(MAKER, call.digest)
        items.append(Item(whole, pieces))
    if said.pieces or not said.calls:
        text = {"type": "output_text", "text": "".join(said.pieces), "annotations": [], "logprobs": []}
        content = [] if acts.empty == "content" else [text]
        message = {"id": name("msg_"), "type": "message", "status": status, "role": "assistant", "content": content}
        items.append(Item(message, _grouped(said.pieces, acts)))
    for number, item in enumerate(said.calls):
        custom = item.kind == "custom"
        made = {
            "id": name("ctc_" if custom else "fc_", number),
            "type": "custom_tool_call" if custom else "function_call",
            "status": status,
            "call_id": name("call_", number)[:29],
            "name": item.name,
            "input" if custom else "arguments": "".join(item.fragments),
        }
        items.append(Item(made, item.fragments))
    return tuple(items)


def _grouped(pieces: Sequence[str], acts: Acts) -> tuple[str, ...]:
    step = max(1, acts.per_event)
    return tuple("".join(pieces[start : start + step]) for start in range(0, len(pieces), step))


def usage_of(answer: Answer, acts: Acts) -> dict[str, Any] | None:
    """The usage the provider states: the truth, or what `usage=` makes of it. None when it states none."""
    if acts.usage in ("missing", "nowhere", "null"):
        return None
    before, after = answer.input_tokens, answer.output_tokens
    if acts.usage == "zero":
        before = after = 0
    elif acts.usage == "overbilled":
        after += OVERBILLED_BY
    elif acts.usage == "negative":
        before, after = -before, -after
    read = max(0, min(acts.cached, before))
    written = max(0, min(acts.cache_write + acts.cache_write_1h, before - read))
    return {
        "input_tokens": before,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": str(after) if acts.usage == "string" else after,
        "output_tokens_details": {"reasoning_tokens": 0 if acts.usage == "zero" else answer.reasoning_tokens},
        "total_tokens": before + after,
    }
