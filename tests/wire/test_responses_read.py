from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainfera_gateway.canonical.events import MessageDelta, fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.openai_responses.answer import read_answer
from ainfera_gateway.wire.openai_responses.stream import StreamReader
from tests.wire.golden_files import golden
from tests.wire.responses_shown import events_of, read_stream, shown_answer, shown_stream

FOLDER = Path(__file__).parent / "golden" / "responses"
STREAMS = sorted(path.stem for path in FOLDER.glob("stream_*.sse"))
ANSWERS = sorted(path.stem for path in FOLDER.glob("answer_*.json"))


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str) -> None:
    stream = golden(f"responses/{name}.sse")
    assert shown_stream(stream) == golden(f"responses/{name}.events.jsonl")
    _, frames = read_stream(stream)
    chunks = b"".join(frame.raw for frame in frames if frame.kind != "garbage")
    assert stream.startswith(chunks) or name == "stream_garbage"


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str) -> None:
    assert shown_answer(read_answer(golden(f"responses/{name}.json"))) == golden(f"responses/{name}.read.jsonl")


def last_response(stream: bytes) -> bytes:
    """The plain answer that a stream's last event holds."""
    _, frames = read_stream(stream)
    (ending,) = {frame.data: frame for frame in frames if frame.finish_reason is not None}.values()
    return json.dumps((ending.document or {})["response"]).encode()


# What has no last event, ends twice, or tells in the stream what its last event spells otherwise.
_NOT_WHOLE = ("failed", "error", "cut_off", "garbage", "doubled")


@pytest.mark.parametrize("name", [name for name in STREAMS if not any(word in name for word in _NOT_WHOLE)])
def test_a_stream_folds_into_the_plain_answer(name: str) -> None:
    stream = golden(f"responses/{name}.sse")
    reader, frames = read_stream(stream)
    plain = read_answer(last_response(stream))
    assert fold(events_of(frames)) == plain.response
    assert (reader.usage, reader.finish_reason, reader.finish_reason_native, reader.model) == (
        plain.usage,
        plain.finish_reason,
        plain.finish_reason_native,
        plain.model,
    )
    assert sum(frame.text_chars for frame in frames) == plain.text_chars
    assert sum(frame.text_bytes for frame in frames) == plain.text_bytes


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_into_single_bytes_is_the_same(name: str) -> None:
    stream = golden(f"responses/{name}.sse")
    reader, frames = read_stream(stream)
    slowly, same = read_stream(stream, range(len(stream)))
    assert same == frames
    assert (slowly.usage, slowly.finish_reason, slowly.visible, slowly.done) == (
        reader.usage,
        reader.finish_reason,
        reader.visible,
        reader.done,
    )


def test_the_first_text_is_what_makes_a_stream_visible_and_its_end_ends_it() -> None:
    reader = StreamReader()
    seen: list[tuple[str | None, bool, bool, bool]] = []
    for raw in golden("responses/stream_one_call.sse").split(b"\n\n")[:-1]:
        (frame,) = reader.feed(raw + b"\n\n")
        seen.append((frame.name, reader.visible, frame.has_tool_call, reader.done))
    assert seen[1] == ("response.in_progress", False, False, False)
    assert seen[2] == ("response.output_item.added", True, True, False)
    assert seen[3] == ("response.function_call_arguments.delta", True, False, False)
    assert seen[-1] == ("response.completed", True, False, True)
    assert [done for *_, done in seen[:-1]] == [False] * (len(seen) - 1)


def test_usage_of_a_stream_that_fails_is_kept() -> None:
    reader, _ = read_stream(golden("responses/stream_failed_with_usage.sse"))
    assert reader.usage == Usage(36, 87, 12, 4, 64)
    assert not reader.complete


def test_an_endless_event_is_one_error_and_the_end() -> None:
    reader = StreamReader(event_bytes_max=100)
    assert [frame.kind for frame in reader.feed(b": a\n\ndata: " + b"x" * 200)] == ["comment", "error"]
    assert reader.feed(b"\n\n: b\n\n") == []
    assert reader.close() == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'data: {"type":"error","message":"x"}\n\n', "x"),
        (b'data: {"error":{"message":"x"}}\n\n', "x"),
        (b'data: {"error":"x"}\n\n', "x"),
        (b'event: error\ndata: "x"\n\n', "x"),
        (b'event: error\ndata: {"type":"x"}\n\n', "the provider failed"),
        (b'data: {"type":"response.failed","response":{"error":null}}\n\n', "the provider failed"),
        (b'data: {"type":"response.failed"}\n\n', "the provider failed"),
        (b'data: {"type":"response.completed","response":{"status":"cancelled"}}\n\n', "the provider failed"),
        (b'data: {"type":"response.x","response":{"status":"failed","error":{"message":"x"}}}\n\n', "x"),
    ],
)
def test_failures_of_all_forms(raw: bytes, message: str) -> None:
    _, (frame,) = read_stream(raw)
    assert frame.kind == "error"
    assert (frame.document or {})["error"]["message"] == message
    assert events_of([frame]) == []


def test_an_end_that_holds_nothing_is_an_end() -> None:
    reader, frames = read_stream(b'data: {"type":"response.incomplete"}\n\n')
    assert events_of(frames) == [MessageDelta("length", "incomplete")]
    assert reader.complete
    assert not reader.visible


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"<html>", None),
        (b"[]", None),
        (b'{"error":{"message":"no"},"output":[]}', "error"),
        (b'{"status":"failed","output":[]}', "status"),
        (b'{"status":"cancelled"}', "status"),
        (b'{"status":"queued"}', "status"),
        (b'{"status":"in_progress","output":[]}', "status"),
    ],
)
def test_what_is_no_answer(body: bytes, field: str | None) -> None:
    with pytest.raises(ParseError) as refused:
        read_answer(body)
    assert refused.value.field == field
