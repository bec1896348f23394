"""Read a request into a conversation, for a model that speaks another dialect."""

from __future__ import annotations

from typing import get_args

import msgspec

from ainfera_gateway.canonical.conversation import (
    Choice,
    Conversation,
    Effort,
    Format,
    Reasoning,
    ToolSpec,
    UnsupportedError,
)
from ainfera_gateway.wire.openai_chat.opened import Opened
from ainfera_gateway.wire.openai_chat.turns import read_turns
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.routing_inputs import GATEWAY_FIELDS

_EFFORTS: frozenset[str] = frozenset(get_args(Effort))
# What the house itself sets on the way out, or answers for on the way back.
_NOT_SAID = ("model", "max_tokens", "max_completion_tokens", "stream", "stream_options", *sorted(GATEWAY_FIELDS))


def read_conversation(parsed: Parsed) -> Conversation:
    """All that the caller says to the model. Raises ``UnsupportedError`` for what no other dialect could say.

    ``unread`` names every member that was sent, is not null and has no place in a conversation.
    """
    body = Opened(parsed.body)
    body.skip(*_NOT_SAID)
    turns, unread = read_turns(body.items("messages"))
    tools, choice = _read_tools(body, unread)
    reasoning = _read_reasoning(body, unread)
    answer_format = _read_format(body, unread)
    metadata = body.inner("metadata")
    if metadata is not None:
        metadata.skip("tags")
        unread += ["metadata"] if metadata.left() else []
    if b'"audio"' in body.items("modalities"):
        raise UnsupportedError("an answer in audio cannot be carried from this model", "modalities")
    user, safety = body.text("user"), body.text("safety_identifier")
    if user is not None and safety is not None and user != safety:
        unread.append("safety_identifier")
    logprobs, top_logprobs = _read_logprobs(body)
    conversation = Conversation(
        turns=turns,
        tools=tools,
        choice=choice,
        parallel_tool_calls=body.flag("parallel_tool_calls"),
        format=answer_format,
        reasoning=reasoning,
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.integer("top_k"),
        frequency_penalty=body.number("frequency_penalty"),
        presence_penalty=body.number("presence_penalty"),
        stop=_read_stop(body),
        seed=body.integer("seed"),
        n=body.integer("n") or 1,
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        user=safety if user is None else user,
    )
    return msgspec.structs.replace(conversation, unread=tuple(unread + body.left()))


def _read_stop(body: Opened) -> tuple[str, ...]:
    sent = body.raw("stop")
    if sent is None:
        return ()
    return (
        (msgspec.json.decode(sent, type=str),)
        if sent.startswith(b'"')
        else msgspec.json.decode(sent, type=tuple[str, ...])
    )


def _read_logprobs(body: Opened) -> tuple[bool, int | None]:
    """Whether, and how many at each place; some providers take the number in place of the word."""
    sent, top = body.raw("logprobs"), body.integer("top_logprobs")
    if sent is None or sent in {b"true", b"false"}:
        return sent == b"true", top
    count = Opened(b'{"logprobs":' + sent + b"}").integer("logprobs") or 0
    return count > 0, top or count or None


def _read_tools(body: Opened, unread: list[str]) -> tuple[tuple[ToolSpec, ...], Choice | None]:
    tools: list[ToolSpec] = []
    unknown: list[str] = []
    for index, sent in enumerate(body.items("tools")):
        tool = Opened(sent, f"tools[{index}]")
        kind = tool.text("type") or "function"
        if kind == "function":
            cache = tool.raw("cache_control")
            function = tool.inner("function")
            tools.append(_read_function(function or tool, cache, unread))
            unread += tool.left() if function is not None else []
        else:
            unknown.append(tool.path)
    tools += [
        _read_function(Opened(sent, f"functions[{index}]"), None, unread)
        for index, sent in enumerate(body.items("functions"))
    ]
    unread += unknown
    older = body.raw("function_call")
    sent_choice = body.raw("tool_choice") or older
    field = "function_call" if sent_choice is older else "tool_choice"
    if sent_choice is None:
        return tuple(tools), None
    choice, allowed = _read_choice(sent_choice, field, unread)
    if allowed is not None:
        tools = [tool for tool in tools if tool.name in allowed]
    if choice.mode in {"required", "named"} and unknown and not tools:
        raise UnsupportedError(f"{field} forces a tool that only its own provider can run", field)
    if choice.mode == "named" and unknown and choice.name not in {tool.name for tool in tools}:
        raise UnsupportedError(f"{field} forces a tool that only its own provider can run", field)
    return tuple(tools), choice


def _read_function(function: Opened, cache: bytes | None, unread: list[str]) -> ToolSpec:
    name = function.text("name")
    if name is None:
        raise UnsupportedError("a function needs its name", function.at("name"))
    spec = ToolSpec(
        name=name,
        description=function.text("description"),
        schema=function.raw("parameters"),
        strict=function.flag("strict"),
        cache=cache or function.raw("cache_control"),
    )
    unread += function.left()
    return spec


def _read_choice(sent: bytes, field: str, unread: list[str]) -> tuple[Choice, set[str] | None]:
    """The choice, and the only tools that it allows, None for all."""
    if sent.startswith(b'"'):
        return _word(msgspec.json.decode(sent, type=str), field), None
    choice = Opened(sent, field)
    kind = choice.text("type") or ("function" if field == "function_call" else "")
    if kind in {"function", "tool"}:
        name = (choice.inner("function") or choice).text("name")
        if name is None:
            raise UnsupportedError(f"{field} names no function", field)
        return Choice("named", name), None
    if kind != "allowed_tools":
        return _word(kind, field), None
    inner = choice.inner("allowed_tools") or choice
    mode = _word(inner.text("mode") or "auto", inner.at("mode"))
    allowed: set[str] = set()
    for index, item in enumerate(inner.items("tools")):
        tool = Opened(item, f"{inner.path}.tools[{index}]")
        name = (tool.inner("function") or tool).text("name") if tool.text("type") == "function" else None
        if name is None:
            unread.append(tool.path)
        else:
            allowed.add(name)
    return mode, allowed


def _word(word: str, field: str) -> Choice:
    if word == "auto":
        return Choice("auto")
    if word == "none":
        return Choice("none")
    if word in {"required", "any"}:
        return Choice("required")
    raise UnsupportedError(f"{field} {word} cannot be carried to this model", field)


def _read_reasoning(body: Opened, unread: list[str]) -> Reasoning | None:
    """From ``reasoning_effort``, or in the words of OpenRouter (``reasoning``) or of Anthropic (``thinking``)."""
    effort = body.text("reasoning_effort")
    effort_field = "reasoning_effort"
    budget: int | None = None
    adaptive = False
    summary: str | None = None
    reasoning = body.inner("reasoning")
    if reasoning is not None:
        if (inner_effort := reasoning.text("effort")) is not None:
            effort, effort_field = inner_effort, "reasoning.effort"
        budget = reasoning.integer("max_tokens")
        summary = reasoning.text("summary")
        enabled = reasoning.flag("enabled")
        if enabled is False:
            effort = "none"
        adaptive = enabled is True and effort is None and budget is None
        unread += reasoning.left()
    thinking = body.inner("thinking")
    if thinking is not None:
        kind = thinking.text("type")
        budget = thinking.integer("budget_tokens") or budget
        if kind == "disabled":
            effort, budget = "none", None
        adaptive = adaptive or kind == "adaptive" or (kind == "enabled" and budget is None)
        unread += thinking.left()
    if effort is not None and effort not in _EFFORTS:
        unread.append(effort_field)
        effort = None
    read = Reasoning(effort, budget, adaptive, summary)  # type: ignore[arg-type]
    return None if read == Reasoning() else read


def _read_format(body: Opened, unread: list[str]) -> Format | None:
    sent = body.inner("response_format")
    if sent is None:
        return None
    kind = sent.text("type")
    if kind == "text":
        return Format("text")
    if kind == "json_object":
        return Format("json_object")
    if kind != "json_schema":
        raise UnsupportedError(f"response_format {kind} cannot be carried to this model", "response_format.type")
    schema = sent.inner("json_schema") or Opened(b"{}", sent.at("json_schema"))
    read = Format(
        "json_schema", schema.text("name"), schema.raw("schema"), schema.flag("strict"), schema.text("description")
    )
    unread += schema.left() + sent.left()
    return read
