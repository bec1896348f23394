"""Laws of the Anthropic codec: cuts do not matter, a stream folds to the plain answer, what is written is read back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.canonical.events import MessageDelta, StreamEvent, fold
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.providers.adapter import events_of
from ainfera_gateway.wire.anthropic_messages.answer import read_answer, write_answer
from ainfera_gateway.wire.anthropic_messages.build import write_request
from ainfera_gateway.wire.anthropic_messages.conversation import read_conversation
from ainfera_gateway.wire.anthropic_messages.request import parse
from ainfera_gateway.wire.anthropic_messages.stream import EventDecoder, StreamReader
from ainfera_gateway.wire.anthropic_messages.writer import StreamWriter
from tests.wire.anthropic_cases import closing, terms

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=20).filter(
    str.strip
)
OBJECT = st.dictionaries(st.text("abcdefg", min_size=1, max_size=3), st.integers(-9, 9) | TEXT, max_size=3)
USAGE = Usage(input_tokens=30, output_tokens=7, cached_input_tokens=4, cache_write_tokens=6)


@st.composite
def content(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Blocks of an answer: reasoning first, then text and calls in any order, no two texts side by side."""
    blocks: list[dict[str, Any]] = []
    if draw(st.booleans()):
        blocks.append({"type": "thinking", "thinking": draw(TEXT), "signature": draw(st.text("abcXYZ+/=", min_size=4))})
    if draw(st.booleans()):
        blocks.append({"type": "redacted_thinking", "data": draw(st.text("abc123", min_size=4))})
    count = draw(st.integers(1, 4))
    for number in range(count):
        if draw(st.booleans()) and (not blocks or blocks[-1]["type"] != "text"):
            blocks.append({"type": "text", "text": draw(TEXT)})
        else:
            blocks.append({"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": draw(OBJECT)})
    return blocks


def message_of(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    called = any(block["type"] == "tool_use" for block in blocks)
    counted = {"input_tokens": 20, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 6, "output_tokens": 7}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-7"}
    ended = {"stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None}
    return head | {"content": blocks} | ended | {"usage": counted}


def stream_of(message: dict[str, Any]) -> bytes:
    """The same message as the provider streams it: every block in fragments of three characters."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
    ]
    events.append({"type": "ping"})
    for index, block in enumerate(message["content"]):
        kind = block["type"]
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        events.append({"type": "content_block_start", "index": index, "content_block": block | empty.get(kind, {})})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(block)]
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}})
    events.append({"type": "message_stop"})
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events
    )


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    def cut(text: str) -> list[str]:
        return [text[at : at + 3] for at in range(0, len(text), 3)]

    if block["type"] == "text":
        return [{"type": "text_delta", "text": piece} for piece in cut(block["text"])]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
        return [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
    if block["type"] == "tool_use":
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        return [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *cut(text)]]
    return []


def decoded(pieces: list[bytes]) -> tuple[list[StreamEvent], StreamReader]:
    reader, decoder = StreamReader(), EventDecoder()
    frames = [frame for piece in pieces for frame in reader.feed(piece)] + reader.close()
    return [event for frame in frames for event in decoder.events(frame)], reader


def shape(blocks: Any) -> list[Any]:
    """Blocks with tool arguments as values: an empty object may be written in two ways."""
    return [
        (block.id, block.name, json.loads(block.arguments or "{}")) if hasattr(block, "arguments") else block
        for block in blocks
    ]


@settings(max_examples=120, deadline=None)
@given(content(), st.lists(st.integers(0, 4000), max_size=12))
def test_a_stream_cut_anywhere_decodes_to_the_same_events(blocks: list[dict[str, Any]], cuts: list[int]) -> None:
    whole = stream_of(message_of(blocks))
    places = sorted({cut % len(whole) for cut in cuts})
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    events, reader = decoded(pieces)
    once, _ = decoded([whole])
    assert events == once
    assert reader.complete
    assert reader.done
    assert reader.usage == USAGE or (reader.usage is not None and reader.usage.input_tokens == 30)


@settings(max_examples=120, deadline=None)
@given(content())
def test_a_stream_folds_to_the_plain_answer(blocks: list[dict[str, Any]]) -> None:
    message = message_of(blocks)
    events, _ = decoded([stream_of(message)])
    streamed, plain = fold(events), read_answer(json.dumps(message).encode())
    assert shape(streamed.blocks) == shape(plain.response.blocks)
    assert (streamed.content, streamed.thinking) == (plain.response.content, plain.response.thinking)
    assert streamed.finish_reason == plain.response.finish_reason
    assert (streamed.usage.input_tokens, streamed.usage.output_tokens) == (30, 7)  # type: ignore[union-attr]
    assert (plain.usage.input_tokens, plain.usage.output_tokens) == (30, 7)  # type: ignore[union-attr]


@settings(max_examples=120, deadline=None)
@given(content(), st.booleans())
def test_what_is_written_is_read_back(blocks: list[dict[str, Any]], one_by_one: bool) -> None:
    response = read_answer(json.dumps(message_of(blocks)).encode()).response
    assert shape(
        read_answer(write_answer(response, closing(USAGE), terms(), show_thinking=True)).response.blocks
    ) == shape(response.blocks)
    writer = StreamWriter(terms(), show_thinking=True)
    events = [event for event in events_of(response) if not isinstance(event, MessageDelta)]
    end = MessageDelta(finish_reason=response.finish_reason)
    batches = [[event] for event in (*events, end)] if one_by_one else [[*events, end]]
    written = b"".join(writer.write(batch) for batch in batches) + writer.finish(closing(USAGE))
    again, reader = decoded([written])
    assert shape(fold(again).blocks) == shape(response.blocks)
    assert fold(again).finish_reason == response.finish_reason
    assert reader.done


@settings(max_examples=120, deadline=None)
@given(content(), TEXT, st.booleans())
def test_a_request_built_and_parsed_is_the_same(blocks: list[dict[str, Any]], said: str, stream: bool) -> None:
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": said}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    body = {
        "model": "m", "max_tokens": 4096, "stream": stream, "system": said,
        "thinking": {"type": "enabled", "budget_tokens": 2048}, "stop_sequences": ["END"],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": said},
            {"role": "assistant", "content": blocks},
            {"role": "user", "content": [*results, {"type": "text", "text": said}]},
        ],
    }  # fmt: skip
    first = read_conversation(parse(json.dumps(body).encode()))
    built = write_request(first, terms(), stream=stream)
    second = read_conversation(parse(built.body))
    again = write_request(second, terms(), stream=stream)
    assert built.body == again.body
    assert second.turns == read_conversation(parse(again.body)).turns
