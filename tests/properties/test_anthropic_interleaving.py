"""Calls whose fragments take turns come out of the writer one by one, whole and in their order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
    fold,
)
from ainfera_gateway.wire.anthropic_messages.stream import EventDecoder, StreamReader
from ainfera_gateway.wire.anthropic_messages.writer import StreamWriter
from tests.wire.anthropic_cases import closing, terms

law = settings(max_examples=120, deadline=None, database=None)

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=6)
ARGUMENTS = st.dictionaries(TEXT | st.sampled_from(["}", '"', "\\", "{"]), TEXT | st.integers(), max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=len(value) % 2 == 0)
)


@st.composite
def turns(draw: st.DrawFn) -> list[StreamEvent]:
    """Up to four calls, each cut into fragments, and some text and reasoning, mixed in any order."""
    queues: list[list[StreamEvent]] = []
    for index in range(draw(st.integers(1, 4))):
        arguments = draw(ARGUMENTS)
        cuts = sorted(draw(st.lists(st.integers(0, len(arguments)), max_size=4)))
        pieces = [arguments[a:b] for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        fragments = [ToolUseDelta(index, piece) for piece in pieces if piece]
        queues.append([ToolUseStart(index, f"call_{index}", "f"), *fragments])
    queues.append([ContentDelta(text) for text in draw(st.lists(TEXT, max_size=3))])
    queues.append([ThinkingDelta(text) for text in draw(st.lists(TEXT, max_size=2))])
    mixed: list[StreamEvent] = []
    while waiting := [queue for queue in queues if queue]:
        mixed.append(draw(st.sampled_from(waiting)).pop(0))
    return [*mixed, MessageDelta("tool_calls", "tool_calls")]


def read_back(stream: bytes) -> tuple[list[StreamEvent], list[dict[str, Any]]]:
    reader, decoder = StreamReader(), EventDecoder()
    frames = reader.feed(stream) + reader.close()
    assert reader.done
    return [event for frame in frames for event in decoder.events(frame)], [frame.document or {} for frame in frames]


@law
@given(turns(), st.integers(1, 5))
def test_nothing_is_lost_when_calls_take_turns(events: list[StreamEvent], batch: int) -> None:
    writer = StreamWriter(terms(), show_thinking=True)
    out = b"".join(writer.write(events[at : at + batch]) for at in range(0, len(events), batch))
    again, documents = read_back(out + writer.finish(closing()))
    given_, got = fold(events), fold(again)
    # Calls are numbered anew in the order in which they began.
    begun = [block for block in given_.blocks if hasattr(block, "arguments")]
    assert list(got.tool_calls) == begun
    assert got.content == given_.content
    assert got.thinking == given_.thinking
    assert got.finish_reason == "tool_calls"
    generated = [given_.content, given_.thinking, *(call.name + call.arguments for call in given_.tool_calls)]
    assert writer.text_bytes == len("".join(generated).encode())
    _check_order(documents)


def _check_order(documents: list[dict[str, Any]]) -> None:
    """One block after the other, each begun, told and ended, with the next index."""
    opened: int | None = None
    following = 0
    for document in documents:
        match document.get("type"):
            case "content_block_start":
                assert opened is None
                assert document["index"] == following
                opened, following = following, following + 1
            case "content_block_delta":
                assert document["index"] == opened
            case "content_block_stop":
                assert document["index"] == opened
                opened = None
    assert opened is None
