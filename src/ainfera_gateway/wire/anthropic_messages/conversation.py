"""Read a request into a conversation, for a model that speaks another dialect."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from ainfera_gateway.canonical.conversation import (
    Choice,
    Conversation,
    Effort,
    Format,
    Reasoning,
    Text,
    ToolSpec,
    Turn,
    UnsupportedError,
)
from ainfera_gateway.wire.anthropic_messages.request import ParsedMessages
from ainfera_gateway.wire.anthropic_messages.turns import read_texts, read_turns
from ainfera_gateway.wire.openai_chat.opened import Opened
from ainfera_gateway.wire.routing_inputs import GATEWAY_FIELDS

_EFFORTS: frozenset[str] = frozenset(get_args(Effort))
# What the house itself sets on the way out, or answers for on the way back.
_NOT_SAID = ("model", "max_tokens", "stream", *sorted(GATEWAY_FIELDS))
_DEFAULTS: dict[str, Any] = {"service_tier": "auto", "speed": "standard", "mcp_servers": []}
_MODES = {"auto": "auto", "none": "none", "any": "required"}


def read_conversation(parsed: ParsedMessages) -> Conversation:
    """All that the caller says to the model. Raises ``UnsupportedError`` for what no other dialect could say.

    ``unread`` names every member that was sent, says something and has no place in a conversation: blocks and tools
    that only the provider of this dialect knows among them.
    """
    body = Opened(parsed.body)
    body.skip(*_NOT_SAID)
    for name, default in _DEFAULTS.items():
        if (sent := parsed.span(name)) and msgspec.json.decode(sent) == default:
            body.skip(name)
    unread: list[str] = []
    system = _read_system(body, unread)
    turns = read_turns(body.items("messages"), unread)
    tools, typed = _read_tools(body, unread)
    choice, parallel = _read_choice(body, tools, typed, unread)
    effort, answer_format = _read_output(body, unread)
    reasoning = _read_reasoning(body, effort, unread)
    user = None
    metadata = body.inner("metadata")
    if metadata is not None:
        metadata.skip("tags")
        user = metadata.text("user_id")
        unread += metadata.left()
    body.skip("stop_sequences")
    return Conversation(
        turns=(*system, *turns),
        tools=tools,
        choice=choice,
        parallel_tool_calls=parallel,
        format=answer_format,
        reasoning=reasoning,
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.integer("top_k"),
        stop=parsed.fields.stop_sequences or (),
        user=user,
        unread=(*unread, *body.left()),
    )


def _read_system(body: Opened, unread: list[str]) -> tuple[Turn, ...]:
    sent = body.raw("system")
    if sent is None:
        return ()
    texts = read_texts(sent, "system", unread)
    return (Turn("system", texts),) if texts != (Text(""),) and texts else ()


def _read_tools(body: Opened, unread: list[str]) -> tuple[tuple[ToolSpec, ...], set[str]]:
    """The caller's own tools, and the names of those of the provider's kinds, which are left out and named."""
    own: list[ToolSpec] = []
    typed: set[str] = set()
    for index, sent in enumerate(body.items("tools")):
        tool = Opened(sent, f"tools[{index}]")
        name = tool.text("name") or ""
        if (tool.text("type") or "custom") != "custom":
            typed.add(name)
            unread.append(tool.path)
            continue
        own.append(
            ToolSpec(
                name=name,
                description=tool.text("description"),
                schema=tool.raw("input_schema"),
                strict=tool.flag("strict"),
                cache=tool.raw("cache_control"),
            )
        )
        unread += tool.left()
    return tuple(own), typed


def _read_choice(
    body: Opened, tools: tuple[ToolSpec, ...], typed: set[str], unread: list[str]
) -> tuple[Choice | None, bool | None]:
    """The choice, and False where only one call at a time is wanted. Without tools it says nothing."""
    sent = body.inner("tool_choice")
    if sent is None:
        return None, None
    kind, name = sent.text("type") or "", sent.text("name")
    parallel = False if sent.flag("disable_parallel_tool_use") else None
    unread += sent.left()
    if kind == "tool" and name is not None:
        if name in typed and name not in {tool.name for tool in tools}:
            raise UnsupportedError("tool_choice forces a tool that only its own provider knows", "tool_choice")
        return Choice("named", name), parallel
    if kind not in _MODES:
        raise UnsupportedError(f"tool_choice {kind} cannot be carried to this model", "tool_choice.type")
    if kind == "any" and typed and not tools:
        raise UnsupportedError("tool_choice forces a tool that only its own provider knows", "tool_choice")
    if not tools:
        return None, None
    return Choice(_MODES[kind]), parallel  # type: ignore[arg-type]


def _read_output(body: Opened, unread: list[str]) -> tuple[str | None, Format | None]:
    """The effort, and the form of the answer; ``output_format`` is its older place."""
    effort: str | None = None
    answer_format: Format | None = None
    for holder in (body.inner("output_config"), body):
        if holder is None:
            continue
        sent = holder.inner("output_format" if holder is body else "format")
        if sent is not None:
            kind = sent.text("type")
            if kind != "json_schema":
                raise UnsupportedError(f"the format {kind} cannot be carried to this model", sent.at("type"))
            answer_format = answer_format or Format("json_schema", schema=sent.raw("schema"))
            unread += sent.left()
        if holder is not body:
            effort = holder.text("effort")
            if effort is not None and effort not in _EFFORTS:
                unread.append(holder.at("effort"))
                effort = None
            unread += holder.left()
    return effort, answer_format


def _read_reasoning(body: Opened, effort: str | None, unread: list[str]) -> Reasoning | None:
    """From ``thinking`` and ``output_config.effort``; thinking that is disabled is no effort, unless one is named."""
    sent = body.inner("thinking")
    if sent is None:
        return Reasoning(effort) if effort else None  # type: ignore[arg-type]
    kind, budget, summary = sent.text("type"), sent.integer("budget_tokens"), sent.text("display")
    unread += sent.left()
    if kind == "disabled":
        return Reasoning(effort or "none")  # type: ignore[arg-type]
    if kind == "enabled":
        return Reasoning(effort, budget, adaptive=budget is None, summary=summary)  # type: ignore[arg-type]
    if kind != "adaptive":
        unread.append(sent.at("type"))
    return Reasoning(effort, adaptive=True, summary=summary)  # type: ignore[arg-type]
