from __future__ import annotations

import json
from typing import Any

import pytest

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.response import AnsweredToolCall
from ainfera_gateway.canonical.usage import Usage, merge
from ainfera_gateway.wire.openai_chat.answer import read_answer, splice_answer
from ainfera_gateway.wire.openai_chat.flat import whole_flat
from ainfera_gateway.wire.openai_chat.usage import read_usage, usage_object
from ainfera_gateway.wire.passage import Closing
from tests.wire.golden_files import golden

AINFERA = b'{"cost_usd":"0.000665"}'


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


def answer(message: dict[str, Any] | None, usage: Any = None, finish: str | None = "stop") -> bytes:
    choices = [] if message is None else [{"index": 0, "message": message, "finish_reason": finish}]
    return json.dumps({"id": "x", "model": "m", "choices": choices, "usage": usage}).encode()


def test_an_answer_with_tools_is_read_spliced_and_flattened() -> None:
    body = golden("answer_tools.json")
    read = read_answer(body)
    assert read.response.content == 'The "model": says: é é'
    assert read.response.tool_calls == (
        AnsweredToolCall("call_a", "weather", '{"city": "Lyon"}'),
        AnsweredToolCall("call_b", "clock", "{not json"),
    )
    assert read.usage == Usage(82, 17, 64, None, 0, audio_input_tokens=0)
    assert (read.finish_reason, read.finish_reason_native, read.model) == (
        "tool_calls",
        "tool_calls",
        "gpt-5-5-2026-01-01",
    )
    assert not read.empty
    generated = 'The "model": says: é é' + "weather" + '{"city": "Lyon"}' + "clock" + "{not json"
    assert (read.text_chars, read.text_bytes) == (len(generated), len(generated.encode()))
    assert splice_answer(body, "gpt-5-5", AINFERA) == golden("answer_tools.spliced.json")
    assert whole_flat(read, closing(Usage(82, 17))) == golden("answer_tools.flat.json")


def test_plain_text_has_no_blocks_and_pure_calls_have_empty_content() -> None:
    assert read_answer(answer({"content": "hi"})).response.content_blocks is None
    pure = read_answer(answer({"content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]})).response
    assert (pure.content, pure.content_blocks) == ("", [{"type": "tool_use", "id": "c", "name": "f", "input": {}}])


@pytest.mark.parametrize(
    ("body", "empty"),
    [
        (answer(None), True),
        (b'{"choices":null}', True),
        (b"{}", True),
        (answer({"content": ""}), True),
        (answer({"content": None}, {"prompt_tokens": 5, "completion_tokens": 0}), True),
        (answer({"content": ""}, {"prompt_tokens": 5, "completion_tokens": 1}), False),
        (answer({"content": "x"}), False),
        (answer({"content": None, "refusal": "no"}), False),
        (answer({"content": None, "reasoning_content": "hm"}), False),
        (answer({"content": None, "audio": {"id": "a"}}), False),
        (answer({"content": None, "function_call": {"name": "f", "arguments": "{}"}}), False),
        (answer({"content": ""}, finish="content_filter"), False),
    ],
)
def test_empty_answers_are_told_from_silent_ones(body: bytes, empty: bool) -> None:
    assert read_answer(body).empty is empty


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"a":', b'{"error":{"message":"x"}}', b"\xff", b'{"a":' + b"[" * 99_999]
)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ParseError, match="provider"):
        read_answer(body)


@pytest.mark.parametrize(
    ("native", "mapped"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("something_new", "stop"),
        ("", None),
        (None, None),
    ],
)
def test_finish_reasons_map_into_the_closed_set(native: str | None, mapped: str | None) -> None:
    read = read_answer(answer({"content": "x"}, finish=native))
    assert (read.finish_reason, read.finish_reason_native) == (mapped, native or None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", b'{"model":"m","ainfera":{}}'),
        (b'{"model":null}', b'{"model":"m","ainfera":{}}'),
        (b'{"ainfera":{"theirs":1},"model":"x"}', b'{"ainfera":{},"model":"m"}'),
        (b'{"model":"a","x":"\\ud800","model":"b"}', b'{"model":"m","x":"\\ud800","model":"m","ainfera":{}}'),
    ],
)
def test_splices_of_odd_answers(body: bytes, expected: bytes) -> None:
    assert splice_answer(body, "m", b"{}") == expected


def test_half_a_surrogate_from_a_provider_is_carried_and_never_breaks_the_flat_form() -> None:
    body = b'{"choices":[{"message":{"content":"a\\ud83d"},"finish_reason":"stop"}],"model":"x"}'
    read = read_answer(body)
    flat = whole_flat(read, closing(Usage(1, 1)))
    assert json.loads(flat)["content"] == "a\ufffd"
    assert splice_answer(body, "m", b"{}") == body.replace(b'"x"', b'"m","ainfera":{}')


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 5}, Usage(5)),
        ({"prompt_tokens": -1, "completion_tokens": "7"}, None),
        ({"prompt_tokens": True, "completion_tokens": 2.0}, Usage(None, 2)),
        ({"prompt_tokens": 2**60, "completion_tokens": 1}, Usage(None, 1)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}, Usage(9, 1, 8)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 3}}, Usage(9, None, None, 3)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, reasoning_tokens=100),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 105,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, reasoning_tokens=100),
        ),
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, Usage(20, 603, reasoning_tokens=405)),
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 0}, Usage(20, 198)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(10, 5, reasoning_tokens=3),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"audio_tokens": 2},
                "completion_tokens_details": {"audio_tokens": 3},
            },
            Usage(9, 4, audio_input_tokens=2, audio_output_tokens=3),
        ),
    ],
)
def test_usage_as_providers_report_it(sent: Any, read: Usage | None) -> None:
    assert read_usage(sent) == read


def test_usage_merges_by_the_larger_and_never_doubles() -> None:
    first, last = Usage(10, 3, 4), Usage(10, 9, None, None, 2)
    assert merge(first, last) == Usage(10, 9, 4, None, 2)
    assert merge(last, last) == last
    assert merge(None, first) == merge(first, None) == first
    assert merge(None, None) is None
    assert merge(Usage(0, None), Usage(None, 0)) == Usage(0, 0)
    assert Usage(0, 0).known
    assert not Usage(5, None).known


def test_the_usage_object_reads_back() -> None:
    for usage in (Usage(3, 4), Usage(3, 4, 1, 2, 3, audio_input_tokens=1, audio_output_tokens=0)):
        assert read_usage(usage_object(usage)) == usage


@pytest.mark.parametrize("identity", [{}, {"id": ""}, {"id": "", "index": 0}, {"id": "same", "index": 0}])
def test_calls_of_a_plain_answer_never_merge(identity: dict[str, Any]) -> None:
    calls = [{**identity, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    response = read_answer(json.dumps(body).encode()).response
    assert [(call.name, call.arguments) for call in response.tool_calls] == [("f", "{}"), ("g", "{}")]
