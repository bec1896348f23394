"""Read a chat completions request, and write the one that goes upstream in the same dialect.

The body is read twice: once for types and limits, once for the byte offsets of its members. What goes upstream is
the caller's own bytes with a few members changed, so fields unknown here pass through untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ainfera_gateway.canonical.needs import AUDIO, DOCUMENTS, MEDIA, STRUCTURED_OUTPUT, TOOLS, VISION
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.wire.envelope import changed, open_body
from ainfera_gateway.wire.json_splice import with_usage_asked
from ainfera_gateway.wire.media import without
from ainfera_gateway.wire.openai_chat.body import ChatBody, Message
from ainfera_gateway.wire.openai_chat.shown import media_of, texts_of
from ainfera_gateway.wire.parsed import Parsed, Weight
from ainfera_gateway.wire.routing_inputs import read_caps, read_hint, read_tags
from ainfera_gateway.wire.validation import decode

_GUARDED = frozenset({"model", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options"})
_INNER = frozenset({"stream_options", "metadata"})
_MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")
_CONTENT_OPTIONAL = frozenset({"assistant", "tool", "function"})
_NEED_OF_PART = {"image_url": VISION, "input_image": VISION, "input_audio": AUDIO, "file": DOCUMENTS}
_WEIGHED = ("messages", "tools", "functions", "response_format")

_body_decoder = msgspec.json.Decoder(ChatBody)


class ParsedChat(Parsed, frozen=True, kw_only=True):
    """A chat completions request; ``fields`` are its members as sent."""

    fields: ChatBody

    def weigh(self) -> Weight:
        """What the input estimate is made from."""
        messages = self.fields.messages
        if not self.request.needs & MEDIA:
            return Weight(b"".join(map(self.span, _WEIGHED)), len(messages))
        media, payloads = media_of(messages)
        said = without(self.span("messages"), payloads)
        if said is None:
            said = b"".join(map(msgspec.json.encode, texts_of(messages)))
        text = said + b"".join(map(self.span, _WEIGHED[1:]))
        return Weight(text, len(messages), media)


def parse(body: bytes, *, flat: bool) -> ParsedChat:
    """Read a request; ``flat`` for ``/v1/inference``, which differs in the machine code of its errors.

    Raises ``ParseError`` naming the field. The size of the body is the caller's to limit.
    """
    try:
        return _parse(body, flat=flat)
    except ParseError as exc:
        if flat:
            raise exc.with_code("validation_error") from None
        raise


def upstream_body(
    parsed: Parsed,
    *,
    model: str,
    max_tokens: int,
    max_tokens_field: str,
    drop: frozenset[str] = frozenset(),
    ask_usage: bool,
    values: Mapping[str, bytes | None] | None = None,
) -> bytes:
    """The caller's bytes with ``model`` and the token limit set and the gateway's own fields taken out.

    ``max_tokens_field`` is the name this provider knows; the other one is removed. ``drop`` names further members
    this provider refuses, ``values`` those that it wants otherwise (None: not at all). ``ask_usage`` makes a stream
    report its usage. Every other byte stays as it was.
    """
    wanted: dict[str, bytes | None] = {name: None for name in _MAX_TOKENS_FIELDS if name != max_tokens_field}
    wanted |= values or {}
    if ask_usage and parsed.request.stream:
        wanted["stream_options"] = with_usage_asked(parsed.span("stream_options") or b"null")
    wanted[max_tokens_field] = b"%d" % max_tokens
    wanted["model"] = msgspec.json.encode(model)
    return changed(parsed.body, parsed.members, wanted, drop=drop)


def _parse(body: bytes, *, flat: bool) -> ParsedChat:
    found = open_body(body, guarded=_GUARDED, inner=_INNER)
    fields = decode(_body_decoder, body)
    _check_messages(fields.messages)
    _check_tool_choice(fields.tool_choice)
    options = fields.stream_options
    request = ChatRequest(
        caches_an_hour=b"1h" in body,
        model=fields.model,
        max_tokens=_max_tokens(fields),
        stream=bool(fields.stream),
        include_usage=bool(fields.stream and options is not None and options.include_usage),
        n=fields.n or 1,
        thinking_tokens=_thinking_tokens(fields),
        agent_id=fields.agent_id,
        routing_hint=read_hint(fields.routing_hint),
        task_type=fields.task_type,
        caps=read_caps(fields.caps),
        tags=read_tags(fields.metadata),
        needs=frozenset(_needs(fields)),
    )
    dialect = "native" if flat else "openai"
    return ParsedChat(dialect=dialect, request=request, body=body, members=found, fields=fields)  # type: ignore[arg-type]


def _thinking_tokens(fields: ChatBody) -> int:
    asked = (
        fields.thinking.budget_tokens if fields.thinking is not None and fields.thinking.type != "disabled" else None,
        fields.reasoning.max_tokens if fields.reasoning is not None else None,
    )
    return max(0, *(tokens or 0 for tokens in asked))


def _needs(fields: ChatBody) -> Iterable[str]:
    """The capabilities a model must have; a history with tool calls needs tools as well."""
    if fields.tools or fields.functions:
        yield TOOLS
    if "audio" in (fields.modalities or ()):
        yield AUDIO
    if fields.response_format is not None and fields.response_format.type in {"json_schema", "json_object"}:
        yield STRUCTURED_OUTPUT
    for message in fields.messages:
        if message.tool_calls or message.function_call or message.role in {"tool", "function"}:
            yield TOOLS
        for part in message.content if isinstance(message.content, tuple) else ():
            if part.type in _NEED_OF_PART:
                yield _NEED_OF_PART[part.type]


def _check_messages(messages: tuple[Message, ...]) -> None:
    for index, message in enumerate(messages):
        if message.content is None and message.role not in _CONTENT_OPTIONAL:
            field = f"messages[{index}].content"
            raise ParseError(f"{field} is required for the role {message.role}", field)


def _check_tool_choice(sent: str | dict[str, object] | None) -> None:
    if isinstance(sent, dict) and not isinstance(sent.get("type"), str):
        raise ParseError("tool_choice.type must be a string", "tool_choice.type")


def _max_tokens(fields: ChatBody) -> int | None:
    older, newer = fields.max_tokens, fields.max_completion_tokens
    if older is not None and newer is not None and older != newer:
        raise ParseError(
            "max_tokens and max_completion_tokens name different limits; send one of them", "max_completion_tokens"
        )
    return older if newer is None else newer
