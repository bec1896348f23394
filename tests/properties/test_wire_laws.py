"""Laws of the wire: what holds for every body and every stream, not only for those somebody thought of."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.canonical.events import fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.usage import Usage, merge
from ainfera_gateway.wire.json_limits import check_depth, check_text
from ainfera_gateway.wire.json_splice import DuplicateMemberError, members, members_with_repeats, splice
from ainfera_gateway.wire.openai_chat.answer import read_answer
from ainfera_gateway.wire.openai_chat.provider_error import read_provider_error
from ainfera_gateway.wire.openai_chat.relay import StreamRelay
from ainfera_gateway.wire.openai_chat.request import parse, upstream_body
from ainfera_gateway.wire.openai_chat.stream import EventDecoder, Frame, StreamReader, read_frame
from tests.wire.golden_files import golden

law = settings(max_examples=150, deadline=None, database=None)

TEXT = st.one_of(
    st.sampled_from(['"model":"x"', "model", '\\"', "\\", "{[", '"', "\n\n", "data: ", "é🚀", "}", "\u2028"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8),
)
KEYS = st.one_of(st.sampled_from(["model", "metadata", "a", 'q"', "b\\", "é", "", "Model"]), TEXT)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(-9, 9, width=16), TEXT)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
SPACE = st.sampled_from(["", " ", "\n", "\t\r\n "])


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """``value`` as JSON with spaces anywhere and strings escaped or not."""
    space = draw(SPACE)
    if isinstance(value, dict):
        inner = ",".join(
            f"{draw(SPACE)}{draw(written(key))}:{draw(written(item))}{draw(SPACE)}" for key, item in value.items()
        )
        return f"{space}{{{inner}{space}}}"
    if isinstance(value, list):
        return f"{space}[{','.join(draw(written(item)) for item in value)}{space}]"
    return space + json.dumps(value, ensure_ascii=draw(st.booleans())) + draw(SPACE)


@st.composite
def written_objects(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    value = draw(st.dictionaries(KEYS, VALUES, max_size=6))
    return value, draw(written(value)).encode()


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@law
@given(st.data(), VALUES, st.integers(1, 5))
def test_depth_agrees_with_a_recursive_count(data: st.DataObject, value: Any, depth_max: int) -> None:
    body = data.draw(written(value)).encode()
    if depth_of(value) > depth_max:
        with pytest.raises(ParseError):
            check_depth(body, depth_max)
    else:
        check_depth(body, depth_max)


@law
@given(st.lists(st.sampled_from([*'[]{}"\\:,u0a\n', '\\"', "\\\\", "[[", "]]"]), max_size=40))
def test_depth_never_refuses_what_is_shallow_and_never_breaks(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        depth = depth_of(json.loads(text))
    except ValueError:
        depth = -1
    try:
        check_depth(text.encode(), 2)
        refused = False
    except ParseError:
        refused = True
    if depth >= 0:
        assert refused is (depth > 2)


ESCAPES = st.sampled_from(
    [
        "\\\\",
        "\\n",
        '\\"',
        "\\ud83d",
        "\\uDE00",
        "\\ud83d\\ude00",
        "\\u0000",
        "\\u00e9",
        "u0000",
        "ud800",
        "\\uDBFF",
        "\\udc00",
        "x",
        "é",
    ]
)


@law
@given(st.lists(ESCAPES, max_size=8))
def test_unreadable_text_is_found_exactly(pieces: list[str]) -> None:
    body = ('{"a":["' + "".join(pieces) + '"]}').encode()
    value = json.loads(body)["a"][0]
    if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
        with pytest.raises(ParseError) as refused:
            check_text(body)
        assert refused.value.field == "a[0]"
    else:
        check_text(body)
        members(body)


@law
@given(written_objects())
def test_offsets_cut_the_body_into_its_members(case: tuple[dict[str, Any], bytes]) -> None:
    value, body = case
    found = members(body)
    assert found == members_with_repeats(body)
    assert {member.key: json.loads(body[member.value_start : member.value_end]) for member in found} == value
    for member in found:
        assert json.loads(b"{" + body[member.key_start : member.value_end] + b"}") == {member.key: value[member.key]}
    assert splice(body, found, {}) == body


@law
@given(st.data(), written_objects())
def test_splice_leaves_every_other_byte(data: st.DataObject, case: tuple[dict[str, Any], bytes]) -> None:
    value, body = case
    found = members(body)
    chosen = (
        data.draw(st.dictionaries(st.sampled_from(sorted(value)), st.sampled_from([None, b"0", b'"n"'])))
        if value
        else {}
    )
    added = {"@new": b"[1]"} if data.draw(st.booleans()) else {}
    out = splice(body, found, chosen, added)
    expected = {
        key: json.loads(chosen.get(key) or json.dumps(item))
        for key, item in value.items()
        if chosen.get(key, b"") is not None
    }
    assert json.loads(out) == expected | ({"@new": [1]} if added else {})
    for member in found:
        whole = body[member.key_start : member.value_end]
        if member.key not in chosen:
            assert whole in out
    if None not in chosen.values() and not added:
        # Replaced only: putting the old values back gives the old bytes.
        back = {member.key: body[member.value_start : member.value_end] for member in found if member.key in chosen}
        assert splice(out, members(out), back) == body


@law
@given(st.data(), written_objects())
def test_a_name_repeated_anywhere_on_top_is_refused(data: st.DataObject, case: tuple[dict[str, Any], bytes]) -> None:
    value, _ = case
    names = [*value, data.draw(st.sampled_from([*value, "a"]))]
    pieces = [f"{data.draw(written(name))}:{data.draw(written(value.get(name, 1)))}" for name in names]
    body = ("{" + ",".join(data.draw(st.permutations(pieces))) + "}").encode()
    if len(set(names)) == len(names):
        assert {member.key for member in members(body)} == set(names)
    else:
        with pytest.raises(DuplicateMemberError) as refused:
            members(body)
        assert refused.value.field == names[-1]


@law
@given(st.data(), st.integers(0, 40), st.binary(max_size=6))
def test_a_damaged_request_is_a_parse_error_or_a_request(data: st.DataObject, length: int, put: bytes) -> None:
    body = golden("agent_request.json")
    start = data.draw(st.integers(0, len(body)))
    damaged = body[:start] + put + body[start + length :]
    try:
        parsed = parse(damaged, flat=False)
    except ParseError as problem:
        refused = problem
    else:
        refused = None
    if refused is not None:
        assert refused.message
        assert "\x00" not in refused.message
        return
    out = upstream_body(parsed, model="m", max_tokens=1, max_tokens_field="max_tokens", ask_usage=True)
    sent = json.loads(out)
    assert (sent["model"], sent["max_tokens"]) == ("m", 1)
    assert not sent.keys() & {"agent_id", "routing_hint", "task_type", "caps", "max_completion_tokens"}


@law
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_never_break_a_reader(noise: bytes) -> None:
    reader = StreamReader(event_bytes_max=64)
    for frame in reader.feed(noise) + reader.close():
        assert frame.kind in {"chunk", "done", "comment", "error", "garbage"}
    assert len(read_provider_error(noise).message) <= 500
    for read in (read_answer, members, members_with_repeats, lambda body: parse(body, flat=True)):
        with contextlib.suppress(ParseError):
            read(noise)


STREAM_PIECES = st.sampled_from(
    [
        b"data: ",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r",
        b": c",
        b"[DONE]",
        b"event: error\n",
        b"\xef\xbb\xbf",
        b" ",
        b'{"choices":[{"delta":{"content":"\xc3\xa9"}}],"model":"u"}',
        b'{"choices":[],"usage":{"prompt_tokens":3}}',
        b'{"a":',
        b"\xff",
    ]
)


def frames_of(stream: bytes, cuts: list[int]) -> list[Frame]:
    reader = StreamReader()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    frames = [frame for start, end in itertools.pairwise(bounds) for frame in reader.feed(stream[start:end])]
    return frames + reader.close()


@law
@given(st.lists(STREAM_PIECES, max_size=25), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_gives_the_same_frames(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    whole = frames_of(stream, [])
    assert frames_of(stream, cuts) == whole
    assert frames_of(stream, list(range(len(stream)))) == whole


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_real_stream_cut_in_two_at_every_byte(line_end: bytes) -> None:
    stream = golden("stream_tools.sse").replace(b"\n", line_end)
    whole = frames_of(stream, [])
    assert b"".join(frame.raw for frame in whole) == stream
    for cut in range(len(stream)):
        assert frames_of(stream, [cut]) == whole


@st.composite
def cut_up(draw: st.DrawFn, text: str) -> list[str]:
    bounds = [0, *sorted(draw(st.lists(st.integers(0, len(text)), max_size=3))), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


@st.composite
def told_twice(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One answer, plain and streamed, with its tool calls' fragments mixed."""
    content, thinking = draw(TEXT), draw(TEXT)
    calls = [
        {"id": f"call_{place}", "type": "function", "function": {"name": f"f{place}", "arguments": draw(TEXT)}}
        for place in range(draw(st.integers(0, 3)))
    ]
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "eos"]))
    usage = {"prompt_tokens": draw(st.integers(0, 99)), "completion_tokens": draw(st.integers(0, 99))}
    message = {"role": "assistant", "content": content, "reasoning_content": thinking, "tool_calls": calls}
    plain = {"model": "u", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
    deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in draw(cut_up(thinking))]
    deltas += [{"content": piece} for piece in draw(cut_up(content))]
    deltas += [
        {
            "tool_calls": [
                {"index": place, "id": call["id"], "function": {"name": call["function"]["name"], "arguments": ""}}
            ]
        }
        for place, call in enumerate(calls)
    ]
    queues = [
        [
            {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
            for piece in draw(cut_up(call["function"]["arguments"]))
        ]
        for place, call in enumerate(calls)
    ]
    while any(queues):
        deltas.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    chunks: list[dict[str, Any]] = [{"model": "u", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"model": "u", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks += [{"model": "u", "choices": [], "usage": usage}] * draw(st.integers(1, 2))
    stream = "".join(f"data: {json.dumps(chunk, ensure_ascii=draw(st.booleans()))}\n\n" for chunk in chunks)
    return json.dumps(plain).encode(), (stream + "data: [DONE]\n\n").encode()


@law
@given(told_twice(), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_stream_folds_into_the_plain_answer(case: tuple[bytes, bytes], cuts: list[int]) -> None:
    plain, stream = case
    answer = read_answer(plain)
    frames = frames_of(stream, cuts)
    decoder = EventDecoder()
    whole = fold(event for frame in frames for event in decoder.events(frame))
    assert (whole.content, whole.thinking, whole.tool_calls) == (
        answer.response.content,
        answer.response.thinking,
        answer.response.tool_calls,
    )
    assert (whole.finish_reason, whole.finish_reason_native, whole.usage, whole.model) == (
        answer.finish_reason,
        answer.finish_reason_native,
        answer.usage,
        answer.model,
    )
    assert sum(frame.text_chars for frame in frames) == answer.text_chars
    assert sum(frame.text_bytes for frame in frames) == answer.text_bytes


@law
@given(st.data(), st.lists(written_objects(), min_size=1, max_size=4), st.sampled_from(["m", 'slug"é']))
def test_relay_changes_the_model_and_no_other_byte(
    data: st.DataObject, cases: list[tuple[dict[str, Any], bytes]], model: str
) -> None:
    relay = StreamRelay(model=model, include_usage=False)
    bodies = [body for value, body in cases if b"\n" not in body and not value.get("error")]
    for body in data.draw(st.lists(st.sampled_from(bodies), max_size=6)) if bodies else []:
        frame = read_frame(b"data: " + body + b"\n\n")
        out = relay.relay(frame)
        expected = body
        for member in members_with_repeats(body):
            if member.key == "model":
                slug = json.dumps(model, ensure_ascii=False).encode()
                expected = body[: member.value_start] + slug + body[member.value_end :]
        assert out == b"data: " + expected + b"\n\n"


COUNTS = st.one_of(st.none(), st.integers(0, 9))
USAGES = st.one_of(st.none(), st.builds(Usage, *[COUNTS] * 9))


@law
@given(USAGES, USAGES, USAGES)
def test_usage_merges_in_any_order_and_any_number_of_times(
    one: Usage | None, two: Usage | None, three: Usage | None
) -> None:
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == one
