"""The request that goes to a provider of the same dialect: the caller's bytes, with as little changed as can be."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.conversation import Written
from ainfera_gateway.wire.anthropic_messages.body import ThinkingBlock, ToolResultBlock, ToolUseBlock
from ainfera_gateway.wire.anthropic_messages.request import ParsedMessages
from ainfera_gateway.wire.anthropic_messages.tool_ids import split_thought, valid_id
from ainfera_gateway.wire.envelope import changed
from ainfera_gateway.wire.json_splice import splice
from ainfera_gateway.wire.openai_chat.answer import answer_members

_SPACE = re.compile(rb"[ \t\n\r]*")
_GAP = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*")
_items = msgspec.json.Decoder(list[Raw]).decode

Marks = dict[int, dict[int, str]]
"""By message and block: the member whose value is an id of another maker, or "" for a block that must go."""


def upstream_body(
    parsed: ParsedMessages, *, model: str, max_tokens: int, drop: frozenset[str] = frozenset()
) -> Written:
    """The caller's bytes with ``model`` and ``max_tokens`` set and the gateway's own fields taken out.

    ``drop`` names members this provider refuses. Only a history that carries marks of other makers (see
    ``without_foreign_marks``) differs in its ``messages``; ``dropped`` names what went. All else stays as it was.
    """
    values: dict[str, bytes | None] = {"model": msgspec.json.encode(model), "max_tokens": b"%d" % max_tokens}
    messages, dropped = without_foreign_marks(parsed)
    if messages is not None:
        values["messages"] = messages
    sent = {member.key for member in parsed.members}
    return Written(
        changed(parsed.body, parsed.members, values, drop=drop), (*dropped, *sorted(drop & sent - values.keys()))
    )


def without_foreign_marks(parsed: ParsedMessages) -> tuple[bytes | None, tuple[str, ...]]:
    """The ``messages`` without what other makers left in them, and the paths of it; None when there is nothing.

    Three things: reasoning that nobody signed, which was made by another vendor's model and would be refused; a
    signature of another vendor in the id of a call; an id of another vendor in letters that this dialect does not
    take. Ids of a call and of its result are changed alike.
    """
    marks = _find_marks(parsed)
    if not marks:
        return None, ()
    dropped = tuple(
        f"messages[{message}].content[{block}]" + (f".{name}" if name else "")
        for message, blocks in marks.items()
        for block, name in blocks.items()
    )
    span = parsed.span("messages")
    return _edited(span, {place: _message_edit(blocks) for place, blocks in marks.items()}), dropped


def _find_marks(parsed: ParsedMessages) -> Marks:
    marks: Marks = {}
    for message, content in enumerate(parsed.contents):
        if isinstance(content, str):
            continue
        for place, block in enumerate(content):
            name: str | None = None
            if isinstance(block, ThinkingBlock) and not block.signature:
                name = ""
            elif isinstance(block, ToolUseBlock) and _own_id(block.id) != block.id:
                name = "id"
            elif isinstance(block, ToolResultBlock) and _own_id(block.tool_use_id) != block.tool_use_id:
                name = "tool_use_id"
            if name is not None:
                marks.setdefault(message, {})[place] = name
    return marks


def _own_id(call_id: str) -> str:
    bare = split_thought(call_id)[0]
    return valid_id(bare) if bare else call_id


_Edit = Callable[[bytes], bytes | None]


def _message_edit(blocks: dict[int, str]) -> _Edit:
    edits: dict[int, _Edit] = {place: _block_edit(name) for place, name in blocks.items()}

    def edit(message: bytes) -> bytes | None:
        found = answer_members(message)
        content = [message[member.value_start : member.value_end] for member in found if member.key == "content"][-1]
        kept = _edited(content, edits)
        # A message with nothing in it is refused; neighbours of one role count as one.
        return splice(message, found, {"content": kept}) if _items(kept) else None

    return edit


def _block_edit(name: str) -> _Edit:
    def edit(block: bytes) -> bytes | None:
        if not name:
            return None
        found = answer_members(block)
        sent = [block[member.value_start : member.value_end] for member in found if member.key == name][-1]
        return splice(block, found, {name: msgspec.json.encode(_own_id(msgspec.json.decode(sent, type=str)))})

    return edit


def _edited(array: bytes, edits: dict[int, _Edit]) -> bytes:
    """``array`` with some items changed or (None) taken out, each together with the comma before it."""
    position = _end(_SPACE, array, 0) + 1
    position = _end(_SPACE, array, position)
    pieces = [array[:position]]
    any_kept = False
    gap = b""
    for place, item in enumerate(_items(array)):
        sent = bytes(item)
        kept = edits[place](sent) if place in edits else sent
        if kept is not None:
            pieces += [gap, kept] if any_kept else [kept]
            any_kept = True
        position += len(sent)
        after = _end(_GAP, array, position)
        gap, position = array[position:after], after
    pieces.append(array[position:])
    return b"".join(pieces)


def _end(pattern: re.Pattern[bytes], text: bytes, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
