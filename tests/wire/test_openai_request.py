from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from ainfera_gateway.canonical.conversation import Choice
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import Caps, RoutingHint
from ainfera_gateway.wire.openai_chat.conversation import read_conversation
from ainfera_gateway.wire.openai_chat.request import parse, upstream_body
from tests.wire.golden_files import golden

MINIMAL: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def body(**extra: Any) -> bytes:
    return json.dumps(MINIMAL | extra).encode()


def raw(extra: str) -> bytes:
    return body()[:-1] + b"," + extra.encode() + b"}"


def test_a_request_of_an_agent_is_read_whole() -> None:
    parsed = parse(golden("agent_request.json"), flat=False)
    request = parsed.request
    assert (request.model, request.agent_id, request.task_type) == (
        "ainfera-inference",
        "0199f6b0-0000-7000-8000-000000000001",
        "tool_use",
    )
    assert [message.role for message in parsed.fields.messages] == ["system", "user", "assistant", "tool"]
    parts = parsed.fields.messages[1].content
    assert isinstance(parts, tuple)
    assert [part.type for part in parts] == ["text", "future_part"]
    assert parts[0].text == "naïve 🚀 {[("
    calls = parsed.fields.messages[2].tool_calls
    assert calls is not None
    assert calls[0].function is not None
    assert calls[0].function.arguments == '{"model":"x"}'
    assert (request.max_tokens, parsed.fields.max_completion_tokens, parsed.fields.max_tokens) == (256, 256, None)
    assert request.routing_hint == RoutingHint(
        min_quality=Decimal("0.58"),
        budget_cap_picousd=50_000_000_001,
        latency_cap_ms=4000,
        context={"region": "eu", "risk": Decimal("0.25")},
    )
    assert request.caps == Caps(budget_picousd=20_000_000_000, latency_ms=9000)
    assert (request.budget_cap_picousd, request.latency_cap_ms) == (20_000_000_000, 4000)
    assert request.tags == ("night", "batch")
    assert (request.stream, request.include_usage) == (True, False)
    assert request.needs == {"tools"}


def test_what_goes_upstream_is_the_callers_bytes_but_for_the_splices() -> None:
    parsed = parse(golden("agent_request.json"), flat=True)
    sent = upstream_body(
        parsed, model="mistral-large-latest", max_tokens=128, max_tokens_field="max_tokens", ask_usage=True
    )
    assert sent == golden("agent_request.upstream.json")


def test_a_request_that_asks_for_nothing_special_changes_in_two_places() -> None:
    sent = b'{"max_tokens":7, "messages":[{"role":"user","content":"hi"}],"model":"a","metadata":{"tags":["t"]}}'
    parsed = parse(sent, flat=False)
    out = upstream_body(parsed, model='b"é', max_tokens=5, max_tokens_field="max_tokens", ask_usage=True)
    assert out == '{"max_tokens":5, "messages":[{"role":"user","content":"hi"}],"model":"b\\"é"}'.encode()


def test_the_other_limit_goes_and_what_a_provider_refuses_is_dropped() -> None:
    parsed = parse(body(max_tokens=9, max_completion_tokens=9, stream=True, seed=1, n_predict=4), flat=False)
    assert parsed.request.max_tokens == 9
    out = upstream_body(
        parsed,
        model="b",
        max_tokens=5,
        max_tokens_field="max_completion_tokens",
        drop=frozenset({"seed", "n_predict", "stream_options", "absent"}),
        ask_usage=False,
    )
    assert json.loads(out) == {**MINIMAL, "model": "b", "max_completion_tokens": 5, "stream": True}


def test_usage_is_asked_only_of_a_stream() -> None:
    def options(**extra: Any) -> Any:
        parsed = parse(body(**extra), flat=False)
        out = upstream_body(parsed, model="b", max_tokens=1, max_tokens_field="max_tokens", ask_usage=True)
        return json.loads(out).get("stream_options")

    assert options() is None
    assert options(stream=False) is None
    assert options(stream=True) == {"include_usage": True}
    assert options(stream=True, stream_options=None) == {"include_usage": True}
    assert options(stream=True, stream_options={"include_usage": False, "x": 1}) == {"include_usage": True, "x": 1}


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (b"", None),
        (b" \n", None),
        (b"[]", None),
        (b'"x"', None),
        (b"{", None),
        (body() + b"x", None),
        (b"\xef\xbb\xbf" + body(), None),
        (b"{}", "model"),
        (b'{"model":"m"}', "messages"),
        (body(model=""), "model"),
        (body(model=3), "model"),
        (body(model="m" * 257), "model"),
        (body(messages=[]), "messages"),
        (body(messages={}), "messages"),
        (body(messages=[3]), "messages[0]"),
        (body(messages=[{"content": "x"}]), "messages[0].role"),
        (body(messages=[{"role": "boss", "content": "x"}]), "messages[0].role"),
        (body(messages=[*MINIMAL["messages"], {"role": "user"}]), "messages[1].content"),
        (body(messages=[{"role": "system", "content": None}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": 3}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": [{"text": "x"}]}]), "messages[0].content[0].type"),
        (
            body(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (body(tools=[{"type": "function", "function": {"name": 1}}]), "tools[0].function.name"),
        (body(tools={}), "tools"),
        (body(tool_choice=3), "tool_choice"),
        (body(tool_choice={"name": "f"}), "tool_choice.type"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens=-5), "max_tokens"),
        (body(max_tokens=2**31 + 1), "max_tokens"),
        (body(max_tokens=10**30), "max_tokens"),
        (body(max_tokens=1.5), "max_tokens"),
        (body(max_tokens="9"), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        (body(max_completion_tokens=0), "max_completion_tokens"),
        (body(max_tokens=1, max_completion_tokens=2), "max_completion_tokens"),
        (body(temperature=2.1), "temperature"),
        (body(temperature=-0.1), "temperature"),
        (body(top_p=1.5), "top_p"),
        (body(n=0), "n"),
        (body(n=129), "n"),
        (body(stop=[1]), "stop[0]"),
        (body(stream="yes"), "stream"),
        (body(stream_options=[]), "stream_options"),
        (body(stream_options={"include_usage": 1}), "stream_options.include_usage"),
        (body(response_format="json"), "response_format"),
        (raw('"stream_options":{"a":1,"a":2}'), "stream_options.a"),
        (raw('"metadata":{"tags":["a"],"tags":["b"]}'), "metadata.tags"),
        (raw('"model":"other"'), "model"),
        (raw('"mod\\u0065l":"other"'), "model"),
        (raw('"MODEL":"other"'), "MODEL"),
        (raw('"Max_Tokens":9'), "Max_Tokens"),
        (raw('"\u017ftream":true'), "\u017ftream"),
        (raw('"temperature":NaN'), "temperature"),
        (raw('"temperature":1e999'), "temperature"),
        (raw('"x":[1,Infinity]'), "x[1]"),
        (raw('"x":{"y":"\\ud800"}'), "x.y"),
        (raw('"x":"\\u0000"'), "x"),
        (body()[:-1] + b',"x":"\xff"}', "x"),
        (raw('"x":' + "[" * 64 + "]" * 64), None),
        (raw('"x":' + "[" * 100_000), None),
        (body(agent_id=""), "agent_id"),
        (body(agent_id=7), "agent_id"),
        (body(task_type="poetry"), "task_type"),
        (body(routing_hint=[]), "routing_hint"),
        (body(routing_hint={"budget_cap": 1}), "routing_hint.budget_cap"),
        (body(routing_hint={"min_quality": 1.01}), "routing_hint.min_quality"),
        (body(routing_hint={"min_quality": "NaN"}), "routing_hint.min_quality"),
        (body(routing_hint={"min_quality": True}), "routing_hint.min_quality"),
        (body(routing_hint={"agentic_floor": -1}), "routing_hint.agentic_floor"),
        (body(routing_hint={"latency_cap_ms": 0}), "routing_hint.latency_cap_ms"),
        (body(routing_hint={"preset": "fastest"}), "routing_hint.preset"),
        (body(routing_hint={"budget_cap_usd": -1}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"budget_cap_usd": "-0.01"}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"budget_cap_usd": "1e30"}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"budget_cap_usd": "Infinity"}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"budget_cap_usd": "five"}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"budget_cap_usd": 1_000_001}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"budget_cap_usd": "0.0000000000001"}), "routing_hint.budget_cap_usd"),
        (body(routing_hint={"context": 3}), "routing_hint.context"),
        (body(routing_hint={"context": {"a": {}}}), "routing_hint.context.a"),
        (body(routing_hint={"context": {"a": [1, [2]]}}), "routing_hint.context.a[1]"),
        (body(routing_hint={"context": {"a": [1] * 65}}), "routing_hint.context.a"),
        (body(routing_hint={"context": {str(n): n for n in range(65)}}), "routing_hint.context"),
        (body(routing_hint={"context": {"a": "x" * 1025}}), "routing_hint.context.a"),
        (body(caps={"budget": True}), "caps.budget"),
        (body(caps={"budget": [1]}), "caps.budget"),
        (body(caps={"usd": 1}), "caps.usd"),
        (body(caps={"latency_ms": 86_400_001}), "caps.latency_ms"),
        (body(metadata=3), "metadata"),
        (body(metadata={"tags": [1]}), "metadata.tags[0]"),
        (body(metadata={"tags": [""]}), "metadata.tags[0]"),
        (body(metadata={"tags": ["t"] * 33}), "metadata.tags"),
    ],
)
def test_bad_input_is_refused_by_field(sent: bytes, field: str | None) -> None:
    with pytest.raises(ParseError) as refused:
        parse(sent, flat=False)
    assert refused.value.field == field
    assert refused.value.code == "invalid_request"
    assert (field or "body") in refused.value.message
    with pytest.raises(ParseError) as refused_flat:
        parse(sent, flat=True)
    assert (refused_flat.value.field, refused_flat.value.code) == (field, "validation_error")


@pytest.mark.parametrize(
    ("number", "picousd"),
    [
        ("0.1", 100_000_000_000),
        ('"0.1"', 100_000_000_000),
        ("0.000000000001", 1),
        ("1e-12", 1),
        ("3", 3_000_000_000_000),
        ("0", 0),
        ("0.30000000000000000", 300_000_000_000),
    ],
)
def test_money_is_exact_as_text_or_number(number: str, picousd: int) -> None:
    request = parse(raw(f'"caps":{{"budget":{number}}}'), flat=False).request
    assert request.budget_cap_picousd == picousd


def test_null_means_not_said() -> None:
    names = [
        "tools",
        "tool_choice",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "stream",
        "stream_options",
        "n",
        "response_format",
        "agent_id",
        "routing_hint",
        "task_type",
        "caps",
        "metadata",
        "modalities",
        "functions",
        "function_call",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "logprobs",
        "top_logprobs",
        "user",
        "safety_identifier",
    ]
    said_nothing = parse(body(**dict.fromkeys(names)), flat=False).request
    assert said_nothing == parse(body(), flat=False).request
    conversation = read_conversation(parse(body(**dict.fromkeys([*names, "unknown"])), flat=False))
    assert conversation == read_conversation(parse(body(), flat=False))


@pytest.mark.parametrize(
    ("extra", "needs"),
    [
        ({}, set()),
        ({"tool_choice": "auto", "tools": []}, set()),
        ({"tools": [{"type": "web_search"}]}, {"tools"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, {"structured_output"}),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}, {"vision"}),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}]}, {"vision"}),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, {"documents"}),
        ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}, {"tools"}),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, {"tools"}),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]}, {"tools"}),
    ],
)
def test_needs_follow_from_what_is_sent(extra: dict[str, Any], needs: set[str]) -> None:
    assert parse(body(**extra), flat=False).request.needs == needs


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("auto", Choice("auto")),
        ("none", Choice("none")),
        ("required", Choice("required")),
        ({"type": "function", "function": {"name": "f"}}, Choice("named", "f")),
        ({"type": "function", "name": "f"}, Choice("named", "f")),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, Choice("auto")),
    ],
)
def test_tool_choice_forms(sent: Any, read: Choice) -> None:
    assert read_conversation(parse(body(tool_choice=sent), flat=False)).choice == read


def test_what_real_clients_send_beside_is_carried() -> None:
    sent = body(
        include=[],
        store=True,
        prompt_cache_key="k",
        safety_identifier="s",
        parallel_tool_calls=True,
        user="u",
        max_tokens=128000,
        metadata={"user_id": '{"a":1}'},
        stop="END",
        service_tier="flex",
        models=["x"],
    )
    parsed = parse(sent, flat=False)
    assert (parsed.request.tags, read_conversation(parsed).stop) == ((), ("END",))
    out = upstream_body(parsed, model="m", max_tokens=128000, max_tokens_field="max_tokens", ask_usage=True)
    assert out == sent
