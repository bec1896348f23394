"""The provider simulator: its answers through the official SDK, its log, and who directs it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.simulator.log import AttemptLog
from tests.simulator.openai_answer import echo_text
from tests.simulator.process import Simulator
from tests.simulator.raw import (
    WEATHER,
    ask,
    connect,
    last_seen,
    request_bytes,
)
from tests.simulator.script import PLAIN, DirectiveError, RuleSpec, Script, merge, parse_block
from tests.simulator.speech import count_tokens, split_tokens


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.clear_script()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="sk-simulated-abcd", base_url=simulator.base_url, max_retries=0, timeout=60) as made:
        yield made


# Well-behaved answers, through the official SDK.


def test_plain_answer_usage_and_unknown_member(client: openai.OpenAI, simulator: Simulator) -> None:
    messages = ask("Grüße, how are you?")
    answer = client.chat.completions.create(model="any/model", messages=messages)
    text = echo_text(messages)
    assert answer.choices[0].message.content == text == "Echo of message 1: Grüße, how are you?"
    assert (answer.id[:9], answer.object, answer.model) == ("chatcmpl-", "chat.completion", "any/model")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.completion_tokens == count_tokens(text)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details and answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.model_extra and answer.model_extra["x_provider_note"]["model"] == "not-the-model"
    seen = last_seen(simulator)
    assert seen.begin["key_suffix"] == "abcd"
    assert "authorization" in seen.begin["headers"] and "abcd" not in json.dumps(seen.begin["headers"])
    assert (seen.outcome, seen.end["status"], seen.end["usage"]["total_tokens"]) == (
        "complete",
        200,
        answer.usage.total_tokens,
    )


def test_max_tokens_cuts_and_stop_and_n_are_honoured(client: openai.OpenAI) -> None:
    limits: list[dict[str, Any]] = [{"max_tokens": 3}, {"max_completion_tokens": 3}]
    for limit in limits:
        answer = client.chat.completions.create(model="m", messages=ask("hello"), **limit)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Echo of message", "length")
        assert answer.usage and answer.usage.completion_tokens == 3
    answer = client.chat.completions.create(model="m", messages=ask("one two three"), stop=["two"], n=2)
    assert [choice.message.content for choice in answer.choices] == ["Echo of message 1: one "] * 2


@pytest.mark.parametrize("include_usage", [True, False])
def test_stream_says_what_the_plain_answer_says(client: openai.OpenAI, include_usage: bool) -> None:
    messages = ask("stream this, please")
    options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True, **options))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == echo_text(messages)
    finished = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert finished == ["stop"]
    bills = [(chunk.usage.completion_tokens, chunk.choices) for chunk in chunks if chunk.usage]
    assert bills == ([(count_tokens(echo_text(messages)), [])] if include_usage else [])
    assert bool(chunks[-1].choices) is not include_usage


def test_parallel_tool_calls_plain_streamed_and_their_results(client: openai.OpenAI) -> None:
    messages = ask("What is the weather in two cities?")
    tools: Any = [WEATHER]
    plain = client.chat.completions.create(model="m", messages=messages, tools=tools).choices[0]
    assert plain.finish_reason == "tool_calls" and plain.message.content is None
    calls: Any = plain.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "Paris", "days": 1},
        {"city": "Oslo", "days": 2},
    ]
    for directive in ("", " [[sim:interleave]]"):
        asked = ask(messages[0]["content"] + directive)
        joined: dict[int, str] = {}
        order: list[int] = []
        for chunk in client.chat.completions.create(model="m", messages=asked, tools=tools, stream=True):
            for part in chunk.choices[0].delta.tool_calls or []:
                assert part.function is not None
                joined[part.index] = joined.get(part.index, "") + (part.function.arguments or "")
                order.append(part.index)
        assert list(joined.values()) == [call.function.arguments for call in calls]
        assert (order == sorted(order)) is (directive == "") and len(order) > 6
    history = [*messages, plain.message.model_dump(exclude_none=True)]
    history[-1].pop("annotations", None)
    history += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    final = client.chat.completions.create(model="m", messages=history, tools=tools).choices[0]
    assert (final.message.content, final.finish_reason) == ("The tools say: sunny | sunny", "stop")


def test_forced_tool_and_parallel_off(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER, {"type": "function", "function": {"name": "other"}}]
    forced: Any = {"type": "function", "function": {"name": "other"}}
    answer = client.chat.completions.create(model="m", messages=ask("hello"), tools=tools, tool_choice=forced)
    assert [c.function.name for c in answer.choices[0].message.tool_calls or []] == ["other"]  # type: ignore[union-attr]
    text = "weather in two cities"
    one = client.chat.completions.create(model="m", messages=ask(text), tools=tools, parallel_tool_calls=False)
    assert len(one.choices[0].message.tool_calls or []) == 1
    none = client.chat.completions.create(model="m", messages=ask(text), tools=tools, tool_choice="none")
    assert none.choices[0].message.tool_calls is None


def test_models_and_unknown_model(tmp_path: Path) -> None:
    with Simulator(tmp_path, models=["m1", "m2"]) as simulator:
        with openai.OpenAI(api_key="k", base_url=simulator.base_url, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["m1", "m2"]
            assert client.models.retrieve("m2").id == "m2"
            with pytest.raises(openai.NotFoundError) as caught:
                client.chat.completions.create(model="m3", messages=ask("x"))
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert simulator.seen()[-1].begin["refused"] == 404
        assert simulator.control("GET", "/v1/models")[0] == 401
        assert simulator.control("GET", "/health") == (200, {"status": "ok"})


# The log.


def test_the_line_is_there_when_the_answer_is_even_after_a_crash(tmp_path: Path) -> None:
    with Simulator(tmp_path) as simulator, connect(simulator) as sock:
        sock.sendall(request_bytes(simulator, {"model": "m", "messages": ask("[[sim:stall_after=0]]")}, "attempt-1"))
        assert sock.recv(12) == b"HTTP/1.1 200"
        simulator.kill()
        (seen,) = simulator.attempts()["attempt-1"]
        assert (seen.begin["model"], seen.begin["stream"], seen.outcome) == ("m", False, None)
        assert re.fullmatch("[0-9a-f]{64}", seen.begin["body_sha256"])


def test_nothing_is_answered_before_the_disk_has_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    on_disk = threading.Event()

    def slow_fsync(_: int) -> None:
        on_disk.wait(60)
        steps.append("fsync " + (tmp_path / "log").read_text().strip())

    monkeypatch.setattr(os, "fsync", slow_fsync)

    async def scenario() -> None:
        log = AttemptLog(tmp_path / "log", fsync=True)
        begun = asyncio.create_task(log.begin({"attempt": "a"}))
        done, _ = await asyncio.wait({begun}, timeout=0.05)
        assert not done
        on_disk.set()
        await begun
        steps.append("answer")
        log.close()

    asyncio.run(scenario())
    assert steps == ['fsync {"attempt":"a"}', "answer"]


def test_a_client_that_leaves_is_recorded_with_the_events_it_got(simulator: Simulator) -> None:
    body = {"model": "m", "stream": True, "messages": ask("[[sim:wait_ack]] a b c d e")}
    with connect(simulator) as sock:
        sock.sendall(request_bytes(simulator, body, "leaver"))
        received, acks = b"", 0
        while received.count(b"data: ") < 3:
            received += sock.recv(65536)
            if acks < received.count(b"data: ") < 3:
                acks += 1
                simulator.ack("leaver")
    seen = last_seen(simulator)
    assert (seen.outcome, seen.end["usage"]) == ("client_gone", None)
    assert seen.end["events"] == received.count(b"data: ")
    assert simulator.live() == []


# Who directs.


def test_rules_are_used_in_order_before_directives(client: openai.OpenAI, simulator: Simulator) -> None:
    def status(model: str, text: str = "x") -> int:
        try:
            client.chat.completions.create(model=model, messages=ask(text))
        except openai.APIStatusError as error:
            return error.status_code
        return 200

    simulator.script("503", model="a*", nth=2)
    simulator.script("429 retry_after=1", times=2, model="b")
    assert [status("a1"), status("a2"), status("a3")] == [200, 503, 200]
    assert [status("b", "[[sim:500]]") for _ in range(3)] == [429, 429, 500]
    with pytest.raises(ValueError, match="unknown directive 'explode'"):
        simulator.script("explode")
    with pytest.raises(ValueError, match="modle"):
        simulator.script("500", modle="x")
    assert status("m", "[[sim:nonsense]]") == 400


def test_blocks_limited_to_a_model_and_to_times() -> None:
    script = Script()
    text = "[[sim:429 on=gpt-*]] [[sim:pace=5 times=1]] call 7"
    assert script.choose("gpt-5", "/p", True, "k", text) == merge([parse_block("429 pace=5")])
    assert script.choose("gpt-5", "/p", True, "k", text) == merge([parse_block("429")])
    assert script.choose("grok-4", "/p", True, "k", text) == PLAIN
    script.add(RuleSpec(do=["reset"], times=0))
    assert {script.choose("m", "/p", True, "k", "x").reset_after for _ in range(3)} == {-1}


@pytest.mark.parametrize("bad", ["pace", "pace=fast", "usage=odd", "crlf=2", "truncate=soon", "times=x", "42"])
def test_misspelt_directives_are_refused(bad: str) -> None:
    with pytest.raises(DirectiveError):
        parse_block(bad)


def test_tokens_join_to_the_text() -> None:
    for text in ("Hello, wörld!", "  a\n\nb  ", "", "日本 x_y 3.5", "a\u200bb"):
        assert "".join(split_tokens(text)) == text


def test_requests_on_one_connection_are_answered_in_order(simulator: Simulator) -> None:
    sent = [{"model": f"m{n}", "messages": ask("[[sim:slow=20]]" if n == 0 else "x")} for n in range(3)]
    with connect(simulator) as sock:
        sock.sendall(b"".join(request_bytes(simulator, body) for body in sent))
        received = b""
        while received.count(b'"not-the-model"') < 3:
            received += sock.recv(65536)
    assert re.findall(rb'"model":"(m\d)"', received) == [b"m0", b"m1", b"m2"]
