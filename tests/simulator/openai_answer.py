"""What the simulated model answers to a chat completion: `speech.speak` in the form of choices and tool calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .dialect import Call
from .finish import openai_finish
from .script import Acts
from .speech import IMAGE_TOKENS, MESSAGE_TOKENS, Prompt, Said, Tool, content_text, count_tokens, echo, speak


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call; `fragments` joined are its arguments (or the input of a custom tool)."""

    id: str
    kind: str
    name: str
    fragments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: its text in tokens, its tool calls, and why it ended (None: the provider does not say)."""

    pieces: Sequence[str]
    tool_calls: tuple[ToolCall, ...]
    finish: str | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """All choices and the token counts that a truthful bill shows."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last user message, directives included; empty when there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


def prompt_tokens(request: Mapping[str, Any]) -> int:
    """Tokens of the prompt: every message's text, its tool calls and overhead, images flat, tools as their JSON."""
    total = 3
    for message in request["messages"]:
        content = message.get("content")
        total += MESSAGE_TOKENS + count_tokens(content_text(content))
        if isinstance(content, list):
            total += IMAGE_TOKENS * sum(part.get("type") in ("image_url", "input_audio", "file") for part in content)
        if message.get("tool_calls"):
            total += count_tokens(msgspec.json.encode(message["tool_calls"]).decode())
    if request.get("tools"):
        total += count_tokens(msgspec.json.encode(request["tools"]).decode())
    return total


def echo_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the model answers to a conversation without tools."""
    return echo(_prompt({"messages": messages}))


def compose(call: Call, acts: Acts) -> Answer:
    """The answer to a call under its acts."""
    request = call.request
    tokens = prompt_tokens(request)
    if acts.empty == "choices":
        return Answer((), tokens, 0)
    said = speak(_prompt(request), acts, call.max_tokens)
    choice = _choice(said, call.digest, acts)
    count = request.get("n") or 1
    return Answer((choice,) * count, tokens, (choice.tokens + acts.reasoning) * count)


def _choice(said: Said, digest: str, acts: Acts) -> Choice:
    calls = tuple(
        ToolCall(
            "call_" + hashlib.sha256(f"{digest}:{number}".encode()).hexdigest()[:24],
            item.kind,
            item.name,
            item.fragments,
        )
        for number, item in enumerate(said.calls)
    )
    return Choice(said.pieces, calls, openai_finish(acts.finish, said.end), said.tokens)


def _prompt(request: Mapping[str, Any]) -> Prompt:
    messages: Sequence[Mapping[str, Any]] = request["messages"]
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") not in ("tool", "function"):
            break
        results.insert(0, content_text(message.get("content")))
    choice = request.get("tool_choice")
    named = choice if isinstance(choice, dict) else {}
    kind = named.get("type")
    stop = request.get("stop")
    form = request.get("response_format")
    schema = None
    if form and form["type"] != "text":
        schema = form.get("json_schema", {}).get("schema") or {}
    silent = choice == "none" or not messages or messages[-1].get("role") != "user"
    return Prompt(
        text=last_user_text(messages),
        turns=len(messages),
        results=tuple(results) if results else None,
        tools=tuple(_tool(tool) for tool in request.get("tools") or []),
        choice="none" if silent else "any" if kind or choice == "required" else "auto",
        forced=named[kind]["name"] if kind in ("function", "custom") else None,
        parallel=request.get("parallel_tool_calls") is not False,
        stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        form=schema,
    )


def _tool(tool: Mapping[str, Any]) -> Tool:
    kind = tool["type"]
    return Tool(tool[kind]["name"], tool[kind].get("parameters") or {}, kind)
