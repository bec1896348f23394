"""The simulator's provider families: credentials, refusals in each one's error form, and the members each one adds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway_process import FAMILY_PATHS, family_environment
from tests.simulator.families import FAMILIES
from tests.simulator.process import Simulator
from tests.simulator.raw import WEATHER, ask, last_seen, post, raw, unchunked

PATHS = {name.lower(): f"{path}/chat/completions" for name, path in FAMILY_PATHS.items() if name != "ANTHROPIC"}
STRICT = ("openai", "mistral", "groq", "gemini", "cerebras", "azure")
LENIENT = ("xai", "deepseek", "openrouter", "together", "fireworks")


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.clear_script()


def call(simulator: Simulator, family: str, text: str = "x", **changes: Any) -> tuple[int, Any]:
    key = {"authorization": "", "api-key": "k"} if family == "azure" else {}
    return post(simulator, PATHS[family], {"model": "m", "messages": ask(text), **changes}, **key)


def chunks(simulator: Simulator, family: str, directive: str, **fields: Any) -> list[Any]:
    key = {"authorization": "", "api-key": "k"} if family == "azure" else {}
    received, _ = raw(simulator, directive, stream=True, path=PATHS[family], headers=key, **fields)
    lines = unchunked(received).decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def test_every_provider_of_the_gateway_has_its_family() -> None:
    assert {family.name for family in FAMILIES} | {"openai", "anthropic"} == {name.lower() for name in FAMILY_PATHS}
    made = family_environment("http://127.0.0.1:9/v1")
    assert made["GEMINI_BASE_URL"] == "http://127.0.0.1:9/gemini/v1beta/openai"
    assert all(made[f"{name}_API_KEY"] for name in FAMILY_PATHS)


@pytest.mark.parametrize("family", sorted(PATHS))
def test_the_key_must_come_in_the_providers_own_form(simulator: Simulator, family: str) -> None:
    assert call(simulator, family)[0] == 200
    assert last_seen(simulator).begin["dialect"] == family
    body = {"model": "m", "messages": ask("x")}
    wrong = {"authorization": "Bearer k"} if family == "azure" else {"authorization": "", "api-key": "k"}
    assert post(simulator, PATHS[family], body, **wrong)[0] == 401
    assert post(simulator, PATHS[family], body, authorization="", x_api_key="k")[0] == 401


@pytest.mark.parametrize("family", sorted(PATHS))
def test_what_another_provider_made_is_seen_and_refused_by_the_strict(simulator: Simulator, family: str) -> None:
    said = [*ask("x"), {"role": "assistant", "content": "y", "thinking_blocks": [{"signature": "s"}]}, *ask("z")]
    status = call(simulator, family, messages=said)[0]
    assert status == (422 if family == "mistral" else 400 if family in STRICT else 200)
    assert last_seen(simulator).begin["foreign"] == ["messages[1].thinking_blocks"]
    google = {"google": {"thought_signature": "s"}}
    turn = {
        "id": "abcdefghi",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": google,
    }
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "r"}
    said = [*ask("x"), {"role": "assistant", "content": None, "tool_calls": [turn]}, result]
    status, _ = call(simulator, family, messages=said)
    assert status == (422 if family == "mistral" else 400 if family in STRICT else 200)
    foreign = last_seen(simulator).begin.get("foreign")
    assert foreign == (None if family == "gemini" else ["messages[1].tool_calls[0].extra_content"])


@pytest.mark.parametrize("family", sorted(PATHS))
def test_unknown_names_at_the_top(simulator: Simulator, family: str) -> None:
    assert call(simulator, family, surprise=1)[0] == (422 if family == "mistral" else 400 if family in STRICT else 200)


@pytest.mark.parametrize(
    ("family", "path"),
    [
        ("openai", ["error", "message"]), ("mistral", ["message"]), ("groq", ["error", "message"]),
        ("gemini", [0, "error", "message"]), ("xai", ["error"]), ("deepseek", ["error", "message"]),
        ("openrouter", ["error", "message"]), ("together", ["error", "message"]), ("fireworks", ["error", "message"]),
        ("cerebras", ["message"]), ("azure", ["error", "message"]),
    ],
)  # fmt: skip
def test_error_forms(simulator: Simulator, family: str, path: list[Any]) -> None:
    status, answer = call(simulator, family, "[[sim:429 retry_after=1]]")
    for step in path:
        answer = answer[step]
    assert (status, answer) == (429, "The simulator was told to answer 429.")


def test_mistral(simulator: Simulator) -> None:
    status, answer = call(simulator, "mistral", stream=True, stream_options={"include_usage": True})
    detail = answer["message"]["detail"][0]
    assert (status, detail["type"], detail["loc"]) == (422, "extra_forbidden", ["body", "stream_options"])
    assert call(simulator, "mistral", max_completion_tokens=5)[0] == 422
    assert call(simulator, "mistral", messages=[{**ask("x")[0], "name": "n"}])[0] == 200
    assert call(simulator, "mistral", messages=[{**ask("x")[0], "extra": "n"}])[0] == 422
    assert call(simulator, "mistral", messages=[{"role": "developer", "content": "d"}, *ask("x")])[0] == 422
    last = chunks(simulator, "mistral", "text=hi")[-1]
    assert last["choices"][0]["finish_reason"] == "stop" and last["usage"]["completion_tokens"] == 1
    assert last_seen(simulator).end["usage"] == last["usage"]
    assert call(simulator, "mistral", "[[sim:finish=model_length]]")[1]["choices"][0]["finish_reason"] == "model_length"
    message = call(simulator, "mistral", "the weather", tools=[WEATHER])[1]["choices"][0]["message"]
    made = message["tool_calls"][0]
    assert re.fullmatch("[a-zA-Z0-9]{9}", made["id"])
    turn = {"role": "assistant", "tool_calls": [made]}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "sunny"}
    assert call(simulator, "mistral", messages=[*ask("x"), turn, result])[0] == 200
    long = {**made, "id": "call_0123456789"}
    said = [*ask("x"), {**turn, "tool_calls": [long]}, {**result, "tool_call_id": long["id"]}]
    assert call(simulator, "mistral", messages=said)[0] == 400
    assert call(simulator, "mistral", messages=[*ask("x"), {"role": "assistant", "content": "y"}])[0] == 400


def test_gemini(simulator: Simulator) -> None:
    streamed = chunks(simulator, "gemini", "text=", messages=ask("weather in two cities"), tools=[WEATHER])
    parts = [part for chunk in streamed for part in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [(part["index"], "thought_signature" in part["extra_content"]["google"]) for part in parts] == [
        (0, True)
    ] * 2
    absent = chunks(simulator, "gemini", "index=absent", messages=ask("weather in two cities"), tools=[WEATHER])
    assert not any("index" in p for c in absent for p in c["choices"][0]["delta"].get("tool_calls", []))
    made = call(simulator, "gemini", "weather", tools=[WEATHER])[1]["choices"][0]["message"]["tool_calls"][0]

    def again(returned: dict[str, Any], *after: Any) -> int:
        turn = {"role": "assistant", "content": None, "tool_calls": [returned]}
        result = {"role": "tool", "tool_call_id": returned["id"], "content": "sunny"}
        return call(simulator, "gemini", messages=[*ask("weather"), turn, result, *after], tools=[WEATHER])[0]

    assert again(made) == 200
    spaced = json.dumps(json.loads(made["function"]["arguments"]), indent=1)
    assert again({**made, "function": {**made["function"], "arguments": spaced}}) == 200
    without = {name: value for name, value in made.items() if name != "extra_content"}
    assert (again(without), again(without, *ask("and now?"))) == (400, 200)
    changed = {**made, "extra_content": {"google": {"thought_signature": "A" * 88}}}
    assert (again(changed), again(changed, *ask("and now?"))) == (400, 400)
    status, answer = call(simulator, "gemini", temperature=9)
    assert (status, answer[0]["error"]["code"], answer[0]["error"]["status"]) == (400, 400, "INVALID_ARGUMENT")


def test_groq_and_cerebras(simulator: Simulator) -> None:
    message = {**ask("x")[0], "extra": 1}
    for family, member in (("groq", "error"), ("cerebras", None)):
        status, answer = call(simulator, family, messages=[message])
        answer = answer[member] if member else answer
        assert (status, answer["message"]) == (400, "property 'messages[0].extra' is unsupported")
    streamed = chunks(simulator, "groq", "text=hi", stream_options={"include_usage": True})
    assert "id" in streamed[0]["x_groq"]
    assert streamed[-2]["x_groq"]["usage"] == streamed[-1]["usage"]
    assert "usage" not in chunks(simulator, "groq", "usage=missing")[-1]["x_groq"]
    assert (
        call(simulator, "groq", "[[sim:reasoning=2]]")[1]["choices"][0]["message"]["reasoning"] == "thought0 thought1"
    )


def test_deepseek_and_xai(simulator: Simulator) -> None:
    answer = call(simulator, "deepseek", "hello there [[sim:cached=2 reasoning=2]]")[1]
    assert answer["choices"][0]["message"]["reasoning_content"] == "thought0 thought1"
    usage = answer["usage"]
    assert usage["prompt_cache_hit_tokens"] == 2 == usage["prompt_tokens"] - usage["prompt_cache_miss_tokens"]
    streamed = chunks(simulator, "deepseek", "reasoning=2 text=hi")
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed]
    assert [delta.get("reasoning_content") or delta.get("content") for delta in deltas[1:4]] == [
        "thought0", " thought1", "hi",
    ]  # fmt: skip
    status, answer = call(simulator, "xai", temperature=9)
    assert status == 400 and set(answer) == {"code", "error"}


def test_openrouter(simulator: Simulator) -> None:
    received = unchunked(raw(simulator, "error_after=2", stream=True, path=PATHS["openrouter"])[0])
    assert received.startswith(b": OPENROUTER PROCESSING\n\n")
    last = json.loads(received.split(b"data: ")[-1])
    assert (last["choices"][0]["finish_reason"], last["error"]["code"]) == ("error", 502)
    assert last_seen(simulator).end["events"] == 2
    usage = call(simulator, "openrouter", "x")[1]["usage"]
    assert usage["cost"] == pytest.approx(usage["total_tokens"] / 1e6)
    assert call(simulator, "openrouter", temperature=9)[1]["error"]["code"] == 400


def test_azure(simulator: Simulator) -> None:
    streamed = chunks(simulator, "azure", "text=hi")
    assert streamed[0]["choices"] == [] and streamed[0]["prompt_filter_results"][0]["prompt_index"] == 0
    assert streamed[2]["choices"][0]["content_filter_results"]["hate"]["severity"] == "safe"
    assert "content_filter_results" in call(simulator, "azure")[1]["choices"][0]


def test_pings_and_unknown_members_in_chat(simulator: Simulator) -> None:
    received = unchunked(raw(simulator, "pings=2 unknown_event", stream=True)[0])
    assert received.count(b": keep-alive\n\n") == 2
    assert b'"delta":{"x_future_delta"' in received and b'"x_future_event"' in received


def test_official_sdk_reads_every_family(simulator: Simulator) -> None:
    for family in sorted(PATHS):
        base = simulator.root_url + FAMILY_PATHS[family.upper()]
        headers: Any = {"Authorization": openai.Omit(), "api-key": "k"} if family == "azure" else {}
        with openai.OpenAI(api_key="k", base_url=base, max_retries=0, timeout=60) as client:
            streamed = client.chat.completions.create(model="m", messages=ask("hi"), stream=True, extra_headers=headers)
            text = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
        assert text == "Echo of message 1: hi", family
