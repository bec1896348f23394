"""Write a request of this dialect from a conversation that came in another one."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.conversation import Choice, Conversation, Format, ToolSpec, UnsupportedError, Written
from ainfera_gateway.wire.anthropic_messages.build_messages import MessageWriter
from ainfera_gateway.wire.anthropic_messages.build_thinking import Thought, decide_thinking
from ainfera_gateway.wire.anthropic_messages.generations import abilities
from ainfera_gateway.wire.passage import Terms

_EMPTY_SCHEMA = Raw(b'{"type":"object","properties":{}}')
_TOP_P_WITH_THINKING = 0.95
_MODES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def write_request(conversation: Conversation, terms: Terms, *, stream: bool) -> Written:
    """The body for ``/messages``, and the caller's paths of what it does not carry.

    Raises ``UnsupportedError`` for what must not be cut: several choices, log probabilities, sound, a JSON mode
    without a schema, files of other providers.
    """
    _refuse(conversation)
    dropped = list(conversation.unread)
    writer = MessageWriter(dropped)
    system, messages = writer.write(conversation.turns)
    thought = decide_thinking(conversation, terms, dropped)
    body: dict[str, Any] = {"model": terms.upstream_model, "max_tokens": terms.max_tokens}
    if system:
        body["system"] = system
    body["messages"] = messages
    if conversation.tools:
        body["tools"] = [_write_tool(tool) for tool in conversation.tools]
        choice = _write_choice(conversation.choice, conversation.parallel_tool_calls)
        if choice:
            body["tool_choice"] = choice
    output = dict(thought.output)
    if conversation.format is not None and conversation.format.kind == "json_schema":
        output["format"] = _write_format(conversation.format, dropped)
    if output:
        body["output_config"] = output
    if thought.thinking:
        body["thinking"] = thought.thinking
    body |= _write_sampling(conversation, terms, thought, dropped)
    stop = [text for text in conversation.stop if text.strip()]
    if stop:
        body["stop_sequences"] = stop
    if len(stop) < len(conversation.stop):
        dropped.append("stop")
    if conversation.user is not None:
        body["metadata"] = {"user_id": conversation.user}
    if stream:
        body["stream"] = True
    for name in sorted(terms.drop_fields & body.keys()):
        del body[name]
        dropped.append(name)
    return Written(msgspec.json.encode(body), tuple(dict.fromkeys(dropped)))


def _refuse(conversation: Conversation) -> None:
    if conversation.n > 1:
        raise UnsupportedError("this provider gives one choice; ask for n of 1", "n")
    if conversation.logprobs or conversation.top_logprobs:
        raise UnsupportedError("this provider tells no log probabilities", "logprobs")
    wanted = conversation.format
    if wanted is not None and wanted.kind == "json_object":
        raise UnsupportedError("this provider has no JSON mode without a schema; send a json_schema", "response_format")
    if wanted is not None and wanted.kind == "json_schema" and wanted.schema is None:
        raise UnsupportedError("the json_schema has no schema", "response_format.json_schema.schema")
    choice = conversation.choice
    if choice is not None and choice.mode in {"required", "named"} and not conversation.tools:
        raise UnsupportedError("tool_choice forces a call, and there are no tools", "tool_choice")


def _write_tool(tool: ToolSpec) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = _object_schema(tool.schema)
    if tool.strict:
        written["strict"] = True
    if tool.cache is not None:
        written["cache_control"] = Raw(tool.cache)
    return written


def _object_schema(schema: bytes | None) -> Raw | dict[str, Any]:
    """The schema as sent; one that does not say ``type``, which has to be there, says that it is an object."""
    if schema is None or schema == b"null":
        return _EMPTY_SCHEMA
    try:
        sent = _members(schema)
    except msgspec.MsgspecError:
        return Raw(schema)
    return Raw(schema) if "type" in sent else {"type": "object", **sent}


def _write_choice(choice: Choice | None, parallel: bool | None) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if choice is not None:
        written["type"] = _MODES[choice.mode]
        if choice.mode == "named":
            written["name"] = choice.name
    if parallel is False and written.get("type") != "none":
        written = {"type": "auto", **written, "disable_parallel_tool_use": True}
    return written


def _write_format(wanted: Format, dropped: list[str]) -> dict[str, Any]:
    if wanted.name is not None:
        dropped.append("response_format.json_schema.name")
    if wanted.description is not None:
        dropped.append("response_format.json_schema.description")
    return {"type": "json_schema", "schema": Raw(wanted.schema or b"{}")}


def _write_sampling(conversation: Conversation, terms: Terms, thought: Thought, dropped: list[str]) -> dict[str, Any]:
    """What of the sampling this model takes; thinking leaves less of it, and a temperature ends at 1."""
    takes = abilities(terms.upstream_model).sampling
    thinks = bool(thought.thinking)
    body: dict[str, Any] = {}
    temperature, top_p, top_k = conversation.temperature, conversation.top_p, conversation.top_k
    if temperature is not None:
        if takes and not (thinks and temperature != 1):
            body["temperature"] = min(temperature, 1)
        if body.get("temperature", 1) != temperature:
            dropped.append("temperature")
    if top_p is not None:
        # Current models refuse both at once.
        if takes and "temperature" not in body and not (thinks and top_p < _TOP_P_WITH_THINKING):
            body["top_p"] = top_p
        elif top_p != 1:
            dropped.append("top_p")
    if top_k is not None:
        if takes and not thinks:
            body["top_k"] = top_k
        else:
            dropped.append("top_k")
    if conversation.seed is not None:
        dropped.append("seed")
    dropped += [name for name in ("frequency_penalty", "presence_penalty") if getattr(conversation, name)]
    return body
