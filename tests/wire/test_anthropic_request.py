"""What is read of a messages request beside its golden cases: weight, counting, ids, generations of models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.anthropic_messages.count import count_answer, count_tokens_body, read_count
from ainfera_gateway.wire.anthropic_messages.generations import Abilities, abilities
from ainfera_gateway.wire.anthropic_messages.request import ThreadUnsupportedError, parse, parse_count_tokens
from ainfera_gateway.wire.anthropic_messages.tool_ids import split_thought, valid_id, with_thought
from ainfera_gateway.wire.anthropic_messages.upstream import upstream_body

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 5000}}


def body(*content: Any, **more: Any) -> bytes:
    messages = [{"role": "user", "content": list(content) or "Hello"}]
    return json.dumps({"model": "m", "max_tokens": 64, "messages": messages} | more).encode()


def test_a_request_without_media_weighs_what_it_says() -> None:
    weight = parse(body(system="Be brief", tools=[{"name": "f", "input_schema": {}}])).weigh()
    assert weight.messages == 1
    assert weight.media == ()
    assert weight.text == b'[{"role": "user", "content": "Hello"}]"Be brief"[{"name": "f", "input_schema": {}}]'


def test_media_weigh_by_the_piece_wherever_they_stand() -> None:
    text_file = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "w"}}
    inside = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "in"}, PNG]}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "out"}, PNG]}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "B" * 5000}}
    weight = parse(body({"type": "text", "text": "see"}, PNG, text_file, inside, result, pdf)).weigh()
    assert [one.kind for one in weight.media] == ["image", "image", "image", "document"]
    assert weight.text.count(b'"data": ""') == 4, "all the rest is as it was sent"
    assert b"AAAA" not in weight.text
    assert b"BBBB" not in weight.text
    for told in (b"see", b"T", b"w", b"in", b"out"):
        assert told in weight.text


def test_counting_needs_no_limit_and_changes_only_the_model() -> None:
    sent = b'{"model":"m" , "messages":[{"role":"user","content":"h\\u00e9"}],"system":"s","agent_id":"a"}'
    parsed = parse_count_tokens(sent)
    assert parsed.request.max_tokens is None
    expected = b'{"model":"claude-opus-4-7" , "messages":[{"role":"user","content":"h\\u00e9"}],"system":"s"}'
    assert count_tokens_body(parsed, model="claude-opus-4-7") == expected
    with pytest.raises(ParseError, match="max_tokens is required"):
        parse(sent)
    with pytest.raises(ThreadUnsupportedError):
        parse_count_tokens(b'{"model":"m","thread":{"type":"create"},"messages":[]}')


def test_counting_leaves_foreign_marks_out_as_a_call_does() -> None:
    sent = b'{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":%s}]}'
    content = b'[{"type":"thinking","thinking":"x","signature":""},{"type":"text","text":"a"}]'
    made = count_tokens_body(parse_count_tokens(sent % content), model="m")
    assert made == sent % b'[{"type":"text","text":"a"}]'


def test_a_count_is_written_and_read() -> None:
    assert read_count(count_answer(17)) == 17
    for senseless in (b"", b"[]", b'{"input_tokens":-1}', b'{"input_tokens":true}', b'{"input_tokens":"7"}', b"{}"):
        assert read_count(senseless) is None


@pytest.mark.parametrize("call_id", ["toolu_01", "functions.get:0", "é", "a b", "a.b", "a:b", "x" * 200])
def test_ids_become_valid_and_stay_their_own(call_id: str) -> None:
    made = valid_id(call_id)
    assert made == valid_id(call_id) == valid_id(made)
    assert made.replace("_", "").replace("-", "").isalnum() and made.isascii()
    assert made == call_id if call_id in {"toolu_01", "x" * 200} else made != call_id


def test_ids_that_differ_only_in_forbidden_letters_stay_apart() -> None:
    assert len({valid_id(text) for text in ("a.b", "a:b", "a b", "a_b", "a/b")}) == 5


@pytest.mark.parametrize("signature", ["sig-1", "CsYBAdHtim9+/=", "é🚀", "a__thought__b"])
def test_a_signature_rides_in_an_id_and_gets_off_again(signature: str) -> None:
    packed = with_thought("call_9", signature)
    assert split_thought(packed) == ("call_9", signature)
    assert valid_id(packed) == packed


@pytest.mark.parametrize("call_id", ["call_9", "a__thought__", "a__thought__é", "a__thought__/w", "a__thought___w"])
def test_an_id_without_a_signature_is_itself(call_id: str) -> None:
    assert split_thought(call_id) == (call_id, None)


def test_a_repeated_content_is_mended_where_it_counts() -> None:
    sent = (
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"},'
        b'{"role":"assistant","content":"x","content":[{"type":"tool_use","id":"a.b","name":"f","input":{}}]}]}'
    )
    written = upstream_body(parse(sent), model="m", max_tokens=9)
    assert json.loads(written.body)["messages"][1]["content"][0]["id"] == valid_id("a.b")
    assert written.dropped == ("messages[1].content[0].id",)


OLD = Abilities(budget=True, adaptive=False, sampling=True)
BETWEEN = Abilities(budget=True, adaptive=True, sampling=True)
NEW = Abilities(budget=False, adaptive=True, sampling=False)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-3-5-haiku-20241022", OLD),
        ("claude-3-7-sonnet-latest", OLD),
        ("claude-2.1", OLD),
        ("claude-opus-4-20250514", OLD),
        ("claude-sonnet-4-5-20250929", OLD),
        ("claude-haiku-4-5", OLD),
        ("anthropic.claude-opus-4-5-20251101-v1:0", OLD),
        ("claude-opus-4-6", BETWEEN),
        ("anthropic/claude-sonnet-4.6", BETWEEN),
        ("claude-opus-4-7", NEW),
        ("claude-opus-4-7-20260416", NEW),
        ("claude-sonnet-5", NEW),
        ("claude-fable-5-1", NEW),
    ],
)
def test_generations_take_what_their_maker_says(model: str, expected: Abilities) -> None:
    assert abilities(model) == expected
