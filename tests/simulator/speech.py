"""What the simulated model says, in no dialect's form: a deterministic echo or tool calls, counted in tokens of its own.

A token is a word or one other visible character, with the blanks before it. The pieces of a text joined are the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from .script import MARKER, Acts

_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+\Z")
_CITIES: Final = ("Paris", "Oslo", "Lima", "Quito", "Nairobi", "Hanoi", "Perth", "Turin")
_NUMBERS: Final = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_DEPTH: Final = 8
MESSAGE_TOKENS: Final = 3
IMAGE_TOKENS: Final = 85
ECHO_TOKENS: Final = 200
FRAGMENT: Final = 5
OVERBILLED_BY: Final = 1_000_000
# A nested "model" that is not the answer's: whoever rewrites the model must find the right one.
NOTE: Final = {"text": "kept by an honest relay", "model": "not-the-model"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the model may call; `kind` is `function` (JSON arguments by the schema) or `custom` (any text)."""

    name: str
    schema: Mapping[str, Any]
    kind: str = "function"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, read: the last user message with its directives, and what it allows the model to do.

    `turns` counts the messages; `results` are the tool results at the end of the conversation, None when it does not
    end so; `forced` names a tool that must be called; `form` is the schema of a structured answer ({}: any JSON).
    """

    text: str
    turns: int
    results: tuple[str, ...] | None = None
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "any"] = "auto"
    forced: str | None = None
    parallel: bool = True
    stops: tuple[str, ...] = ()
    form: Mapping[str, Any] | None = None
    thinks: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call; `fragments` joined are its arguments (or the input of a custom tool)."""

    kind: str
    name: str
    fragments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said: thoughts and text in tokens, tool calls, why it ended (`stop` is the sequence that ended it)."""

    thoughts: tuple[str, ...]
    pieces: Sequence[str]
    calls: tuple[ToolCall, ...]
    end: Literal["stop", "length", "tool_calls", "stop_sequence"]
    stop: str | None
    tokens: int


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


def shorten(text: str) -> str:
    """The text, or its first tokens with an ellipsis when it is long."""
    pieces = split_tokens(text)
    return text if len(pieces) <= ECHO_TOKENS else "".join(pieces[:ECHO_TOKENS]) + " ..."


def echo(prompt: Prompt) -> str:
    """What the model answers: depends on the conversation's length and its last user message or tool results."""
    if prompt.results is not None:
        return f"The tools say: {shorten(' | '.join(prompt.results))}"
    return f"Echo of message {prompt.turns}: {shorten(MARKER.sub('', prompt.text).strip())}"


def speak(prompt: Prompt, acts: Acts, limit: int | None) -> Said:
    """The answer to a prompt under its acts, cut at `limit` tokens (None: never), thoughts included."""
    limit = None if acts.ignore_max else limit
    if acts.empty == "content":
        return Said((), (), (), "stop", None, 0)
    thoughts: tuple[str, ...] = ()
    if prompt.thinks:
        thoughts = _thoughts(prompt, acts.reasoning)
        if limit is not None and len(thoughts) >= limit:
            return Said(thoughts[:limit], (), (), "length", None, limit)
    left = None if limit is None else limit - len(thoughts)
    calls = _tool_calls(prompt, acts)
    said = _say_calls(calls, acts, left) if calls else _say_text(prompt, acts, left)
    return Said(thoughts, said.pieces, said.calls, said.end, said.stop, said.tokens + len(thoughts))


def _thoughts(prompt: Prompt, count: int) -> tuple[str, ...]:
    if count:
        return ("thought0", *(f" thought{number}" for number in range(1, count)))
    return tuple(split_tokens(f"The conversation has {prompt.turns} messages; the last one wants an answer."))


def _say_text(prompt: Prompt, acts: Acts, limit: int | None) -> Said:
    stop = None
    if acts.big:
        pieces = ["word0", *(f" word{n}" for n in range(1, acts.big))]
    else:
        text = acts.text if acts.text is not None else echo(prompt)
        if prompt.form is not None:
            text = _structured(prompt.form, text)
        text, stop = _cut_at_stop(text, prompt.stops)
        pieces = split_tokens(text)
    if limit is not None and len(pieces) > limit:
        return Said((), pieces[:limit], (), "length", None, limit)
    return Said((), pieces, (), "stop" if stop is None else "stop_sequence", stop, len(pieces))


def _structured(schema: Mapping[str, Any], text: str) -> str:
    """A JSON text: values that fit the schema, or the echo where the schema asks for nothing."""
    fitting = _fit(schema, schema, 0) if schema.get("properties") else {"echo": text}
    return msgspec.json.encode(fitting).decode()


def _cut_at_stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    found = [(place, stop) for stop in stops for place in (text.find(stop),) if place >= 0]
    if not found:
        return text, None
    place, stop = min(found)
    return text[:place], stop


def _tool_calls(prompt: Prompt, acts: Acts) -> tuple[ToolCall, ...]:
    text = MARKER.sub("", prompt.text).lower()
    if acts.tool_calls is not None:
        wanted = acts.tool_calls
    elif not prompt.tools or prompt.choice == "none" or prompt.results is not None:
        return ()
    elif prompt.forced is not None or prompt.choice == "any" or "weather" in text:
        found = re.search(r"\b(one|two|three|four|five) cit", text)
        wanted = _NUMBERS[found[1]] if found and prompt.parallel else 1
    else:
        return ()
    tool = _pick_tool(prompt)
    calls: list[ToolCall] = []
    for number in range(wanted):
        if tool.kind == "function":
            payload = msgspec.json.encode(arguments(tool.schema, number)).decode()
        else:
            payload = f"weather in {_CITIES[number % len(_CITIES)]}"
        fragments = tuple(payload[start : start + FRAGMENT] for start in range(0, len(payload), FRAGMENT))
        calls.append(ToolCall(tool.kind, tool.name, fragments))
    return tuple(calls)


def _pick_tool(prompt: Prompt) -> Tool:
    """The forced tool, else the first about the weather, else the first."""
    if prompt.forced is not None:
        return next(tool for tool in prompt.tools if tool.name == prompt.forced)
    about_weather = [tool for tool in prompt.tools if "weather" in tool.name]
    return next(iter([*about_weather, *prompt.tools]), Tool("simulated_tool", {}))


def arguments(schema: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Arguments that fit a schema; those of an object without properties are a city. `number` varies them."""
    fitting = _fit({**schema, "properties": schema.get("properties") or {"city": {"type": "string"}}}, schema, number)
    assert isinstance(fitting, dict)
    return fitting


def _fit(shape: Mapping[str, Any], root: Mapping[str, Any], number: int, depth: int = 0) -> Any:
    """A value that fits a schema: an enum's first value, cities for strings, plain values for the rest."""
    reference = shape.get("$ref")
    if isinstance(reference, str) and depth < _DEPTH:
        target: Any = root
        for name in reference.removeprefix("#/").split("/"):
            target = target.get(name, {})
        return _fit(target, root, number, depth + 1)
    if "const" in shape:
        return shape["const"]
    if shape.get("enum"):
        return shape["enum"][0]
    options = shape.get("anyOf") or shape.get("oneOf")
    if options and depth < _DEPTH:
        return _fit(options[0], root, number, depth + 1)
    kind = shape.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if shape.get("properties") and depth < _DEPTH:
        return {name: _fit(inner, root, number, depth + 1) for name, inner in shape["properties"].items()}
    plain: dict[str, Any] = {
        "string": _CITIES[number % len(_CITIES)],
        "number": 20.5,
        "integer": number + 1,
        "boolean": True,
        "array": [],
        "object": {},
        "null": None,
    }
    return plain.get(str(kind), "x")


def _say_calls(calls: tuple[ToolCall, ...], acts: Acts, limit: int | None) -> Said:
    """Tool calls cost a token for the name and one for each fragment; a limit cuts the arguments off."""
    pieces = split_tokens(acts.text) if acts.text is not None else []
    if limit is not None and len(pieces) > limit:
        return Said((), pieces[:limit], (), "length", None, limit)
    kept: list[ToolCall] = []
    tokens = len(pieces)
    end: Literal["tool_calls", "length"] = "tool_calls"
    for item in calls:
        room = len(item.fragments) + 1 if limit is None else limit - tokens
        if room <= 0:
            end = "length"
            break
        fragments = item.fragments[: room - 1]
        if len(fragments) < len(item.fragments):
            end = "length"
        tokens += 1 + len(fragments)
        kept.append(ToolCall(item.kind, item.name, fragments))
    return Said((), pieces, tuple(kept), end, None, tokens)
