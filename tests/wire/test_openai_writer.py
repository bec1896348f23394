"""Streams and answers of other dialects, as callers of the OpenAI dialect get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
    fold,
)
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.openai_chat.answer import write_answer
from ainfera_gateway.wire.openai_chat.writer import StreamWriter
from ainfera_gateway.wire.passage import Terms
from tests.wire.openai_cases import closing

TERMS = Terms(
    wire="anthropic_messages",
    provider="anthropic",
    slug="claude-opus-4-7",
    upstream_model="up",
    max_tokens=9,
    inference_id="0199f6b0-0000-7000-8000-000000000001",
    created_s=7,
)
END = closing(Usage(3, 4))


def chunks(stream: bytes) -> list[dict[str, Any]]:
    return [
        json.loads(event.removeprefix(b"data: ")) for event in stream.split(b"\n\n") if event.startswith(b"data: {")
    ]


def deltas(*events: StreamEvent) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(StreamWriter(TERMS, include_usage=False).write(events))]


def test_the_official_types_take_all_of_it() -> None:
    events = [
        ThinkingDelta("hm", "sig"),
        ContentDelta("a"),
        ToolUseStart(0, "c", "f"),
        ToolUseDelta(0, "{}"),
        MessageDelta("tool_calls"),
    ]
    writer = StreamWriter(TERMS, include_usage=True)
    read = [
        ChatCompletionChunk.model_validate(chunk, strict=True)
        for chunk in chunks(writer.write(events) + writer.finish(END))
    ]
    assert read[-1].usage is not None
    assert read[-1].usage.total_tokens == 7
    assert [choice.finish_reason for chunk in read for choice in chunk.choices if choice.finish_reason] == [
        "tool_calls"
    ]
    answer = ChatCompletion.model_validate(json.loads(write_answer(fold(events), END, TERMS)), strict=True)
    assert answer.choices[0].message.content == "a"


def test_the_head_goes_out_with_the_first_event_and_once() -> None:
    writer = StreamWriter(TERMS, include_usage=False)
    assert writer.write([]) == b""
    (head,) = chunks(writer.write([MessageDelta(usage=Usage(1))]))
    assert head == {
        "id": "chatcmpl-0199f6b0-0000-7000-8000-000000000001",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "claude-opus-4-7",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
    }
    assert writer.write([MessageDelta(model="x")]) == b""
    assert [chunk["choices"][0]["delta"] for chunk in chunks(writer.write([ContentDelta("a")]))] == [{"content": "a"}]


def test_the_end_says_why_then_what_it_cost_then_done() -> None:
    writer = StreamWriter(TERMS, include_usage=True)
    writer.write(
        [ContentDelta("a"), MessageDelta("length", "max_tokens", Usage(1, 1)), MessageDelta(usage=Usage(9, 9))]
    )
    end = writer.finish(END)
    finish, usage = chunks(end)
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert (usage["choices"], usage["usage"]["total_tokens"], usage["ainfera"]["cost_usd"]) == ([], 7, "0.000665")
    assert set(usage["ainfera"]) == {
        "agent_id",
        "inference_id",
        "receipt_id",
        "audit_verify_url",
        "provider",
        "cost_usd",
    }
    assert end.endswith(b"\n\ndata: [DONE]\n\n")
    quiet = StreamWriter(TERMS, include_usage=False)
    (_, finish) = chunks(quiet.finish(END))
    assert finish["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([ToolUseStart(0, "c", "f")], "tool_calls"),
        ([ToolUseStart(0, "c", "f"), MessageDelta("length")], "length"),
        ([MessageDelta("stop"), MessageDelta(usage=Usage(1))], "stop"),
    ],
)
def test_why_it_ended(events: list[StreamEvent], reason: str) -> None:
    writer = StreamWriter(TERMS, include_usage=False)
    writer.write(events)
    assert chunks(writer.finish(END))[0]["choices"][0]["finish_reason"] == reason


def test_calls_are_announced_once_with_an_id_and_keep_their_index() -> None:
    assert deltas(
        ToolUseStart(0, "c0", "f", thought_signature="sig"),
        ToolUseStart(2, "", ""),
        ToolUseDelta(2, "{"),
        ToolUseStart(2, "late", "g"),
        ToolUseStart(0, "c0", ""),
        ToolUseDelta(0, "{}"),
    )[1:] == [
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "c0",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                    "extra_content": {"google": {"thought_signature": "sig"}},
                }
            ]
        },
        {"tool_calls": [{"index": 2, "id": "call_2", "type": "function", "function": {"name": "", "arguments": ""}}]},
        {"tool_calls": [{"index": 2, "function": {"arguments": "{"}}]},
        {"tool_calls": [{"index": 2, "function": {"name": "g"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
    ]


def test_a_signature_brings_its_whole_block() -> None:
    assert deltas(
        ThinkingDelta("a"),
        ThinkingDelta("b"),
        ThinkingDelta("", "s1"),
        ThinkingDelta("c", "s2"),
        RedactedThinking("zz"),
        ThinkingDelta(""),
        ContentDelta(""),
    )[1:] == [
        {"reasoning_content": "a"},
        {"reasoning_content": "b"},
        {"reasoning_content": "", "thinking_blocks": [{"type": "thinking", "thinking": "ab", "signature": "s1"}]},
        {"reasoning_content": "c", "thinking_blocks": [{"type": "thinking", "thinking": "c", "signature": "s2"}]},
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "zz"}]},
    ]


def test_what_was_generated_is_counted_in_bytes() -> None:
    writer = StreamWriter(TERMS, include_usage=True)
    counted = []
    for event in (
        ThinkingDelta("hé"),
        ThinkingDelta("", "signature"),
        RedactedThinking("not counted"),
        ContentDelta("🚀"),
        ToolUseStart(0, "id", "name"),
        ToolUseDelta(0, "{}"),
        MessageDelta("stop"),
    ):
        writer.write([event])
        counted.append(writer.text_bytes)
    writer.finish(END)
    assert [*counted, writer.text_bytes] == [3, 3, 3, 7, 11, 13, 13, 13]


def test_a_plain_answer() -> None:
    response = fold(
        [
            ThinkingDelta("hm", "sig"),
            ContentDelta("a"),
            ToolUseStart(0, "", "f", thought_signature="ts"),
            ToolUseDelta(0, '{"x": 1}'),
            MessageDelta("tool_calls", "tool_use", Usage(1, 1), "up"),
        ]
    )
    assert json.loads(write_answer(response, END, TERMS)) == {
        "id": "chatcmpl-0199f6b0-0000-7000-8000-000000000001",
        "object": "chat.completion",
        "created": 7,
        "model": "claude-opus-4-7",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "a",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig"}],
                    "tool_calls": [
                        {
                            "id": "call_0",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"x": 1}'},
                            "extra_content": {"google": {"thought_signature": "ts"}},
                        }
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "ainfera": {
            "agent_id": "a-1",
            "inference_id": "i-1",
            "receipt_id": "r-1",
            "audit_verify_url": "https://gateway.example/v1/audit/a-1/verify",
            "provider": "openai",
            "cost_usd": "0.000665",
        },
    }


@pytest.mark.parametrize(
    ("events", "content", "reason"),
    [
        ([], "", "stop"),
        ([ContentDelta("x")], "x", "stop"),
        ([ToolUseStart(0, "c", "f")], None, "tool_calls"),
        ([MessageDelta("content_filter", "refusal")], "", "content_filter"),
    ],
)
def test_content_is_null_only_for_pure_calls(events: list[StreamEvent], content: str | None, reason: str) -> None:
    choice = json.loads(write_answer(fold(events), END, TERMS))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (content, reason)
    assert "thinking_blocks" not in choice["message"]
