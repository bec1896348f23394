"""The way through the house of a call that stays in the OpenAI dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.openai_chat.known_fields import known_fields, message_fields, refused_marks
from ainfera_gateway.wire.openai_chat.passage import ChatPassage
from ainfera_gateway.wire.openai_chat.request import parse
from ainfera_gateway.wire.openai_chat.upstream import write_upstream
from ainfera_gateway.wire.passage import Passage, Terms
from tests.wire.golden_files import golden
from tests.wire.openai_cases import closing

END = closing(Usage(82, 17))


def terms(provider: str = "openai", **extra: Any) -> Terms:
    return Terms(wire="openai_chat", provider=provider, slug="slug-1", upstream_model="up", max_tokens=9, **extra)


def body(**extra: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | extra).encode()


def passage(sent: bytes, to: Terms | None = None, *, flat: bool = False) -> Passage:
    return ChatPassage(parse(sent, flat=flat), to or terms())


def test_a_stream_goes_through() -> None:
    way = passage(
        body(stream=True, stream_options={"include_usage": True}, store=True), terms(drop_fields=frozenset({"store"}))
    )
    assert (way.path, way.dropped) == ("/chat/completions", ("store",))
    assert json.loads(way.body)["model"] == "up"
    reader = way.reader()
    stream = golden("stream_tools.sse")
    relayed = [way.relay(frame) for frame in reader.feed(stream) + reader.close()]
    written = b"".join(relayed) + way.finish(END)
    assert way.text_bytes == way.read_answer(golden("answer_tools.json")).text_bytes
    assert written.replace(b'"slug-1"', b'"gpt-5-5"') == golden("stream_tools.asked.sse")


def test_a_plain_answer_is_spliced_or_flat() -> None:
    sent = golden("answer_tools.json")
    chat = passage(body())
    whole = json.loads(chat.whole(chat.read_answer(sent), sent, END))
    assert (whole["model"], whole["ainfera"]["cost_usd"]) == ("slug-1", "0.000665")
    flat = passage(body(), flat=True)
    assert flat.whole(flat.read_answer(sent), sent, END) == golden("answer_tools.flat.json").replace(
        b"gpt-5-5", b"slug-1"
    )
    with pytest.raises(ParseError):
        chat.read_answer(b"<html>")


def test_a_native_stream_is_one_of_chunks() -> None:
    way = passage(body(stream=True), flat=True)
    (frame,) = way.reader().feed(b'data: {"model":"up","choices":[{"delta":{"content":"a"}}]}\n\n')
    assert way.relay(frame) == b'data: {"model":"slug-1","choices":[{"delta":{"content":"a"}}]}\n\n'
    assert way.finish(END) == b"data: [DONE]\n\n"


PROVIDERS = (
    "openai",
    "anthropic",
    "gemini",
    "mistral",
    "together",
    "xai",
    "groq",
    "deepseek",
    "fireworks",
    "openrouter",
    "cerebras",
    "azure",
    "local",
)


@pytest.mark.parametrize(
    ("name", "takers"),
    [
        ("extra_content", {"gemini"}),
        ("thinking_blocks", {"openrouter"}),
        ("reasoning_details", {"openrouter"}),
        ("reasoning_content", {"deepseek", "fireworks", "together", "openrouter"}),
        ("provider_specific_fields", set()),
    ],
)
def test_to_whom_what_vendors_add_may_go(name: str, takers: set[str]) -> None:
    value: dict[str, Any] = {"reasoning_content": "x", "thinking_blocks": [{"signature": "x"}]}
    sent = body(messages=[{"role": "assistant", "content": "a", name: value.get(name, {"google": {"s": "x"}})}])
    for provider in PROVIDERS:
        written = write_upstream(parse(sent, flat=False), terms(provider))
        assert (name.encode() in written.body) is (provider in takers)
        assert written.dropped == (() if provider in takers else (f"messages[0].{name}",))
        assert (name in refused_marks(provider)) is (provider not in takers)


def test_null_goes_without_a_word_and_repeats_are_all_taken() -> None:
    sent = b'{"model":"m","messages":[{"role":"assistant","content":"a","thinking_blocks":null, "x":1,"reasoning_content":"r","reasoning_content":"s"}]}'
    written = write_upstream(parse(sent, flat=False), terms())
    assert json.loads(written.body)["messages"] == [{"role": "assistant", "content": "a", "x": 1}]
    assert set(written.dropped) == {"messages[0].reasoning_content"}


def test_an_escaped_name_is_no_way_around() -> None:
    sent = (
        b'{"model":"m","messages":[{"role":"assistant","content":"a","thinking\\u005fblocks":[{"signature":"sig"}]}]}'
    )
    written = write_upstream(parse(sent, flat=False), terms())
    assert (b"sig" in written.body, written.dropped) == (False, ("messages[0].thinking_blocks",))


def test_only_the_member_that_has_to_change_does() -> None:
    sent = b'{ "x" : 1.0e2 ,"messages" : [ {"role": "user",  "content":"a"}, {"role":"assistant", "content" : "b" ,"reasoning_content":"r"} ] , "model":"m" }'
    written = write_upstream(parse(sent, flat=False), terms())
    assert written.body == (
        b'{ "x" : 1.0e2 ,"messages" : [{"role": "user",  "content":"a"},{"role":"assistant", "content" : "b"}]'
        b' , "model":"up","max_tokens":9 }'
    )


def test_mistral_keeps_a_seed_of_its_own() -> None:
    strict = terms("mistral", quirks=frozenset({"known_fields_only"}))
    both = write_upstream(parse(body(seed=1, random_seed=2), flat=False), strict)
    assert (json.loads(both.body)["random_seed"], both.dropped) == (2, ("seed",))
    null = write_upstream(parse(body(seed=None), flat=False), strict)
    assert (json.loads(null.body).get("random_seed"), null.dropped) == (None, ())


def test_strictness_is_the_rows_to_say() -> None:
    sent = parse(body(store=True, messages=[{"role": "user", "content": "a", "name": "n"}]), flat=False)
    assert write_upstream(sent, terms("mistral")).dropped == ()
    unknown = terms("new", quirks=frozenset({"known_fields_only", "known_message_fields_only", "nine_char_tool_ids"}))
    assert write_upstream(sent, unknown).dropped == ()
    assert known_fields("new") is None
    assert message_fields("mistral", frozenset()) is None
    for provider in ("mistral", "gemini", "groq", "cerebras"):
        assert {"model", "messages", "max_tokens", "stream", "tools", "tool_choice"} <= (
            known_fields(provider) or set()
        )


def test_odd_history_passes_as_it_is() -> None:
    strict = terms("mistral", quirks=frozenset({"nine_char_tool_ids", "known_message_fields_only"}))
    odd = [
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "t"}],
            "tool_calls": [{"id": None, "function": {"name": "f"}}],
        }
    ]
    sent = body(messages=odd)
    written = write_upstream(parse(sent, flat=False), strict)
    assert json.loads(written.body)["messages"] == odd
