"""The request that goes upstream in the caller's own dialect, with what this one provider cannot bear taken out.

Most requests need nothing of it: their bytes pass through with the few members changed that the house sets.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.conversation import Written
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.json_splice import Member, members, members_with_repeats, splice
from ainfera_gateway.wire.openai_chat.known_fields import (
    CALL_FIELDS,
    FUNCTION_FIELDS,
    HOUSE_FIELDS,
    known_fields,
    message_fields,
    refused_marks,
    takes_developer,
)
from ainfera_gateway.wire.openai_chat.request import upstream_body
from ainfera_gateway.wire.openai_chat.tool_ids import nine_chars
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passage import Terms
from ainfera_gateway.wire.routing_inputs import GATEWAY_FIELDS

_items = msgspec.json.Decoder(list[Raw]).decode
_Change = Callable[[bytes, str], bytes | None]


def write_upstream(parsed: Parsed, terms: Terms) -> Written:
    """The body for the provider of ``terms``, and the paths of what was taken out of the caller's.

    Null members go without a word.
    """
    values: dict[str, bytes | None] = {}
    dropped: list[str] = []
    drop = set(terms.drop_fields)
    known = known_fields(terms.provider) if "known_fields_only" in terms.quirks else None
    if known is not None:
        seed = parsed.span("seed")
        if seed and "random_seed" in known and not parsed.span("random_seed"):
            values |= {"seed": None, "random_seed": seed}
        drop |= {member.key for member in parsed.members} - known - values.keys()
    said = {member.key for member in parsed.members if parsed.span(member.key) != b"null"}
    dropped += sorted((drop & said) - HOUSE_FIELDS - GATEWAY_FIELDS)
    cleaning = _Cleaning(terms, dropped)
    if cleaning.needed(parsed.body):
        values |= cleaning.members(parsed)
    body = upstream_body(
        parsed,
        model=terms.upstream_model,
        max_tokens=terms.max_tokens,
        max_tokens_field=terms.max_tokens_field,
        drop=frozenset(drop),
        ask_usage=terms.knows_usage_option,
        values=values,
    )
    return Written(body, tuple(dropped))


class _Cleaning:
    """Takes out of messages and tools what the provider must not get; ``dropped`` gains a path for each."""

    def __init__(self, terms: Terms, dropped: list[str]) -> None:
        self._refused = refused_marks(terms.provider)
        self._known = message_fields(terms.provider, terms.quirks)
        self._nine = "nine_char_tool_ids" in terms.quirks
        self._dropped = dropped
        # A name may also be written with its letters escaped, which nobody does who has nothing to hide.
        self._marks = [b"\\u004", b"\\u005", b"\\u006", b"\\u007"]
        self._marks += [b'"%b"' % name.encode() for name in self._refused]
        self._renamed = not takes_developer(terms.provider)
        if self._renamed:
            self._marks.append(b'"developer"')

    def needed(self, body: bytes) -> bool:
        """A cheap look: a strict provider, or the name of something refused anywhere in the body."""
        return self._known is not None or self._nine or any(mark in body for mark in self._marks)

    def members(self, parsed: Parsed) -> dict[str, bytes | None]:
        """New values for the members that change."""
        changed: dict[str, bytes | None] = {}
        for name, clean in (("messages", self._message), ("tools", self._tool)):
            sent = parsed.span(name)
            value = self._each(sent, name, clean)
            if value != sent:
                changed[name] = value
        return changed

    def _message(self, sent: bytes, path: str) -> bytes:
        changes: dict[str, _Change] = {"tool_calls": self._calls, "content": self._content}
        if self._nine:
            changes["tool_call_id"] = self._id
        if self._renamed:
            changes["role"] = self._role
        return self._object(sent, path, self._known, changes)

    def _calls(self, sent: bytes, path: str) -> bytes:
        return self._each(sent, path, self._call)

    def _call(self, sent: bytes, path: str) -> bytes:
        changes: dict[str, _Change] = {"function": self._function}
        if self._nine:
            changes["id"] = self._id
        return self._object(sent, path, CALL_FIELDS if self._known is not None else None, changes)

    def _function(self, sent: bytes, path: str) -> bytes:
        return self._object(sent, path, FUNCTION_FIELDS if self._known is not None else None, {})

    def _content(self, sent: bytes, path: str) -> bytes:
        return self._each(sent, path, self._part)

    def _part(self, sent: bytes, path: str) -> bytes:
        return self._object(sent, path, None, {})

    def _tool(self, sent: bytes, path: str) -> bytes:
        return self._object(sent, path, None, {"function": self._part})

    def _id(self, sent: bytes, _: str) -> bytes:
        if not sent.startswith(b'"'):
            return sent
        return msgspec.json.encode(nine_chars(msgspec.json.decode(sent, type=str)))

    def _role(self, sent: bytes, _: str) -> bytes:
        return b'"system"' if sent == b'"developer"' else sent

    def _each(self, sent: bytes, path: str, clean: Callable[[bytes, str], bytes]) -> bytes:
        """An array with each of its objects cleaned; the bytes as they are when none of them changes."""
        if not sent.startswith(b"["):
            return sent
        items = [bytes(item) for item in _items(sent)]
        cleaned = [
            clean(item, f"{path}[{index}]") if item.startswith(b"{") else item for index, item in enumerate(items)
        ]
        return sent if cleaned == items else b"[" + b",".join(cleaned) + b"]"

    def _object(self, sent: bytes, path: str, known: frozenset[str] | None, changes: dict[str, _Change]) -> bytes:
        if not sent.startswith(b"{"):
            return sent
        found = _members(sent)
        replace: dict[str, bytes | None] = {}
        for member in found:
            value = sent[member.value_start : member.value_end]
            inner = f"{path}.{member.key}"
            if member.key in self._refused or (known is not None and member.key not in known):
                replace[member.key] = None
                if value != b"null":
                    self._dropped.append(inner)
            elif (change := changes.get(member.key)) is not None and (new := change(value, inner)) != value:
                replace[member.key] = new
        return splice(sent, found, replace) if replace else sent


def _members(sent: bytes) -> list[Member]:
    """Where the members stand; names repeated inside a message are the provider's to judge."""
    try:
        return members(sent)
    except ParseError:
        return members_with_repeats(sent)
