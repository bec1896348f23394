"""Write a conversation as a request for a response."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.conversation import (
    Choice,
    Conversation,
    Format,
    Reasoning,
    Text,
    ToolSpec,
    Turn,
    UnsupportedError,
    Written,
)
from ainfera_gateway.wire.openai_chat.build_reasoning import budget_effort
from ainfera_gateway.wire.openai_responses.items import InputItems
from ainfera_gateway.wire.passage import Terms

OUTPUT_TOKENS_MIN = 16
"""Less than this the provider refuses to be limited to."""
_USER_CHARS_MAX = 64
_FORMAT_NAME = "answer"
_SUMMARIES = {"auto": "auto", "concise": "concise", "detailed": "detailed", "summarized": "auto"}
_NEEDED = frozenset({"model", "input", "max_output_tokens"})
_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')


def write_request(conversation: Conversation, terms: Terms, *, stream: bool) -> Written:
    """The request body, and what of the conversation this wire has no word for and can do without.

    Nothing is stored at the provider. Raises ``UnsupportedError`` for what would change the answer if it were left
    out: stop sequences, several choices, log probabilities, sound, and an output limit below what this wire knows.
    """
    _refuse(conversation, terms)
    dropped = list(conversation.unread)
    input_items = InputItems()
    instructions, rest = _instructions(conversation.turns)
    for turn in conversation.turns[: len(conversation.turns) - len(rest)]:
        dropped += _lost_in_instructions(turn)
    for turn in rest:
        input_items.add(turn)
    dropped += input_items.dropped
    values: dict[str, Any] = {
        "model": terms.upstream_model,
        "input": input_items.items,
        "instructions": instructions,
        "max_output_tokens": terms.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "tools": _tools(conversation.tools, dropped),
        "tool_choice": _choice(conversation.choice),
        "parallel_tool_calls": conversation.parallel_tool_calls,
        "text": _text(conversation.format),
        "reasoning": _reasoning(conversation.reasoning),
        "safety_identifier": _user(conversation.user),
        "store": False,
        "stream": stream or None,
    }
    for name, value in (
        ("top_k", conversation.top_k),
        ("frequency_penalty", conversation.frequency_penalty),
        ("presence_penalty", conversation.presence_penalty),
    ):
        if value:
            dropped.append(name)
    if conversation.seed is not None:
        dropped.append("seed")
    for name in sorted((terms.drop_fields & values.keys()) - _NEEDED):
        if values[name] not in (None, False):
            dropped.append(name)
        values[name] = None
    body = {name: value for name, value in values.items() if value is not None}
    return Written(msgspec.json.encode(body), tuple(dict.fromkeys(dropped)))


def _refuse(conversation: Conversation, terms: Terms) -> None:
    """Raise for what must not be cut."""
    where = f"{terms.slug} is reached through a provider interface that"
    if terms.max_tokens < OUTPUT_TOKENS_MIN:
        raise UnsupportedError(f"{where} takes no output limit below {OUTPUT_TOKENS_MIN} tokens", "max_tokens")
    if conversation.stop:
        raise UnsupportedError(f"{where} has no stop sequences", "stop")
    if conversation.n > 1:
        raise UnsupportedError(f"{where} gives one choice; ask for n=1", "n")
    if conversation.logprobs or conversation.top_logprobs:
        field = "logprobs" if conversation.logprobs else "top_logprobs"
        raise UnsupportedError(f"{where} gives no log probabilities with a chat answer", field)


def _instructions(turns: tuple[Turn, ...]) -> tuple[str | None, tuple[Turn, ...]]:
    """The system's leading words, and the turns behind them. Where none follow they stay turns: input is needed."""
    leading = 0
    while (
        leading < len(turns)
        and turns[leading].role == "system"
        and all(isinstance(part, Text) for part in turns[leading].parts)
    ):
        leading += 1
    if leading in {0, len(turns)}:
        return None, turns
    texts = [part.text for turn in turns[:leading] for part in turn.parts if isinstance(part, Text)]
    return "\n\n".join(filter(None, texts)) or None, turns[leading:]


def _lost_in_instructions(turn: Turn) -> list[str]:
    lost = ["messages[].name"] if turn.name is not None else []
    if any(isinstance(part, Text) and part.cache is not None for part in turn.parts):
        lost.append("cache_control")
    return lost


def _tools(tools: tuple[ToolSpec, ...], dropped: list[str]) -> list[dict[str, Any]] | None:
    listed: list[dict[str, Any]] = []
    for tool in tools:
        written: dict[str, Any] = {"type": "function", "name": tool.name}
        if tool.description is not None:
            written["description"] = tool.description
        written["parameters"] = _NO_PARAMETERS if tool.schema is None else Raw(tool.schema)
        # This wire takes a tool that says nothing for a strict one; everywhere else it is not.
        written["strict"] = bool(tool.strict)
        if tool.cache is not None:
            dropped.append("cache_control")
        listed.append(written)
    return listed or None


def _choice(choice: Choice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


def _text(wanted: Format | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.kind != "json_schema":
        return {"format": {"type": wanted.kind}}
    if wanted.schema is None:
        raise UnsupportedError("the answer's JSON schema is missing", "response_format")
    written: dict[str, Any] = {
        "type": "json_schema",
        "name": wanted.name or _FORMAT_NAME,
        "schema": Raw(wanted.schema),
    }
    if wanted.description is not None:
        written["description"] = wanted.description
    if wanted.strict is not None:
        written["strict"] = wanted.strict
    return {"format": written}


def _reasoning(wanted: Reasoning | None) -> dict[str, Any] | None:
    """Effort and summary; a budget of tokens is carried as the effort it amounts to."""
    if wanted is None:
        return None
    effort = wanted.effort
    if effort is None and wanted.budget_tokens is not None:
        effort = budget_effort(wanted.budget_tokens)
    written = {"effort": effort, "summary": _SUMMARIES.get(wanted.summary or "")}
    return {name: value for name, value in written.items() if value is not None} or None


def _user(user: str | None) -> str | None:
    """A user's identifier; one that is too long as its hash, which tells users apart as well."""
    if not user or len(user) <= _USER_CHARS_MAX:
        return user or None
    return hashlib.sha256(user.encode()).hexdigest()
