"""Write a conversation as a request of this dialect, for callers who spoke another."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.conversation import Choice, Conversation, Format, ToolSpec, UnsupportedError, Written
from ainfera_gateway.wire.openai_chat.build_messages import MessageWriter
from ainfera_gateway.wire.openai_chat.build_reasoning import lacks_reasoning, reasoning_fields
from ainfera_gateway.wire.openai_chat.known_fields import HOUSE_FIELDS, known_fields
from ainfera_gateway.wire.passage import Terms

STOPS_MAX = 4
USER_CHARS_MAX = 64
_TOP_K_TAKERS = frozenset({"together", "fireworks", "openrouter"})
# Who gets here spoke Anthropic's dialect: what is dropped is named in its words.
_CALLERS_NAME = {
    "user": "metadata.user_id",
    "stop": "stop_sequences",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}


def write_request(conversation: Conversation, terms: Terms, *, stream: bool) -> Written:
    """The request for the provider of ``terms``.

    Raises ``UnsupportedError`` for what must not be cut: more than ``STOPS_MAX`` stop sequences, content the provider
    has no form for, a forced tool where there is none. Cache marks, signed reasoning and hints it does not know are
    dropped and named.
    """
    if len(conversation.stop) > STOPS_MAX:
        raise UnsupportedError(f"this model takes at most {STOPS_MAX} stop sequences", "stop_sequences")
    dropped = list(conversation.unread)
    writer = MessageWriter(terms, dropped)
    body: dict[str, Any] = {"model": terms.upstream_model, "messages": writer.write(conversation.turns)}
    body |= _tool_fields(conversation, writer)
    if conversation.format is not None:
        body["response_format"] = _format(conversation.format)
    reasoning, unsaid = reasoning_fields(conversation.reasoning, terms, lacking=lacks_reasoning(body["messages"]))
    body |= reasoning
    dropped += unsaid
    body |= _sampling(conversation, terms, dropped)
    body[terms.max_tokens_field] = terms.max_tokens
    if stream:
        body["stream"] = True
        if terms.knows_usage_option:
            body["stream_options"] = {"include_usage": True}
    _take_out_unknown(body, terms, dropped)
    return Written(msgspec.json.encode(body), tuple(dict.fromkeys(dropped)))


def _tool_fields(conversation: Conversation, writer: MessageWriter) -> dict[str, Any]:
    choice = conversation.choice
    if not conversation.tools:
        # Without tools there is nothing to choose; only to force one would be a contradiction.
        if choice is not None and choice.mode in {"required", "named"}:
            raise UnsupportedError("tool_choice forces a tool, and there is none that this model could call", "tools")
        return {}
    fields: dict[str, Any] = {"tools": [_tool(tool, writer) for tool in conversation.tools]}
    if choice is not None:
        fields["tool_choice"] = _choice(choice)
    if conversation.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = conversation.parallel_tool_calls
    return fields


def _tool(tool: ToolSpec, writer: MessageWriter) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = Raw(tool.schema)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function, **writer.mark(tool.cache)}


def _choice(choice: Choice) -> str | dict[str, Any]:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _format(wanted: Format) -> dict[str, Any]:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    schema: dict[str, Any] = {"name": wanted.name or "answer"}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if wanted.schema is not None:
        schema["schema"] = Raw(wanted.schema)
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def _sampling(conversation: Conversation, terms: Terms, dropped: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "frequency_penalty": conversation.frequency_penalty,
        "presence_penalty": conversation.presence_penalty,
        "stop": list(conversation.stop) or None,
        "random_seed" if terms.provider == "mistral" else "seed": conversation.seed,
        "n": conversation.n if conversation.n > 1 else None,
        "logprobs": conversation.logprobs or None,
        "top_logprobs": conversation.top_logprobs,
        "user": _user(conversation.user),
    }
    if conversation.top_k is not None:
        if terms.provider in _TOP_K_TAKERS:
            fields["top_k"] = conversation.top_k
        else:
            dropped.append("top_k")
    return {name: value for name, value in fields.items() if value is not None}


def _user(user: str | None) -> str | None:
    """The end user's name, by its hash where it is longer than providers take."""
    if user is None or len(user) <= USER_CHARS_MAX:
        return user
    return hashlib.sha256(user.encode()).hexdigest()


def _take_out_unknown(body: dict[str, Any], terms: Terms, dropped: list[str]) -> None:
    """What this provider refuses goes and is named; what would change the answer cannot go."""
    unknown = set(terms.drop_fields)
    known = known_fields(terms.provider)
    if known is not None:
        unknown |= body.keys() - known - HOUSE_FIELDS
    for name in sorted(unknown & body.keys()):
        if name in {"logprobs", "n", "response_format"}:
            raise UnsupportedError(f"this provider does not know {name}", name)
        del body[name]
        if name not in HOUSE_FIELDS:
            dropped.append(_CALLERS_NAME.get(name, name))
