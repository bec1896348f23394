"""What the simulated model says: a deterministic echo or tool calls, counted by a tokenizer of its own.

A token is a word or one other visible character, with the blanks before it. The pieces of a text joined are the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .dialect import Call
from .script import MARKER, Acts

_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+\Z")
_CITIES: Final = ("Paris", "Oslo", "Lima", "Quito", "Nairobi", "Hanoi", "Perth", "Turin")
_NUMBERS: Final = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
MESSAGE_TOKENS: Final = 3
IMAGE_TOKENS: Final = 85
ECHO_TOKENS: Final = 200
_FRAGMENT: Final = 5


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call; `fragments` joined are its arguments (or the input of a custom tool)."""

    id: str
    kind: str
    name: str
    fragments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: its text in tokens or its tool calls, and why it ended (None: the provider does not say)."""

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


def split_tokens(text: str) -> list[str]:
    """The text in tokens."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Number of tokens of a text."""
    return len(_TOKEN.findall(text))


def content_text(content: object) -> str:
    """The text of a message's content, string or parts; parts are joined by a line break."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") or part.get("refusal") or "" for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


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
    """What the model answers to a conversation; depends on its length and the last user message or tool results."""
    if messages and messages[-1].get("role") in ("tool", "function"):
        results: list[str] = []
        for message in reversed(messages):
            if message.get("role") not in ("tool", "function"):
                break
            results.insert(0, content_text(message.get("content")))
        said = " | ".join(results)
        return f"The tools say: {_shorten(said)}"
    said = MARKER.sub("", last_user_text(messages)).strip()
    return f"Echo of message {len(messages)}: {_shorten(said)}"


def _shorten(text: str) -> str:
    pieces = split_tokens(text)
    return text if len(pieces) <= ECHO_TOKENS else "".join(pieces[:ECHO_TOKENS]) + " ..."


def compose(call: Call, acts: Acts) -> Answer:
    """The answer to a call under its acts."""
    request = call.request
    prompt = prompt_tokens(request)
    limit = None if acts.ignore_max else call.max_tokens
    count = request.get("n") or 1
    if acts.empty == "choices":
        return Answer((), prompt, 0)
    calls = _tool_calls(call, acts)
    choice = _tool_choice(calls, limit, acts) if calls else _text_choice(call, acts, limit)
    return Answer((choice,) * count, prompt, (choice.tokens + acts.reasoning) * count)


def _text_choice(call: Call, acts: Acts, limit: int | None) -> Choice:
    if acts.empty == "content":
        return Choice((), (), acts.finish or "stop", 0)
    if acts.big:
        pieces = ["word0", *(f" word{n}" for n in range(1, acts.big))]
    else:
        text = acts.text if acts.text is not None else echo_text(call.request["messages"])
        form = call.request.get("response_format")
        if form and form["type"] != "text":
            text = msgspec.json.encode({"echo": text}).decode()
        pieces = split_tokens(_cut_at_stop(text, call.request.get("stop")))
    finish = "stop"
    if limit is not None and len(pieces) > limit:
        pieces, finish = pieces[:limit], "length"
    return Choice(pieces, (), _override(acts, finish), len(pieces))


def _override(acts: Acts, finish: str) -> str | None:
    if acts.finish is None:
        return finish
    return None if acts.finish == "null" else acts.finish


def _cut_at_stop(text: str, stop: object) -> str:
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list):
        return text
    ends = [place for place in (text.find(item) for item in stops) if place >= 0]
    return text[: min(ends)] if ends else text


def _tool_calls(call: Call, acts: Acts) -> tuple[ToolCall, ...]:
    request = call.request
    tools = request.get("tools") or []
    choice = request.get("tool_choice")
    text = MARKER.sub("", call.text).lower()
    if acts.tool_calls is not None:
        wanted = acts.tool_calls
    elif not tools or choice == "none" or request["messages"][-1].get("role") != "user":
        return ()
    elif isinstance(choice, dict) or choice == "required" or "weather" in text:
        found = re.search(r"\b(one|two|three|four|five) cit", text)
        wanted = _NUMBERS[found[1]] if found and request.get("parallel_tool_calls") is not False else 1
    else:
        return ()
    tool = _pick_tool(tools, choice)
    kind = tool["type"]
    calls: list[ToolCall] = []
    for number in range(wanted):
        call_id = "call_" + hashlib.sha256(f"{call.digest}:{number}".encode()).hexdigest()[:24]
        if kind == "function":
            payload = msgspec.json.encode(_arguments(tool["function"].get("parameters") or {}, number)).decode()
        else:
            payload = f"weather in {_CITIES[number % len(_CITIES)]}"
        fragments = tuple(payload[start : start + _FRAGMENT] for start in range(0, len(payload), _FRAGMENT))
        calls.append(ToolCall(call_id, kind, tool[kind]["name"], fragments))
    return tuple(calls)


def _pick_tool(tools: Sequence[Mapping[str, Any]], choice: object) -> Mapping[str, Any]:
    """The forced tool, else the first about the weather, else the first."""
    if isinstance(choice, dict) and choice["type"] in ("function", "custom"):
        kind = choice["type"]
        return next(tool for tool in tools if tool["type"] == kind and tool[kind]["name"] == choice[kind]["name"])
    about_weather = [tool for tool in tools if "weather" in tool[tool["type"]]["name"]]
    return next(iter([*about_weather, *tools]), {"type": "function", "function": {"name": "simulated_tool"}})


def _arguments(schema: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Arguments that fit a flat schema: an enum's first value, cities for strings, plain values for the rest."""
    properties = schema.get("properties") or {"city": {"type": "string"}}
    values: dict[str, Any] = {
        "string": _CITIES[number % len(_CITIES)],
        "number": 20.5,
        "integer": number + 1,
        "boolean": True,
        "array": [],
        "object": {},
        "null": None,
    }
    return {
        name: (shape.get("enum") or [values.get(str(shape.get("type")), "x")])[0] for name, shape in properties.items()
    }


def _tool_choice(calls: tuple[ToolCall, ...], limit: int | None, acts: Acts) -> Choice:
    """Tool calls cost a token for the name and one for each fragment; a limit cuts the arguments off."""
    kept: list[ToolCall] = []
    tokens = 0
    finish = "tool_calls"
    for item in calls:
        room = len(item.fragments) + 1 if limit is None else limit - tokens
        if room <= 0:
            finish = "length"
            break
        fragments = item.fragments[: room - 1]
        if len(fragments) < len(item.fragments):
            finish = "length"
        tokens += 1 + len(fragments)
        kept.append(ToolCall(item.id, item.kind, item.name, fragments))
    return Choice((), tuple(kept), _override(acts, finish), tokens)
