"""Streams of the Anthropic dialect beside their golden cases: liveness, line ends, what is hidden, what the SDK makes."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest

from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
)
from ainfera_gateway.canonical.response import AnsweredThinking, AnsweredToolCall, ChatResponse
from ainfera_gateway.wire.anthropic_messages.answer import write_answer
from ainfera_gateway.wire.anthropic_messages.passage import MESSAGE_STOP, MessagesPassage
from ainfera_gateway.wire.anthropic_messages.request import parse
from ainfera_gateway.wire.anthropic_messages.stream import StreamReader
from ainfera_gateway.wire.anthropic_messages.writer import StreamWriter
from tests.wire.anthropic_cases import closing, load, terms

FOREIGN = terms(wire="openai_chat", provider="openai", slug="gpt-5-5")
CALLS: list[StreamEvent] = [
    ToolUseStart(0, "call_1", "f"),
    ToolUseDelta(0, '{"x":'),
    ToolUseStart(1, "call_2", "g"),
    ToolUseDelta(1, '{"y":2}'),
    ToolUseDelta(0, "1}"),
    MessageDelta("tool_calls", "tool_calls"),
]


def relayed(pieces: list[bytes]) -> bytes:
    sent = b'{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}'
    passage = MessagesPassage(parse(sent), terms())
    reader = passage.reader()
    frames = [frame for piece in pieces for frame in reader.feed(piece)] + reader.close()
    return b"".join(map(passage.relay, frames)) + passage.finish(closing())


def written(events: list[StreamEvent], *, told: Any = FOREIGN, show_thinking: bool = False) -> tuple[bytes, int]:
    writer = StreamWriter(told, show_thinking=show_thinking)
    out = b"".join(writer.write([event]) for event in events) + writer.finish(closing())
    return out, writer.text_bytes


def blocks(stream: bytes) -> list[dict[str, Any]]:
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]
    return [event["content_block"] for event in told if event["type"] == "content_block_start"]


def test_a_stream_relayed_in_single_bytes_is_the_same() -> None:
    stream = load("stream_relayed", "only_the_model_changes")["stream"]
    assert relayed([stream[at : at + 1] for at in range(len(stream))]) == relayed([stream])


def test_line_ends_stay_as_they_came() -> None:
    for name in ("only_the_model_changes", "spread_escaped_and_repeated"):
        stream = load("stream_relayed", name)["stream"]
        expected = relayed([stream]).replace(b"\n", b"\r\n")
        assert relayed([stream.replace(b"\n", b"\r\n")]) == expected


def test_the_end_waits_for_the_settlement() -> None:
    stream = load("stream_read", "text")["stream"]
    passage = MessagesPassage(
        parse(b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"}]}'), terms()
    )
    reader = passage.reader()
    before = b"".join(map(passage.relay, reader.feed(stream)))
    assert b"message_delta" in before
    assert b"message_stop" not in before
    assert b"message_stop" in passage.finish(closing())


def test_an_endless_event_is_an_error_and_ends_the_reading() -> None:
    reader = StreamReader(event_bytes_max=64)
    frames = reader.feed(b"data: " + b"x" * 100) + reader.feed(b"data: {}\n\n")
    assert [frame.kind for frame in frames] == ["error"]
    assert not reader.complete


def test_the_open_call_is_live_and_the_next_one_waits_for_it() -> None:
    writer = StreamWriter(FOREIGN)
    sent = [writer.write([event]) for event in CALLS]
    assert b'"name":"f"' in sent[0]
    assert b'{\\"x\\":' in sent[1]
    assert sent[2] == sent[3] == b""
    assert sent[4].index(b'"partial_json":"1}"') < sent[4].index(b'"name":"g"') < sent[4].index(b'{\\"y\\":2}')
    assert writer.finish(closing()).endswith(MESSAGE_STOP)


def test_nothing_given_writes_nothing() -> None:
    writer = StreamWriter(FOREIGN)
    assert writer.write([]) == b""
    assert writer.write([ContentDelta("of another choice", choice=1)]).count(b"event: ") == 1
    assert b"another choice" not in writer.finish(closing())


def test_hidden_reasoning_is_counted_and_not_shown() -> None:
    events: list[StreamEvent] = [ThinkingDelta("hmé"), ContentDelta("ok")]
    hidden, count = written(events)
    assert b"hm" not in hidden
    assert count == len("hmé".encode()) + 2
    shown, count_shown = written(events, show_thinking=True)
    assert "hmé".encode() in shown
    assert count_shown == count


def test_a_signature_of_another_maker_goes_to_nobody() -> None:
    events: list[StreamEvent] = [ThinkingDelta("hm"), ThinkingDelta("", "THEIRS"), RedactedThinking("SEALED")]
    foreign, _ = written(events, show_thinking=True)
    assert b"THEIRS" not in foreign and b"SEALED" not in foreign
    assert blocks(foreign) == [{"type": "thinking", "thinking": "", "signature": ""}]
    own, _ = written(events, told=terms(), show_thinking=True)
    assert b"THEIRS" in own and b"SEALED" in own
    answer = ChatResponse(blocks=(AnsweredThinking("hm", "THEIRS"), AnsweredThinking("", redacted="SEALED")))
    plain = json.loads(write_answer(answer, closing(), FOREIGN, show_thinking=True))
    assert plain["content"] == [{"type": "thinking", "thinking": "hm", "signature": ""}]


def client(body: bytes, kind: str) -> anthropic.Anthropic:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": kind}, content=body)

    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(
        api_key="not-a-key",
        base_url="http://127.0.0.1:9",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )


@pytest.mark.parametrize("name", ["calls_taking_turns", "thinking_then_text_then_thinking", "half_characters"])
def test_the_sdk_reads_what_is_written(name: str) -> None:
    stream = load("stream_written", name)["written"]
    with client(stream, "text/event-stream") as sdk:
        asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        with sdk.messages.stream(**asked) as reading:
            message = reading.get_final_message()
    assert message.id == "msg_0199-17"
    assert message.usage.output_tokens == 20
    told = [block.model_dump(exclude_none=True) for block in message.content]
    if name == "calls_taking_turns":
        assert [block["input"] for block in told] == [{"x": 1}, {"y": 2}, {}]
        assert message.stop_reason == "tool_use"
    elif name == "half_characters":
        assert told[0]["text"] == "a🚀\N{REPLACEMENT CHARACTER}"
        assert message.stop_reason == "max_tokens"
    else:
        assert [block.get("thinking") or block["text"] for block in told] == ["hmm", "A", "again", "B"]
        assert message.usage.input_tokens == 30
        assert message.usage.cache_read_input_tokens == 64


def test_the_sdk_survives_arguments_that_are_no_object() -> None:
    calls = (AnsweredToolCall("call_1", "f", "[1"), AnsweredToolCall("call_2", "g", ""))
    body = write_answer(ChatResponse(blocks=calls, tool_calls=calls), closing(), FOREIGN)
    with client(body, "application/json") as sdk:
        message = sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
    inputs = [block.input for block in message.content if block.type == "tool_use"]
    assert inputs == [{"_raw": "[1"}, {}]
