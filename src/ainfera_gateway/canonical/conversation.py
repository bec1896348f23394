"""What a caller says to a model, the one shape that every dialect is read into and every wire is written from.

It is made only where a call crosses from one dialect to another: on the same dialect bytes pass through. JSON that
nobody here looks into (schemas, cache marks, a provider's own extras) is kept as the bytes that were sent.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Text(Struct, frozen=True):
    """Plain text. ``cache`` is the JSON of a cache mark (Anthropic's ``cache_control``), None without one."""

    text: str
    cache: bytes | None = None


class Image(Struct, frozen=True):
    """An image by ``url``, or as base64 ``data`` with its ``media_type``."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    cache: bytes | None = None


class Document(Struct, frozen=True):
    """A document by ``url``, as base64 ``data``, or as plain ``text``; ``name`` its title.

    There is none by a provider's own id: it names something at that provider alone, and is refused where it is read.
    """

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    text: str | None = None
    name: str | None = None
    cache: bytes | None = None


class Audio(Struct, frozen=True):
    """Sound as base64 ``data`` in the container ``format``."""

    data: str
    format: str | None = None


class Thinking(Struct, frozen=True):
    """Reasoning of an earlier turn: ``text`` with its maker's ``signature``, or only what the maker ``redacted``.

    ``maker`` is the brand whose signature it is (``anthropic``), None when nobody signed.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    maker: str | None = None


class ToolUse(Struct, frozen=True):
    """A call of a tool in an earlier turn; ``arguments`` is its JSON text.

    ``thought_signature`` is Google's signature over the reasoning behind it, which has to come back to Google alone.
    """

    id: str
    name: str
    arguments: str
    thought_signature: str | None = None
    cache: bytes | None = None


class ToolResult(Struct, frozen=True):
    """What the tool call ``call_id`` gave."""

    call_id: str
    parts: tuple[Text | Image | Document, ...]
    is_error: bool = False
    cache: bytes | None = None


Part = Text | Image | Document | Audio | Thinking | ToolUse | ToolResult


class Turn(Struct, frozen=True):
    """One message. Results of tools stand in turns of the user."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]
    name: str | None = None


class ToolSpec(Struct, frozen=True):
    """A tool the caller runs itself. ``schema`` is the JSON of its parameters, None when none was given."""

    name: str
    description: str | None = None
    schema: bytes | None = None
    strict: bool | None = None
    cache: bytes | None = None


class Choice(Struct, frozen=True):
    """Which tool may or must be called: ``named`` goes with a ``name``."""

    mode: Literal["auto", "none", "required", "named"]
    name: str | None = None


class Format(Struct, frozen=True):
    """The form an answer must have; ``schema`` is JSON."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: bytes | None = None
    strict: bool | None = None
    description: str | None = None


class Reasoning(Struct, frozen=True):
    """How much to think: an ``effort``, a ``budget_tokens``, or ``adaptive`` (the model decides). None: not said.

    ``summary`` is what the caller wants to see of it, in its own dialect's word.
    """

    effort: Effort | None = None
    budget_tokens: int | None = None
    adaptive: bool = False
    summary: str | None = None


class Conversation(Struct, frozen=True, kw_only=True):
    """A request without its model, its output limit and the question whether it streams. None: the caller did not say.

    ``unread`` names the members that were sent and have no place here; whoever writes the request on tells the caller
    that they were dropped.
    """

    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...] = ()
    choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    format: Format | None = None
    reasoning: Reasoning | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    user: str | None = None
    unread: tuple[str, ...] = ()


class Written(Struct, frozen=True):
    """A request in a provider's dialect: its ``body``, and the paths of the caller's members that it could not carry."""

    body: bytes
    dropped: tuple[str, ...] = ()


class UnsupportedError(Exception):
    """A request that cannot be carried to this provider and must not be cut short in silence; ``field`` says where."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
