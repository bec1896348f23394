"""Read a chat completions request, and write the one that goes upstream.

The body is read twice: once for types and limits, once for the byte offsets of its members. What goes upstream is
the caller's own bytes with a few members changed, so fields unknown here pass through untouched.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ainfera_gateway.canonical.needs import capabilities_needed
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import (
    ChatRequest,
    MaxTokensField,
    Message,
    ResponseFormat,
    StreamOptions,
    TaskType,
    Tool,
    ToolChoice,
)
from ainfera_gateway.wire.json_limits import check_depth, check_text
from ainfera_gateway.wire.json_splice import Member, members, splice, with_usage_asked, without_tags
from ainfera_gateway.wire.routing_inputs import (
    GATEWAY_FIELDS,
    CapFields,
    HintFields,
    MetadataFields,
    read_caps,
    read_hint,
    read_tags,
)
from ainfera_gateway.wire.validation import decode

TOKENS_MAX = 2**31
CHOICES_MAX = 128

# Some providers read member names without regard to case: "MAX_TOKENS" must not slip past what was reserved.
_GUARDED_FIELDS = frozenset({"model", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options"})
_MAX_TOKENS_FIELDS: tuple[MaxTokensField, ...] = ("max_tokens", "max_completion_tokens")
_CONTENT_OPTIONAL = frozenset({"assistant", "tool", "function"})

_Tokens = Annotated[int, Meta(ge=1, le=TOKENS_MAX)]


class _Body(Struct, frozen=True):
    """The fields this gateway reads; null means the same as absent, as the dialect has it."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: str | tuple[str, ...] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    response_format: ResponseFormat | None = None
    modalities: tuple[str, ...] | None = None
    agent_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    routing_hint: HintFields | None = None
    task_type: TaskType | None = None
    caps: CapFields | None = None
    metadata: MetadataFields | None = None


_body_decoder = msgspec.json.Decoder(_Body)


class ParsedChat(Struct, frozen=True):
    """A request, the bytes it came in, and where its top-level members stand in them."""

    request: ChatRequest
    body: bytes
    members: list[Member]


def parse(body: bytes, *, flat: bool) -> ParsedChat:
    """Read a request; ``flat`` for ``/v1/inference``, which differs in the machine code of its errors.

    Raises ``ParseError`` naming the field. The size of the body is the caller's to limit.
    """
    try:
        return _parse(body)
    except ParseError as exc:
        if flat:
            raise exc.with_code("validation_error") from None
        raise


def upstream_body(
    parsed: ParsedChat,
    *,
    model: str,
    max_tokens: int,
    max_tokens_field: str,
    drop: frozenset[str] = frozenset(),
    ask_usage: bool,
) -> bytes:
    """The caller's bytes with ``model`` and the token limit set and the gateway's own fields taken out.

    ``max_tokens_field`` is the name this provider knows; the other one is removed. ``drop`` names further members
    this provider refuses. ``ask_usage`` makes a stream report its usage. Every other byte stays as it was.
    """
    body = parsed.body
    present = {member.key: member for member in parsed.members}
    replace: dict[str, bytes | None] = dict.fromkeys(drop | GATEWAY_FIELDS)
    append: dict[str, bytes] = {}
    if "metadata" in present and "metadata" not in drop:
        replace["metadata"] = without_tags(_value(body, present["metadata"]))
    if ask_usage and parsed.request.stream:
        sent = _value(body, present["stream_options"]) if "stream_options" in present else b"null"
        _set("stream_options", with_usage_asked(sent), present, replace, append)
    for field in _MAX_TOKENS_FIELDS:
        replace[field] = None
    _set(max_tokens_field, b"%d" % max_tokens, present, replace, append)
    _set("model", msgspec.json.encode(model), present, replace, append)
    return splice(body, parsed.members, replace, append)


def _value(body: bytes, member: Member) -> bytes:
    return body[member.value_start : member.value_end]


def _set(
    field: str,
    value: bytes,
    present: dict[str, Member],
    replace: dict[str, bytes | None],
    append: dict[str, bytes],
) -> None:
    if field in present:
        replace[field] = value
    else:
        replace.pop(field, None)
        append[field] = value


def _parse(body: bytes) -> ParsedChat:
    if not body.strip():
        raise ParseError("the body is empty; send a JSON object", None)
    check_depth(body)
    check_text(body)
    found = members(body)
    _refuse_look_alikes(found)
    fields = decode(_body_decoder, body)
    _check_messages(fields.messages)
    limit, limit_field = _max_tokens(fields)
    options = fields.stream_options
    tools = fields.tools or ()
    request = ChatRequest(
        model=fields.model,
        messages=fields.messages,
        tools=tools,
        tool_choice=_tool_choice(fields.tool_choice),
        max_tokens=limit,
        max_tokens_field=limit_field,
        temperature=fields.temperature,
        top_p=fields.top_p,
        stop=(fields.stop,) if isinstance(fields.stop, str) else fields.stop or (),
        stream=bool(fields.stream),
        include_usage=bool(fields.stream and options is not None and options.include_usage),
        n=fields.n or 1,
        response_format=fields.response_format,
        agent_id=fields.agent_id,
        routing_hint=read_hint(fields.routing_hint),
        task_type=fields.task_type,
        caps=read_caps(fields.caps),
        tags=read_tags(fields.metadata),
        needs=capabilities_needed(
            fields.messages, tools, fields.response_format, audio_output="audio" in (fields.modalities or ())
        ),
    )
    _check_spliced(body, found)
    return ParsedChat(request, body, found)


def _refuse_look_alikes(found: list[Member]) -> None:
    for member in found:
        key = member.key
        if key not in _GUARDED_FIELDS and key.casefold() in _GUARDED_FIELDS:
            raise ParseError(f"{key} is not a field; did you mean {key.casefold()}", key)


def _check_spliced(body: bytes, found: list[Member]) -> None:
    """Names repeated one level down would surprise only once a splice meets them; they are refused here instead."""
    for member in found:
        if member.key in {"stream_options", "metadata"}:
            value = _value(body, member)
            if value != b"null":
                members(value, path=member.key)


def _check_messages(messages: tuple[Message, ...]) -> None:
    for index, message in enumerate(messages):
        if message.content is None and message.role not in _CONTENT_OPTIONAL:
            field = f"messages[{index}].content"
            raise ParseError(f"{field} is required for the role {message.role}", field)


def _max_tokens(fields: _Body) -> tuple[int | None, MaxTokensField | None]:
    older, newer = fields.max_tokens, fields.max_completion_tokens
    if older is not None and newer is not None and older != newer:
        raise ParseError(
            "max_tokens and max_completion_tokens name different limits; send one of them", "max_completion_tokens"
        )
    if newer is not None:
        return newer, "max_completion_tokens"
    if older is not None:
        return older, "max_tokens"
    return None, None


def _tool_choice(sent: str | dict[str, Any] | None) -> ToolChoice | None:
    if sent is None or isinstance(sent, str):
        return None if sent is None else ToolChoice(sent)
    mode = sent.get("type")
    if not isinstance(mode, str):
        raise ParseError("tool_choice.type must be a string", "tool_choice.type")
    named = sent.get(mode, sent)
    name = named.get("name") if isinstance(named, dict) else None
    return ToolChoice(mode, name if isinstance(name, str) else None)
