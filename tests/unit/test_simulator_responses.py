"""The simulator's Responses and embeddings: answers and events through the official SDK, and what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.simulator.dialect_embeddings import vector
from tests.simulator.process import Simulator
from tests.simulator.raw import last_seen, named_events, post, raw
from tests.simulator.signatures import envelope
from tests.simulator.speech import count_tokens

PATH = "/openai/v1/responses"
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


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
    base = f"{simulator.root_url}/openai/v1"
    with openai.OpenAI(api_key="sk-simulated", base_url=base, max_retries=0, timeout=60) as made:
        yield made


def stream_of(simulator: Simulator, directive: str, **fields: Any) -> list[dict[str, Any]]:
    return named_events(raw(simulator, directive, stream=True, path=PATH, **fields)[0])


def test_plain_answer_and_its_usage(client: openai.OpenAI, simulator: Simulator) -> None:
    answer = client.responses.create(
        model="m", input="Grüße [[sim:cached=2 cache_write=1 reasoning=3]]", instructions="Be brief."
    )
    assert (answer.output_text, answer.status) == ("Echo of message 1: Grüße", "completed")
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.usage is not None
    details = answer.usage.input_tokens_details
    assert (details.cached_tokens, details.cache_write_tokens) == (2, 1)
    assert answer.usage.output_tokens == count_tokens(answer.output_text) + 3
    assert answer.usage.output_tokens_details.reasoning_tokens == 3
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert last_seen(simulator).begin["dialect"] == "openai_responses"


def test_events_of_a_stream_in_order(simulator: Simulator) -> None:
    frames = stream_of(simulator, "text=one%20two reasoning=2", reasoning={"effort": "low", "summary": "auto"})
    names = [frame["type"].removeprefix("response.") for frame in frames]
    summary = [f"reasoning_summary_{name}" for name in ("part.added", *["text.delta"] * 5, "text.done", "part.done")]
    text = ["content_part.added", *["output_text.delta"] * 2, "output_text.done", "content_part.done"]
    assert names == [
        "created", "in_progress",
        "output_item.added", *summary, "output_item.done",
        "output_item.added", *text, "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert frames[-1]["response"]["usage"]["output_tokens"] == 4


def test_a_stream_folds_to_the_plain_answer(client: openai.OpenAI) -> None:
    asked: Any = {"model": "m", "input": "weather in two cities", "tools": [TOOL]}
    plain = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        folded = stream.get_final_response()
    made = [item.to_dict() for item in plain.output]
    assert [{**item.to_dict(), "parsed_arguments": None} for item in folded.output] == [
        {**item, "parsed_arguments": None} for item in made
    ]
    assert [json.loads(str(item["arguments"])) for item in made] == [{"city": "Paris"}, {"city": "Oslo"}]
    results = [{"type": "function_call_output", "call_id": item["call_id"], "output": "sunny"} for item in made]
    said: Any = [{"role": "user", "content": "weather in two cities"}, *made, *results]
    assert client.responses.create(model="m", input=said, tools=asked["tools"]).output_text == (
        "The tools say: sunny | sunny"
    )


def test_every_end_of_an_answer(client: openai.OpenAI, simulator: Simulator) -> None:
    cut = client.responses.create(model="m", input="[[sim:big=40]]", max_output_tokens=16)
    assert (cut.status, cut.incomplete_details and cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    filtered = client.responses.create(model="m", input="[[sim:content_filter]]")
    assert filtered.incomplete_details and filtered.incomplete_details.reason == "content_filter"
    failed = client.responses.create(model="m", input="[[sim:finish=error]]")
    assert (failed.status, failed.error and failed.error.code) == ("failed", "server_error")
    for directive, last in (("big=40", "incomplete"), ("finish=error", "failed")):
        assert stream_of(simulator, directive, max_output_tokens=16)[-1]["type"] == f"response.{last}"
    form: Any = {"format": {"type": "json_schema", "name": "f", "schema": {"properties": {"n": {"type": "integer"}}}}}
    assert json.loads(client.responses.create(model="m", input="x", text=form).output_text) == {"n": 1}


def test_misbehaviour(client: openai.OpenAI, simulator: Simulator) -> None:
    frames = stream_of(simulator, "error_after=3")
    assert (frames[-1]["type"], frames[-1]["code"], frames[-1]["sequence_number"]) == ("error", "server_error", 3)
    whole = [frame["type"] for frame in stream_of(simulator, "")]
    for directive in ("no_finish", "no_done"):
        assert [frame["type"] for frame in stream_of(simulator, f"truncate={directive}")] == whole[:-1]
    assert sum("x_future" in frame["type"] for frame in stream_of(simulator, "unknown_event")) == 1
    for told, used in (("missing", ...), ("null", None), ("zero", 0), ("string", "2"), ("overbilled", 1_000_002)):
        last = stream_of(simulator, f"text=one%20two usage={told}")[-1]["response"].get("usage", ...)
        assert (last["output_tokens"] if isinstance(last, dict) else last) == used
    ends = [frame["type"] for frame in stream_of(simulator, "usage=doubled")]
    assert ends[-2:] == ["response.completed"] * 2
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="m", input="[[sim:429]]")


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"max_tokens": 16}, "max_tokens", "unknown_parameter"),
        ({"max_output_tokens": 15}, "max_output_tokens", "integer_out_of_range"),
        ({"input": None}, "input", "invalid_type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type", None),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, None, "invalid_value"),
        ({"input": [{"role": "user", "content": "x", "name": "n"}]}, "input[0].name", "unknown_parameter"),
        ({"input": [OUTPUT]}, "input", "invalid_value"),
        ({"input": [CALL]}, "input", "invalid_value"),
        ({"input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"}]}, None,
         "invalid_encrypted_content"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].function", "unknown_parameter"),
        ({"tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "z"}}, "tool_choice", "invalid_value"),
        ({"text": {"format": {"type": "json_schema", "json_schema": {}}}}, None, "unknown_parameter"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
        ({"model": "gpt-5.5-pro", "tools": [TOOL]}, "tools", "unsupported_parameter"),
    ],
)  # fmt: skip
def test_what_the_provider_refuses(simulator: Simulator, changes: dict[str, Any], param: str, code: str) -> None:
    status, answer = post(simulator, PATH, {"model": "m", "input": "x", **changes})
    assert status == 400
    assert param is None or answer["error"]["param"] == param
    assert code is None or answer["error"]["code"] == code


def test_what_the_provider_takes(simulator: Simulator) -> None:
    thought = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": envelope("openai", "0" * 64)}
    parts = [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "https://a.example/b.png"}]
    body = {
        "model": "m", "store": False, "include": ["reasoning.encrypted_content"], "metadata": {}, "stream": False,
        "input": [{"role": "developer", "content": "d"}, {"type": "message", "role": "user", "content": parts},
                  thought, CALL, OUTPUT, {"role": "user", "content": "x"}],
        "tools": [TOOL, {"type": "web_search"}, {"type": "custom", "name": "c"}, {"type": "namespace", "name": "n"}],
        "reasoning": {"effort": "low", "summary": "auto"}, "client_metadata": {}, "prompt_cache_key": "k",
        "text": {"verbosity": "low"}, "parallel_tool_calls": True, "service_tier": "auto", "tool_choice": "auto",
    }  # fmt: skip
    status, answer = post(simulator, PATH, body)
    assert status == 200
    again = [*body["input"], *answer["output"], {"role": "user", "content": "and?"}]  # type: ignore[misc]
    assert post(simulator, PATH, {"model": "m", "input": again})[0] == 200
    assert post(simulator, PATH, {"model": "gpt-5.5-pro", "input": "x"})[0] == 200
    chat = {"model": "gpt-5.5-pro", "messages": [{"role": "user", "content": "x"}]}
    assert post(simulator, "/v1/chat/completions", chat)[0] == 404


# Embeddings.


def test_embeddings_are_unit_vectors_of_the_text_alone(client: openai.OpenAI, simulator: Simulator) -> None:
    packed = client.embeddings.create(model="e", input=["one two", "three"], dimensions=4)
    plain = client.embeddings.create(model="e", input="one two", dimensions=4, encoding_format="float")
    first = packed.data[0].embedding
    assert first == pytest.approx(plain.data[0].embedding) and first == pytest.approx(vector("one two", 4))
    assert math.hypot(*first) == pytest.approx(1.0) and first != packed.data[1].embedding
    assert (packed.usage.prompt_tokens, packed.usage.total_tokens) == (3, 3)
    assert client.embeddings.create(model="e", input=[[1, 2, 3], [4]]).usage.prompt_tokens == 4
    assert len(client.embeddings.create(model="e", input=[1, 2]).data) == 1
    assert last_seen(simulator).begin["dialect"] == "openai_embeddings"


def test_embeddings_refuse_and_misbehave(client: openai.OpenAI, simulator: Simulator) -> None:
    bad: list[dict[str, Any]] = [
        {"input": ""}, {"input": []}, {"input": [""]}, {"input": [1.5]}, {"input": {}}, {"encoding_format": "int8"},
        {"dimensions": 0}, {"stream": True}, {"input": ["x"] * 2049},
    ]  # fmt: skip
    for changes in bad:
        status, answer = post(simulator, "/v1/embeddings", {"model": "e", "input": "x", **changes})
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), changes
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="e", input=["[[sim:429]]", "x"])
    body = {"model": "e", "input": "x [[sim:usage=missing]]"}
    assert "usage" not in post(simulator, "/v1/embeddings", body)[1]
    assert post(simulator, "/mistral/v1/embeddings", {"model": "e", "input": "[[sim:500]]"})[1]["object"] == "error"
