"""Read a messages request: types and limits, and the facts that the house decides on.

What goes upstream in the same dialect is the caller's own bytes (``upstream.py``), so fields unknown here pass through.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ainfera_gateway.canonical.needs import DOCUMENTS, MEDIA, STRUCTURED_OUTPUT, TOOLS, VISION
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.wire.anthropic_messages.blocks import Content, media_of, read_messages, text_of, walk
from ainfera_gateway.wire.anthropic_messages.body import (
    CountTokensBody,
    DocumentBlock,
    ImageBlock,
    MessagesBody,
    ToolResultBlock,
    ToolUseBlock,
)
from ainfera_gateway.wire.envelope import open_body
from ainfera_gateway.wire.json_splice import Member
from ainfera_gateway.wire.media import without
from ainfera_gateway.wire.parsed import Parsed, Weight
from ainfera_gateway.wire.routing_inputs import read_caps, read_hint, read_tags
from ainfera_gateway.wire.validation import decode

_GUARDED = frozenset({"model", "max_tokens", "stream", "messages", "thread"})
_INNER = frozenset({"metadata"})
_WEIGHED = ("messages", "system", "tools", "output_config", "output_format")

_messages_decoder = msgspec.json.Decoder(MessagesBody)
_count_decoder = msgspec.json.Decoder(CountTokensBody)


class ThreadUnsupportedError(ParseError):
    """A request for a conversation held by the server. SDKs that read these ``details`` send the whole history instead.

    It is ``invalid_request`` (400); ``details`` are what the dialect's ``error.details`` must have.
    """

    def __init__(self) -> None:
        super().__init__("thread is not supported here: send the whole conversation without it", "thread")
        self.details: dict[str, object] = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


class ParsedMessages(Parsed, frozen=True, kw_only=True):
    """A messages request; ``fields`` are its members as sent, ``contents`` the content of each message."""

    fields: CountTokensBody
    contents: tuple[Content, ...]

    def weigh(self) -> Weight:
        """What the input estimate is made from."""
        messages = len(self.fields.messages)
        if not self.request.needs & MEDIA:
            return Weight(b"".join(map(self.span, _WEIGHED)), messages)
        media, payloads = media_of(self.contents)
        said = without(self.span("messages"), payloads)
        if said is None:
            said = msgspec.json.encode(text_of(self.contents))
        return Weight(said + b"".join(map(self.span, _WEIGHED[1:])), messages, media)

    @property
    def shows_thinking(self) -> bool:
        """Whether the caller asked to see reasoning."""
        thinking = self.fields.thinking
        return thinking is not None and thinking.type != "disabled" and thinking.display != "omitted"


def parse(body: bytes) -> ParsedMessages:
    """Read the body of ``/v1/messages``.

    Raises ``ParseError`` naming the field, ``ThreadUnsupportedError`` for a request that names a ``thread``. The size
    of the body is the caller's to limit.
    """
    found = _open(body)
    return _parsed(body, found, decode(_messages_decoder, body))


def parse_count_tokens(body: bytes) -> ParsedMessages:
    """Read the body of ``/v1/messages/count_tokens``, which needs no ``max_tokens``. Raises as ``parse`` does."""
    found = _open(body)
    return _parsed(body, found, decode(_count_decoder, body))


def _open(body: bytes) -> list[Member]:
    found = open_body(body, guarded=_GUARDED, inner=_INNER)
    for member in found:
        if member.key == "thread" and body[member.value_start : member.value_end] != b"null":
            raise ThreadUnsupportedError
    return found


def _parsed(body: bytes, found: list[Member], fields: CountTokensBody) -> ParsedMessages:
    contents = read_messages(fields.messages)
    _check(fields)
    thinking = fields.thinking
    budget = thinking.budget_tokens if thinking is not None and thinking.type == "enabled" else None
    request = ChatRequest(
        caches_an_hour=b"1h" in body,
        model=fields.model,
        max_tokens=fields.max_tokens if isinstance(fields, MessagesBody) else None,
        stream=isinstance(fields, MessagesBody) and bool(fields.stream),
        include_usage=True,
        thinking_tokens=budget or 0,
        agent_id=fields.agent_id,
        routing_hint=read_hint(fields.routing_hint),
        task_type=fields.task_type,
        caps=read_caps(fields.caps),
        tags=read_tags(fields.metadata),
        needs=frozenset(_needs(fields, contents)),
    )
    return ParsedMessages(
        dialect="anthropic", request=request, body=body, members=found, fields=fields, contents=contents
    )


def _check(fields: CountTokensBody) -> None:
    for index, tool in enumerate(fields.tools or ()):
        if tool.type in {None, "custom"} and tool.name is None:
            field = f"tools[{index}].name"
            raise ParseError(f"{field} is required", field)
    choice = fields.tool_choice
    if choice is not None and choice.type == "tool" and choice.name is None:
        raise ParseError("tool_choice.name is required", "tool_choice.name")


def _needs(fields: CountTokensBody, contents: tuple[Content, ...]) -> Iterable[str]:
    """The capabilities a model must have; a history with tool calls needs tools as well."""
    if fields.tools:
        yield TOOLS
    config = fields.output_config
    if (config is not None and config.format is not None) or fields.output_format is not None:
        yield STRUCTURED_OUTPUT
    for block in walk(contents):
        if isinstance(block, ToolUseBlock | ToolResultBlock):
            yield TOOLS
        elif isinstance(block, ImageBlock):
            yield VISION
        elif isinstance(block, DocumentBlock) and block.source.type not in {"text", "content"}:
            yield DOCUMENTS
