"""What the simulated model answers to a Messages request: content blocks, whole and in deltas, and the bill."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .anthropic_blocks import MAKER
from .dialect import Call
from .finish import anthropic_finish
from .script import Acts
from .signatures import envelope, seal
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

REDACTED_TOKENS: Final = 4
_TINY: Final = 2
_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@dataclass(frozen=True, slots=True)
class Block:
    """A content block: `whole`, as it starts in a stream, and its deltas, each with the tokens it stands for."""

    whole: Mapping[str, Any]
    start: Mapping[str, Any]
    deltas: tuple[tuple[Mapping[str, Any], int], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """The answer: blocks, why it ended, and the token counts that a truthful bill shows."""

    blocks: tuple[Block, ...]
    stop_reason: str | None
    stop_sequence: str | None
    prompt_tokens: int
    output_tokens: int
    thinking_tokens: int


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last user message that has any, directives included."""
    for message in reversed(messages):
        text = content_text(message.get("content")) if message.get("role") == "user" else ""
        if text:
            return text
    return ""


def prompt_tokens(request: Mapping[str, Any]) -> int:
    """Tokens of the prompt: texts, thoughts, tool uses as JSON, images and files flat, tools as JSON."""
    total = 3 + _content_tokens(request.get("system") or "")
    for message in request["messages"]:
        total += MESSAGE_TOKENS + _content_tokens(message["content"])
    if request.get("tools"):
        total += _json_tokens(request["tools"])
    return total


def _content_tokens(content: object) -> int:
    if isinstance(content, str):
        return count_tokens(content)
    if not isinstance(content, list):
        return 0
    total = 0
    for block in content:
        match block["type"]:
            case "text":
                total += count_tokens(block["text"])
            case "thinking":
                total += count_tokens(block["thinking"])
            case "tool_use" | "server_tool_use":
                total += _json_tokens({"name": block["name"], "input": block["input"]})
            case "tool_result":
                total += _content_tokens(block.get("content", ""))
            case _:
                total += IMAGE_TOKENS
    return total


def _json_tokens(value: object) -> int:
    return count_tokens(msgspec.json.encode(value).decode())


def compose(call: Call, acts: Acts) -> Message:
    """The answer to a call under its acts."""
    request = call.request
    prompt = _prompt(request)
    tokens = prompt_tokens(request)
    if acts.empty == "choices":
        return Message((_text_block((), acts),), anthropic_finish(acts.finish, "end_turn"), None, tokens, 0, 0)
    said = speak(prompt, acts, call.max_tokens)
    blocks = _blocks(said, call, acts, hide=(request.get("thinking") or {}).get("display") == "omitted")
    hidden = 0 if prompt.thinks else acts.reasoning
    output = said.tokens + hidden + (REDACTED_TOKENS if acts.redacted else 0)
    reason = anthropic_finish(acts.finish, _REASONS.get(said.end, said.end))
    stop = said.stop
    if reason == "stop_sequence" and stop is None:
        stop = next(iter(prompt.stops), "STOP")
    stop = stop if reason == "stop_sequence" else None
    return Message(blocks, reason, stop, tokens, output, len(said.thoughts) + hidden)


def _prompt(request: Mapping[str, Any]) -> Prompt:
    messages: Sequence[Mapping[str, Any]] = request["messages"]
    last: list[Mapping[str, Any]] = []
    for message in reversed(messages):
        if message["role"] != "user":
            break
        last = [*(message["content"] if isinstance(message["content"], list) else []), *last]
    results = tuple(content_text(block.get("content", "")) for block in last if block["type"] == "tool_result")
    choice = request.get("tool_choice") or {"type": "auto"}
    silent = choice["type"] == "none" or messages[-1]["role"] == "assistant"
    config = request.get("output_config") or {}
    form = config.get("format") or request.get("output_format")
    return Prompt(
        text=last_user_text(messages),
        turns=len(messages),
        results=results or None,
        tools=tuple(
            Tool(tool["name"], tool["input_schema"])
            for tool in request.get("tools") or []
            if tool.get("type") in (None, "custom")
        ),
        choice="none" if silent else "any" if choice["type"] in ("any", "tool") else "auto",
        forced=choice.get("name") if choice["type"] == "tool" else None,
        parallel=not choice.get("disable_parallel_tool_use"),
        stops=tuple(request.get("stop_sequences") or ()),
        form=form.get("schema") or {} if form else None,
        thinks=(request.get("thinking") or {}).get("type") not in (None, "disabled"),
    )


def _blocks(said: Said, call: Call, acts: Acts, *, hide: bool) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if said.thoughts:
        blocks.append(_thinking_block(said.thoughts, acts, hide=hide))
    if acts.redacted:
        redacted = {"type": "redacted_thinking", "data": envelope(MAKER, call.digest)}
        blocks.append(Block(redacted, redacted, ()))
    if said.pieces:
        blocks.append(_text_block(said.pieces, acts))
    for number, item in enumerate(said.calls):
        name = "toolu_" + hashlib.sha256(f"{call.digest}:{number}".encode()).hexdigest()[:24]
        blocks.append(_tool_block(name, item.name, item.fragments, acts))
    return tuple(blocks)


def _grouped(pieces: Sequence[str], acts: Acts) -> list[tuple[str, int]]:
    step = max(1, acts.per_event)
    groups = [pieces[start : start + step] for start in range(0, len(pieces), step)]
    return [("".join(group), len(group)) for group in groups]


def _thinking_block(thoughts: Sequence[str], acts: Acts, *, hide: bool) -> Block:
    text = "" if hide else "".join(thoughts)
    signature = seal(MAKER, text)
    deltas: list[tuple[Mapping[str, Any], int]] = []
    if not hide:
        deltas = [({"type": "thinking_delta", "thinking": part}, count) for part, count in _grouped(thoughts, acts)]
    signed = {"type": "signature_delta", "signature": signature}
    deltas.append((signed, len(thoughts) if hide else 0))
    whole = {"type": "thinking", "thinking": text, "signature": signature}
    return Block(whole, {"type": "thinking", "thinking": "", "signature": ""}, tuple(deltas))


def _text_block(pieces: Sequence[str], acts: Acts) -> Block:
    deltas = tuple(({"type": "text_delta", "text": part}, count) for part, count in _grouped(pieces, acts))
    return Block({"type": "text", "text": "".join(pieces)}, {"type": "text", "text": ""}, deltas)


def _tool_block(call_id: str, name: str, fragments: Sequence[str], acts: Acts) -> Block:
    """Its input is empty in a plain answer when the limit cut the JSON off; the deltas show it as far as it went."""
    payload = "".join(fragments)
    try:
        whole_input = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        whole_input = {}
    deltas: list[tuple[Mapping[str, Any], int]] = [({"type": "input_json_delta", "partial_json": ""}, 1)]
    for fragment in fragments:
        step = _TINY if acts.fine_grained else len(fragment)
        parts = [fragment[start : start + step] for start in range(0, len(fragment), step)]
        counts = [1, *[0] * len(parts)]
        deltas += [({"type": "input_json_delta", "partial_json": p}, n) for p, n in zip(parts, counts, strict=False)]
    shared = {"type": "tool_use", "id": call_id, "name": name}
    return Block({**shared, "input": whole_input}, {**shared, "input": {}}, tuple(deltas))


def usage_of(message: Message, output: int, acts: Acts) -> dict[str, Any]:
    """The usage with this much output, as `usage=` distorts it where it distorts numbers. Input excludes what is cached."""
    prompt = message.prompt_tokens
    if acts.usage == "zero":
        prompt = output = 0
    elif acts.usage == "overbilled":
        output += OVERBILLED_BY
    read = min(acts.cached, prompt)
    short = min(acts.cache_write, prompt - read)
    long = min(acts.cache_write_1h, prompt - read - short)
    fresh = prompt - read - short - long
    if acts.usage == "negative":
        fresh, output = -fresh, -output
    usage: dict[str, Any] = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": str(output) if acts.usage == "string" else output,
        "service_tier": "standard",
    }
    if message.thinking_tokens and acts.usage != "zero":
        usage["output_tokens_details"] = {"thinking_tokens": message.thinking_tokens}
    return usage
