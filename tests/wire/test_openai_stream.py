from __future__ import annotations

import json
from typing import Any

import pytest

from ainfera_gateway.canonical.events import ContentDelta, MessageDelta, ThinkingDelta, ToolUseDelta, ToolUseStart, fold
from ainfera_gateway.canonical.response import AnsweredToolCall
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.openai_chat.answer import read_answer
from ainfera_gateway.wire.openai_chat.errors import error_frame
from ainfera_gateway.wire.openai_chat.relay import DONE, StreamRelay
from ainfera_gateway.wire.openai_chat.stream import EventDecoder, Frame, StreamReader, read_frame
from ainfera_gateway.wire.passage import Closing
from tests.wire.golden_files import golden

AINFERA = {
    "agent_id": "a-1",
    "inference_id": "i-1",
    "receipt_id": "r-1",
    "audit_verify_url": "https://gateway.example/v1/audit/a-1/verify",
    "provider": "openai",
    "cost_usd": "0.000665",
}


def chunk(delta: Any = None, finish: str | None = None, **extra: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "c", "model": "up", "choices": choices} | extra).encode() + b"\n\n"


def events(*raws: bytes) -> list[Any]:
    decoder = EventDecoder()
    return [event for raw in raws for event in decoder.events(read_frame(raw))]


def read_all(stream: bytes) -> tuple[StreamReader, list[Frame]]:
    reader = StreamReader()
    return reader, reader.feed(stream) + reader.close()


def closing(usage: Usage) -> Closing:
    return Closing(
        agent_id="a-1",
        inference_id="i-1",
        receipt_id="r-1",
        audit_url="https://gateway.example/v1/audit/a-1/verify",
        provider="openai",
        model="gpt-5-5",
        cost_usd="0.000665",
        usage=usage,
    )


def relayed(stream: bytes, *, include_usage: bool, model: str = "gpt-5-5", usage: Usage | None = None) -> bytes:
    reader, frames = read_all(stream)
    relay = StreamRelay(model=model, include_usage=include_usage)
    body = b"".join(relay.relay(frame) for frame in frames)
    return body + relay.finish(closing(usage or reader.usage or Usage(1, 2)))


def test_a_stream_with_tools_becomes_the_callers_byte_for_byte() -> None:
    stream = golden("stream_tools.sse")
    assert relayed(stream, include_usage=True) == golden("stream_tools.asked.sse")
    assert relayed(stream, include_usage=False) == golden("stream_tools.hidden.sse")
    windows = relayed(stream.replace(b"\n", b"\r\n"), include_usage=False)
    # The end is always ours, whatever line ends the provider uses.
    assert windows == golden("stream_tools.hidden.sse").replace(DONE, b"").replace(b"\n", b"\r\n") + DONE


def test_a_stream_folds_into_the_plain_answer() -> None:
    reader, frames = read_all(golden("stream_tools.sse"))
    decoder = EventDecoder()
    whole = fold(event for frame in frames for event in decoder.events(frame))
    plain = read_answer(golden("answer_tools.json")).response
    assert (whole.content, whole.tool_calls, whole.finish_reason) == (
        plain.content,
        plain.tool_calls,
        plain.finish_reason,
    )
    assert (whole.usage, whole.model) == (plain.usage, plain.model)
    assert (reader.usage, reader.finish_reason, reader.model) == (plain.usage, "tool_calls", plain.model)
    assert reader.done
    assert reader.complete
    assert reader.visible


def test_what_was_generated_is_counted_in_what_was_relayed() -> None:
    _, frames = read_all(golden("stream_tools.sse"))
    relay = StreamRelay(model="m", include_usage=False)
    plain = read_answer(golden("answer_tools.json"))
    seen: list[tuple[int, bool]] = []
    for frame in frames:
        relay.relay(frame)
        seen.append((relay.text_chars, relay.visible))
    # Comment and role chunk show nothing; the first text does.
    assert seen[1] == (0, False)
    assert seen[2] == (len('The "model":'), True)
    assert (relay.text_chars, relay.text_bytes) == (plain.text_chars, plain.text_bytes)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"data: [DONE]\n\n", "done"),
        (b"data:[DONE]\r\n\r\n", "done"),
        (b": keep-alive\n\n", "comment"),
        (b"data: \n\n", "comment"),
        (b"event: ping\n\n", "comment"),
        (b'data: {"choices":[]}\n\n', "chunk"),
        (b'data: {"choices":\ndata: []}\n\n', "chunk"),
        (b'data: {"error":null,"choices":[]}\n\n', "chunk"),
        (b'data: {"error":{"message":"x"}}\n\n', "error"),
        (b'data: {"error":"x","choices":[{"delta":{},"finish_reason":"error"}]}\n\n', "error"),
        (b'event: error\ndata: {"message":"x"}\n\n', "error"),
        (b'event: error\ndata: "x"\n\n', "error"),
        (b'error: {"code":500,"message":"x"}\n\n', "error"),
        (b"data: {\n\n", "garbage"),
        (b"data: [1]\n\n", "garbage"),
        (b"data: \xff\n\n", "garbage"),
        (b"<html>502</html>\n\n", "garbage"),
        (b'{"error":{"message":"x"}}\n\n', "garbage"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "garbage"),
    ],
)
def test_kinds_of_frames(raw: bytes, kind: str) -> None:
    frame = read_frame(raw)
    assert (frame.kind, frame.raw) == (kind, raw)


@pytest.mark.parametrize(
    ("delta", "visible", "text", "call"),
    [
        ({"role": "assistant", "content": ""}, False, "", False),
        ({"content": None}, False, "", False),
        ({}, False, "", False),
        ({"content": "é"}, True, "é", False),
        ({"refusal": "no"}, True, "no", False),
        ({"reasoning_content": "hm"}, True, "hm", False),
        ({"reasoning": "hm"}, True, "hm", False),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, True, "hm", False),
        ({"content": [{"type": "text", "text": "x"}]}, True, "x", False),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}, True, "f{", True),
        ({"tool_calls": None, "content": "x"}, True, "x", False),
        ({"function_call": {"name": "f", "arguments": "{}"}}, True, "f{}", True),
        ({"content": 5, "tool_calls": ["x"]}, False, "", False),
        ("odd", False, "", False),
    ],
)
def test_what_a_delta_shows(delta: Any, visible: bool, text: str, call: bool) -> None:
    frame = read_frame(chunk(delta))
    assert (frame.visible, frame.text_chars, frame.text_bytes, frame.has_tool_call) == (
        visible,
        len(text),
        len(text.encode()),
        call,
    )


def usage(tokens_in: int, tokens_out: int) -> dict[str, int]:
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=usage(5, 2))], Usage(5, 2)),
        ([chunk({"content": "a"}), chunk({}, "stop", usage=usage(5, 2))], Usage(5, 2)),
        ([chunk({"content": "a"}, usage=usage(5, 1)), chunk({}, "stop", usage=usage(5, 2))], Usage(5, 2)),
        ([chunk({}, "stop", usage=usage(5, 2)), chunk(usage=usage(5, 2)), chunk(usage=usage(5, 2))], Usage(5, 2)),
        ([chunk({"content": "a"}, usage=None), chunk({}, "stop")], None),
        ([chunk({"content": "a"}), chunk({}, "stop"), chunk(usage={})], None),
        ([chunk({}, "stop"), chunk(usage=usage(0, 0))], Usage(0, 0)),
        ([chunk({}, "stop"), chunk(usage=usage(5, 2)), b'data: {"error":{"message":"late"}}\n\n'], Usage(5, 2)),
    ],
)
def test_usage_wherever_it_rides(frames: list[bytes], expected: Usage | None) -> None:
    reader, _ = read_all(b"".join(frames))
    assert reader.usage == expected
    assert reader.complete
    assert not reader.done


def test_only_a_chunk_of_nothing_but_usage_is_hidden() -> None:
    empty = chunk(prompt_filter_results=[])
    riding = chunk({}, "stop", usage=usage(5, 2))
    assert not read_frame(empty).is_usage_only
    assert not read_frame(riding).is_usage_only
    out = relayed(empty + riding + chunk(usage=usage(5, 2)), include_usage=False, model="up")
    assert out == empty + riding + DONE


def test_a_caller_who_asked_gets_one_usage_chunk_even_where_the_provider_sends_none() -> None:
    out = relayed(chunk({"content": "x"}, created=7) + chunk({}, "stop"), include_usage=True, usage=Usage(3, 4, 1))
    last = json.loads(out.split(b"\n\n")[-3].removeprefix(b"data: "))
    assert last == {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "gpt-5-5",
        "choices": [],
        "usage": usage(3, 4) | {"prompt_tokens_details": {"cached_tokens": 1}},
        "ainfera": AINFERA,
    }
    twice = relayed(chunk({"content": "x"}) + chunk(usage=usage(1, 1)) * 2, include_usage=True)
    assert twice.count(b"ainfera") == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'data: {"x":{"model":"a"},"choices":[]}\n\n', None),
        (
            b'data: {"choices":[{"delta":{"content":"\\"model\\":\\"up\\""}}],"model" : "up" }\n\n',
            (b' "up" ', b' "m" '),
        ),
        (b'data: {"model":null,"choices":[]}\n\n', (b"null", b'"m"')),
        (b'data: {"mod\\u0065l":"up","choices":[]}\n\n', (b'"up"', b'"m"')),
        (b'data: {"model":"up","model":"up","choices":[]}\n\n', (b'"up"', b'"m"')),
        (b'data: {"model":"up","choices":[{"delta":{"content":"\\ud83d"}}]}\n\n', (b'"up"', b'"m"')),
        (b'id: 4\r\ndata: {"model":"up",\r\ndata: "choices":[]}\r\n: x\r\n\r\n', (b'"up"', b'"m"')),
        (b'\nevent: message\ndata: {"model":"up","choices":[]}\n\n', (b'"up"', b'"m"')),
    ],
)
def test_only_the_top_level_model_changes(raw: bytes, expected: tuple[bytes, bytes] | None) -> None:
    relay = StreamRelay(model="m", include_usage=False)
    out = relay.relay(read_frame(raw))
    assert out == (raw if expected is None else raw.replace(*expected))
    assert relay.relay(read_frame(raw)) == out


def test_a_frame_like_the_last_one_with_a_second_model_behind_is_not_mistaken() -> None:
    relay = StreamRelay(model="m", include_usage=False)
    first = b'data: {"model":"up","choices":[]}\n\n'
    assert relay.relay(read_frame(first)) == first.replace(b"up", b"m")
    for second in (b'"model"', b'"mod\\u0065l"'):
        frame = b'data: {"model":"up","choices":[],' + second + b':"up"}\n\n'
        assert relay.relay(read_frame(frame)) == frame.replace(b'"up"', b'"m"')
    nested = b'data: {"model":"up","choices":[{"delta":{"model":"up"}}]}\n\n'
    assert relay.relay(read_frame(nested)) == nested.replace(b'"up"', b'"m"', 1)


@pytest.mark.parametrize(
    ("rest", "kind", "raw"),
    [
        (b"data: [DONE]", "done", b"data: [DONE]\n\n"),
        (b"data: [DONE]\r\n", "done", b"data: [DONE]\n\n"),
        (b'data: {"choices":[]}\n', "chunk", b'data: {"choices":[]}\n\n'),
        (b'data: {"choices":[', "garbage", b'data: {"choices":[\n\n'),
        (b'{"error":{"message":"x"}}', "garbage", b'{"error":{"message":"x"}}\n\n'),
    ],
)
def test_the_last_event_may_lack_its_blank_line(rest: bytes, kind: str, raw: bytes) -> None:
    reader = StreamReader()
    assert reader.feed(rest) == []
    (frame,) = reader.close()
    assert (frame.kind, frame.raw) == (kind, raw)
    assert reader.close() == []


def test_a_stream_cut_off_is_not_complete() -> None:
    reader, frames = read_all(chunk({"content": "a"}) + b'data: {"choi')
    assert [frame.kind for frame in frames] == ["chunk", "garbage"]
    assert not reader.complete


def test_an_endless_event_is_one_error_and_the_end() -> None:
    reader = StreamReader(event_bytes_max=100)
    frames = reader.feed(chunk({"content": "a"}) + b"data: " + b"x" * 200)
    assert [frame.kind for frame in frames] == ["chunk", "error"]
    assert reader.feed(b"\n\n" + chunk({"content": "b"})) == []
    assert reader.close() == []


def test_a_stream_never_waits_for_more_than_its_event() -> None:
    reader = StreamReader()
    relay = StreamRelay(model="up", include_usage=True)
    for raw in (chunk({"content": "a"}), chunk({"content": "b"}), b": ping\n\n"):
        (frame,) = reader.feed(raw)
        assert relay.relay(frame) == raw


@pytest.mark.parametrize("cumulative", [False, True])
def test_usage_beside_text_is_stated_once_for_who_asked(cumulative: bool) -> None:
    usage = b'{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"details_of_its_own":[1]}'
    first = b'data: {"id":"a","model":"up","choices":[{"index":0,"delta":{"content":"x"}}]%b}\n\n'
    last = b'data: {"id":"a","model":"up","usage":%b,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    running = b',"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}' if cumulative else b""
    stream = (first % running) + (last % usage) + DONE
    kept = relayed(stream, include_usage=False, model="m")
    assert kept == stream.replace(b'"up"', b'"m"')
    asked = relayed(stream, include_usage=True, model="m")
    assert asked.count(b'"prompt_tokens"') == 1
    assert b'"usage":null,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]' in asked
    assert b'"choices":[],"usage":%b,"ainfera":{' % usage in asked.removesuffix(DONE).rsplit(b"data: ", 1)[1]


def ends_in(usage: bytes, settled: Usage | None = None) -> bytes:
    """The usage of the closing chunk where the provider states ``usage`` beside the finish reason."""
    finish = b'data: {"model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":%b}\n\n'
    asked = relayed(finish.replace(b"%b", usage) + DONE, include_usage=True, usage=settled)
    assert asked.startswith(finish.replace(b"%b", b"null").replace(b'"up"', b'"gpt-5-5"'))
    return asked.removesuffix(DONE).rsplit(b'"choices":[],"usage":', 1)[1].split(b',"ainfera":', 1)[0]


def test_the_closing_usage_is_the_providers_own_bytes() -> None:
    usage = b'{ "cost":1.50E-3, "prompt_tokens":3,"note":"\\ud800","completion_tokens":2.0, "nan": NaN }'
    assert ends_in(usage) == usage


def test_usage_on_several_lines_stays_one_event() -> None:
    assert ends_in(b'{"prompt_tokens":3,\ndata: "completion_tokens":2}') == b'{"prompt_tokens":3,"completion_tokens":2}'


def test_where_more_was_settled_than_was_said_last_both_are_told() -> None:
    said = b'{"note":"\\ud800","completion_tokens":2,"completion_tokens_details":{"of_its_own":[1]}}'
    settled = Usage(3, 2, reasoning_tokens=1)
    assert ends_in(said, settled) == (
        b'{"note":"\\ud800","completion_tokens":2,"completion_tokens_details":{"of_its_own":[1],"reasoning_tokens":1},'
        b'"prompt_tokens":3,"total_tokens":5}'
    )


def test_usage_that_reports_nothing_beside_a_finish_is_null_too() -> None:
    assert ends_in(b"{}", Usage(3, 2)) == b'{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'


def test_failures_are_never_relayed_but_written_in_our_own_words() -> None:
    relay = StreamRelay(model="m", include_usage=False)
    for raw in (b'data: {"error":{"message":"key sk-1"}}\n\n', b"data: {\n\n", b"<html>\n\n"):
        assert relay.relay(read_frame(raw)) == b""
    frame = error_frame(502, "provider_error", "the provider broke off", {"upstream_status": 200})
    assert json.loads(frame.removeprefix(b"data: ").removesuffix(b"\n\n")) == {
        "error": {
            "message": "the provider broke off",
            "type": "server_error",
            "param": None,
            "code": "provider_error",
            "upstream_status": 200,
        }
    }


def call(index: int | None, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    sent: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, "id": call_id, "index": index}
    return {name: value for name, value in sent.items() if value is not None}


@pytest.mark.parametrize(
    "fragments",
    [
        [call(0, "a", "f", "1"), call(1, "b", "g", "3"), call(0, None, None, "2"), call(1, None, None, "4")],
        [call(1, "b", "g", "3"), call(0, "a", "f", "12"), call(1, None, None, "4")],
        [call(0, "a", "f", "12"), call(0, "b", "g", "34")],
        [call(None, "a", "f", "1"), call(None, None, None, "2"), call(None, "b", "g", "34")],
        [call(0, "a", "f", "1"), call(0, "a", "f", "2"), call(1, "b", "g", "34")],
        [call(0, "a", None, ""), call(0, None, "f", "12"), call(1, "b", "g", "34")],
    ],
)
def test_parallel_calls_reassemble_whatever_the_provider_numbers(fragments: list[dict[str, Any]]) -> None:
    expected = (AnsweredToolCall("a", "f", "12"), AnsweredToolCall("b", "g", "34"))
    one_by_one = [chunk({"tool_calls": [fragment]}) for fragment in fragments]
    assert fold(events(*one_by_one)).tool_calls == expected
    assert fold(events(chunk({"tool_calls": fragments}))).tool_calls == expected


def test_events_of_frames() -> None:
    told = events(
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "x", "tool_calls": [call(0, "a", "f", "{")]}),
        chunk({}, "length", usage=usage(1, 2)),
        b"data: [DONE]\n\n",
    )
    model = MessageDelta(model="up")
    assert told == [
        ThinkingDelta("hm"),
        model,
        ContentDelta("x"),
        ToolUseStart(0, "a", "f"),
        ToolUseDelta(0, "{"),
        model,
        MessageDelta("length", "length"),
        MessageDelta(usage=Usage(1, 2), model="up"),
    ]
    assert [event.kind for event in told[::2]] == ["thinking_delta", "content_delta", "tool_use_delta", "message_delta"]


def test_alternatives_fold_apart() -> None:
    both = {
        "choices": [
            {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "delta": {"content": "b"}, "finish_reason": "length"},
        ],
        "usage": usage(1, 2),
    }
    told = events(b"data: " + json.dumps(both).encode() + b"\n\n")
    assert [(fold(told, choice=place).content, fold(told, choice=place).finish_reason) for place in (0, 1)] == [
        ("a", "stop"),
        ("b", "length"),
    ]
    assert fold(told, choice=1).usage == Usage(1, 2)
