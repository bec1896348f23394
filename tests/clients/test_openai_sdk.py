"""The official OpenAI SDK, sync and async, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.gateway_process import GatewayProcess

QUESTION = [{"role": "user", "content": "tell me about ledgers"}]
WEATHER: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture
def client(gateway: GatewayProcess, agent: dict[str, Any]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=agent["api_key"], max_retries=0) as made:
        yield made


def test_a_plain_call(client: OpenAI, agent: dict[str, Any]) -> None:
    answer: Any = client.chat.completions.create(model="ainfera-inference", messages=QUESTION)  # type: ignore[arg-type]
    assert "tell me about ledgers" in answer.choices[0].message.content
    assert answer.model == "mistral-large-3"
    assert answer.ainfera["agent_id"] == agent["agent_id"]
    assert answer.ainfera["provider"] == "mistral"
    cost = Decimal(answer.usage.prompt_tokens) * 2 + Decimal(answer.usage.completion_tokens) * 6
    assert Decimal(answer.ainfera["cost_usd"]) == cost / 1_000_000
    assert answer.x_provider_note["model"] == "not-the-model"


def test_the_headers_of_an_answer(client: OpenAI, gateway: GatewayProcess, agent: dict[str, Any]) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-5-5",
        messages=QUESTION,  # type: ignore[arg-type]
        extra_headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )
    headers = raw.headers
    body: Any = raw.parse()
    assert headers["x-ainfera-model"] == body.model == "gpt-5-5"
    assert headers["x-ainfera-trace-id"] == trace
    assert headers["traceresponse"].startswith(f"00-{trace}-")
    assert headers["x-ainfera-inference-id"] == body.ainfera["inference_id"]
    assert headers["x-ainfera-receipt-id"] == body.ainfera["receipt_id"]
    assert headers["x-ainfera-audit-url"] == f"{gateway.url}/v1/audit/{agent['agent_id']}/verify"
    assert headers["x-ainfera-cost-usd"] == body.ainfera["cost_usd"]
    assert headers["cache-control"] == "no-store"
    assert int(headers["x-ratelimit-remaining-requests"]) < int(headers["x-ratelimit-limit-requests"])


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream(client: OpenAI, include_usage: bool) -> None:
    more: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = client.chat.completions.create(
        model="gpt-5-5",
        messages=QUESTION,  # type: ignore[arg-type]
        stream=True,
        **more,
    )
    chunks: list[Any] = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "tell me about ledgers" in text
    assert {c.model for c in chunks} == {"gpt-5-5"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    last = chunks[-1]
    if include_usage:
        assert last.choices == []
        assert last.usage.completion_tokens > 0
        assert Decimal(last.ainfera["cost_usd"]) > 0
    else:
        assert all(c.usage is None for c in chunks)


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_and_their_results(client: OpenAI, streamed: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "what is the weather in two cities?"}]
    if streamed:
        with client.chat.completions.stream(model="gpt-5-5", messages=messages, tools=WEATHER) as stream:
            for _ in stream:
                pass
            answer = stream.get_final_completion()
    else:
        answer = client.chat.completions.create(model="gpt-5-5", messages=messages, tools=WEATHER)  # type: ignore[assignment]
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    calls: Any = choice.message.tool_calls
    assert len(calls) == 2
    assert {call.function.name for call in calls} == {"get_weather"}
    said = [
        {"id": c.id, "type": "function", "function": c.function.model_dump(include={"name", "arguments"})}
        for c in calls
    ]
    messages.append({"role": "assistant", "tool_calls": said})
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"} for call in calls]
    after = client.chat.completions.create(model="gpt-5-5", messages=messages, tools=WEATHER)
    assert after.choices[0].finish_reason == "stop"
    assert after.choices[0].message.content


def test_the_async_client_runs_calls_at_once(gateway: GatewayProcess, agent: dict[str, Any]) -> None:
    async def all_of_them() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{gateway.url}/openai/v1", api_key=agent["api_key"]) as client:

            async def one(number: int) -> Any:
                return await client.chat.completions.create(
                    model="ainfera-inference", messages=[{"role": "user", "content": f"call number {number}"}]
                )

            async def streamed() -> str:
                text = ""
                stream = await client.chat.completions.create(
                    model="gpt-5-5", messages=[{"role": "user", "content": "streamed async"}], stream=True
                )
                async for chunk in stream:
                    text += chunk.choices[0].delta.content or ""
                return text

            return await asyncio.gather(*(one(n) for n in range(8)), streamed())

    *answers, text = asyncio.run(all_of_them())
    assert len({answer.ainfera["inference_id"] for answer in answers}) == 8
    assert all(f"call number {n}" in answer.choices[0].message.content for n, answer in enumerate(answers))
    assert "streamed async" in text


def test_errors_become_the_sdks_exceptions(
    client: OpenAI, gateway: GatewayProcess, agent: dict[str, Any], new_agent: Any
) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.UnprocessableEntityError) as unknown:
        ask(model="no-such-model", messages=QUESTION)  # type: ignore[arg-type]
    assert unknown.value.code == "model_unavailable"
    with pytest.raises(openai.BadRequestError) as empty:
        ask(model="gpt-5-5", messages=[])
    assert (empty.value.code, empty.value.param) == ("invalid_request", "messages")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="ainfera_wrong").chat.completions.create(model="gpt-5-5", messages=QUESTION)  # type: ignore[arg-type]
    poor = new_agent(per_call_cap_usd="0.001", daily_cap_usd="0.01")
    with pytest.raises(openai.PermissionDeniedError) as capped:
        client.with_options(api_key=poor["api_key"]).chat.completions.create(model="claude-opus-4-7", messages=QUESTION)  # type: ignore[arg-type]
    assert capped.value.code == "spend_policy_exceeded"
    with pytest.raises(openai.InternalServerError) as failed:
        ask(model="gpt-5-5", messages=[{"role": "user", "content": "[[sim:500]] x"}])
    assert failed.value.code == "provider_error"
    assert failed.value.status_code == 502


def test_an_sdk_does_not_retry_what_is_final(gateway: GatewayProcess, simulator: Any, new_agent: Any) -> None:
    poor = new_agent(per_call_cap_usd="0.001", daily_cap_usd="0.01")
    before = simulator.count()
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=poor["api_key"], max_retries=5) as client,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        client.chat.completions.create(model="claude-opus-4-7", messages=QUESTION)  # type: ignore[arg-type]
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert simulator.count() == before


def test_the_models_the_sdk_lists(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"ainfera-inference", "gpt-5-5", "mistral-large-3"} <= names
