"""What agents do with the official Anthropic SDK: tool runners, threads, betas, credentials, base URLs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_async_tool, beta_tool

from tests.clients.both import End, Watch, shown

MODEL = "claude-opus-4-7"
QUESTION: Any = [{"role": "user", "content": "what is the weather in two cities?"}]
THREADS = "message-threads"


@beta_tool
def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: Its name.
    """
    return f"sunny in {city}"


@beta_async_tool
async def get_weather_soon(city: str) -> str:
    """The weather of a city, in a while.

    Args:
        city: Its name.
    """
    return f"rain in {city}"


@pytest.fixture(scope="module")
def clients(ends: tuple[End, End]) -> Iterator[tuple[Anthropic, Anthropic]]:
    direct, relayed = ends
    with (
        Anthropic(base_url=direct.anthropic, api_key=direct.key, max_retries=0) as first,
        Anthropic(base_url=relayed.root, api_key=relayed.key, max_retries=0) as second,
    ):
        yield first, second


def run_tools(client: Anthropic, **more: Any) -> list[Any]:
    asked: Any = {"model": MODEL, "max_tokens": 3000, "tools": [get_weather], "messages": QUESTION, **more}
    return list(client.beta.messages.tool_runner(**asked))


@pytest.mark.parametrize("thinking", ["disabled", "adaptive"])
def test_the_tool_runner_tries_a_thread_and_resends_the_whole_history(
    clients: tuple[Anthropic, Anthropic], watch: Watch, thinking: str
) -> None:
    """The provider answers the thread as the gateway must: a 400 that the SDK knows. Only then comes the whole call."""
    told = [run_tools(clients[0], thinking={"type": thinking})]
    direct = watch.new()
    assert [seen.begin["refused"] for seen in direct] == [400, None, None]
    assert json.loads(direct[0].begin["body"])["thread"] == {"type": "create"}
    told.append(run_tools(clients[1], thinking={"type": thinking}))
    relayed = watch.new()
    assert [seen.begin["refused"] for seen in relayed] == [None, None], "the thread stops at the gateway"
    bodies = [json.loads(seen.begin["body"]) for seen in relayed]
    assert all("thread" not in body for body in bodies)
    assert [len(body["messages"]) for body in bodies] == [1, 3]
    assert bodies == [json.loads(seen.begin["body"]) for seen in direct[1:]]
    assert [message.stop_reason for message in told[1]] == ["tool_use", "end_turn"]
    assert "sunny in Paris" in told[1][-1].content[-1].text
    assert shown(told[1]) == shown(told[0])


def test_the_runner_streams(clients: tuple[Anthropic, Anthropic]) -> None:
    told = []
    for client in clients:
        runner = client.beta.messages.tool_runner(
            model=MODEL, max_tokens=500, tools=[get_weather], messages=QUESTION, stream=True
        )
        told.append([[list(stream), stream.get_final_message()] for stream in runner])
    assert len(told[0]) == 2
    assert shown(told[1]) == shown(told[0])


def test_the_async_runner(ends: tuple[End, End]) -> None:
    async def run(end: End) -> list[Any]:
        async with AsyncAnthropic(base_url=end.anthropic, api_key=end.key) as client:
            runner = client.beta.messages.tool_runner(
                model=MODEL, max_tokens=500, tools=[get_weather_soon], messages=QUESTION
            )
            return [message async for message in runner]

    direct, relayed = (asyncio.run(run(end)) for end in ends)
    assert "rain in Oslo" in relayed[-1].content[-1].text
    assert shown(relayed) == shown(direct)


@pytest.mark.parametrize("model", ["gpt-5-5", "gemini-3-1-pro", "mistral-large-3", "ainfera-inference"])
def test_the_runner_with_other_makers_models(clients: tuple[Anthropic, Anthropic], model: str) -> None:
    told = run_tools(clients[1], model=model)
    assert [message.stop_reason for message in told] == ["tool_use", "end_turn"]
    assert "sunny in Oslo" in told[-1].content[-1].text


def test_a_thread_that_may_not_go_on_without_is_the_sdks_error(
    clients: tuple[Anthropic, Anthropic], watch: Watch
) -> None:
    kinds = []
    for client in clients:
        thread = client.beta.messages.thread(model=MODEL, max_tokens=100)
        with pytest.raises(anthropic.BadRequestError) as refused:
            thread.send({"role": "user", "content": "hello"})
        details = refused.value.body["error"]["details"]  # type: ignore[index]
        assert (details["error_code"], details["unsupported"]) == ("thread_unsupported_request", ["thread"])
        kinds.append(type(refused.value))
    assert kinds[0] is kinds[1]
    assert len(watch.new()) == 1, "only the direct one left"


def test_a_thread_that_may_goes_on_without(clients: tuple[Anthropic, Anthropic]) -> None:
    told = []
    for client in clients:
        thread = client.beta.messages.thread(
            model=MODEL, max_tokens=100, unsupported_request_behavior="continue_unthreaded"
        )
        told.append([thread.send({"role": "user", "content": word}) for word in ("first", "second")])
        assert len(thread.messages) == 4
    assert "message 3" in told[1][1].content[0].text, "the whole history was sent"
    assert shown(told[1]) == shown(told[0])


@pytest.mark.parametrize("path", ["", "/anthropic"])
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize("credential", ["x-api-key", "bearer", "auth_token"])
def test_every_base_url_version_and_credential(
    ends: tuple[End, End], watch: Watch, path: str, version: str, credential: str
) -> None:
    end = ends[1]
    headers: Any = {"anthropic-version": version}
    given: Any = {"api_key": end.key}
    if credential == "auth_token":
        given = {"auth_token": end.key}
    if credential == "x-api-key":
        given = {"api_key": "not looked at"}
        headers |= {"authorization": anthropic.omit, "x-api-key": end.key}
    with Anthropic(base_url=end.root + path, max_retries=0, default_headers=headers, **given) as client:
        message = client.messages.create(model=MODEL, max_tokens=20, messages=QUESTION)
        assert message.content[0].text  # type: ignore[union-attr]
        with pytest.raises(anthropic.AuthenticationError):
            client.with_options(
                default_headers={"authorization": "Bearer ainfera_wrong", "x-api-key": anthropic.omit}  # type: ignore[dict-item]
            ).messages.create(model=MODEL, max_tokens=20, messages=QUESTION)
    begin = watch.only().begin
    assert "x-api-key" in begin["headers"]
    assert "authorization" not in begin["headers"]
    assert begin["key_suffix"] != end.key[-len(begin["key_suffix"]) :]


def test_betas_arrive_at_the_provider(clients: tuple[Anthropic, Anthropic], watch: Watch) -> None:
    """What only a beta knows is taken, so the list of betas has arrived; the query has too."""
    told = [
        client.beta.messages.create(
            model=MODEL,
            max_tokens=50,
            messages=QUESTION,
            betas=["context-management-2025-06-27", "a-beta-of-tomorrow-2027-01-01"],
            context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        )
        for client in clients
    ]
    assert shown(told[1]) == shown(told[0])
    direct, relayed = watch.new()
    assert "anthropic-beta" in relayed.begin["headers"]
    assert direct.begin["path"].startswith("/anthropic/v1/messages")
    assert relayed.begin["path"].removeprefix("/anthropic") == direct.begin["path"].removeprefix("/anthropic")


def test_models_are_listed_and_found(ends: tuple[End, End]) -> None:
    end = ends[1]
    for root in (end.root, end.anthropic):
        with Anthropic(base_url=root, api_key=end.key, max_retries=0) as client:
            page = client.models.list()
            names = [model.id for model in page]
            assert {"ainfera-inference", MODEL, "gpt-5-5"} <= set(names)
            assert len(names) == len(set(names))
            found = client.models.retrieve(MODEL)
            assert (found.id, found.type, found.display_name) == (MODEL, "model", "Claude Opus 4.7")
            assert found.created_at.year > 1969
            with pytest.raises(anthropic.NotFoundError):
                client.models.retrieve("no-such-model")


def test_the_houses_refusals_have_their_class(ends: tuple[End, End], new_agent: Any) -> None:
    end = ends[1]
    poor = new_agent(per_call_cap_usd="0.001", daily_cap_usd="0.01")
    with Anthropic(base_url=end.root, api_key=end.key, max_retries=0) as client:
        with pytest.raises(anthropic.UnprocessableEntityError) as unknown:
            client.messages.create(model="no-such-model", max_tokens=9, messages=QUESTION)
        assert unknown.value.body["error"]["details"]["code"] == "model_unavailable"  # type: ignore[index]
        with pytest.raises(anthropic.PermissionDeniedError) as capped:
            client.with_options(api_key=poor["api_key"], max_retries=5).messages.create(
                model=MODEL, max_tokens=9_000, messages=QUESTION
            )
        assert capped.value.body["error"]["details"]["code"] == "spend_policy_exceeded"  # type: ignore[index]
        assert capped.value.response.headers["x-should-retry"] == "false"
        for error in (unknown.value, capped.value):
            assert error.body["request_id"] == error.response.headers["x-ainfera-trace-id"]  # type: ignore[index]
