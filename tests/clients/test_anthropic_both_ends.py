"""The official Anthropic SDK at both ends: what it returns through the gateway is what it returns from the provider."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pydantic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.clients.both import End, Watch, shown

MODEL = "claude-opus-4-7"
PIXEL = base64.b64encode(b"\x89PNG not quite").decode()
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
Scenario = Callable[[Anthropic], Any]
SCENARIOS: list[Scenario] = []


def scenario(play: Scenario) -> Scenario:
    """Has it played at both ends; what it returns must be the same."""
    SCENARIOS.append(play)
    return play


@pytest.fixture(scope="module")
def clients(ends: tuple[End, End]) -> Iterator[tuple[Anthropic, Anthropic]]:
    direct, relayed = ends
    with (
        Anthropic(base_url=direct.anthropic, api_key=direct.key, max_retries=0) as first,
        Anthropic(base_url=relayed.anthropic, api_key=relayed.key, max_retries=0) as second,
    ):
        yield first, second


@pytest.mark.parametrize("play", SCENARIOS, ids=lambda play: play.__name__)
def test_both_ends_answer_alike(clients: tuple[Anthropic, Anthropic], play: Scenario) -> None:
    direct, relayed = (play(client) for client in clients)
    assert shown(direct)
    assert shown(relayed) == shown(direct)


def user(text: str, *blocks: Any) -> Any:
    return {"role": "user", "content": [*blocks, {"type": "text", "text": text}]}


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 400, "messages": [user(text)], **more}


class City(pydantic.BaseModel):
    name: str
    people: int


@scenario
def plain(client: Anthropic) -> Any:
    return client.messages.create(**asked("tell me about ledgers", system="Be brief."))


@scenario
def every_event_of_a_stream(client: Anthropic) -> Any:
    text = "count [[sim:pings=2 unknown_event per_event=2]]"
    events = list(client.messages.create(**asked(text), stream=True))
    assert [event.type for event in events if event.type == "message_stop"]
    return events


@scenario
def a_stream_by_its_helpers(client: Anthropic) -> Any:
    with client.messages.stream(**asked("a text in pieces")) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(texts) > 3
    with client.messages.stream(**asked("a text in pieces")) as stream:
        events = list(stream)
    assert {"text", "content_block_stop", "message_stop"} <= {event.type for event in events}
    return [texts, final, events]


@scenario
def a_tool_is_forced(client: Anthropic) -> Any:
    forced = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    return client.messages.create(**asked("two cities, please", tools=[WEATHER], tool_choice=forced))


@scenario
def no_tool_is_allowed(client: Anthropic) -> Any:
    return client.messages.create(**asked("weather", tools=[WEATHER], tool_choice={"type": "none"}))


@scenario
def fine_grained_tool_streaming(client: Anthropic) -> Any:
    tool = {**WEATHER, "eager_input_streaming": True}
    with client.messages.stream(**asked("weather [[sim:fine_grained tool_calls=3]]", tools=[tool])) as stream:
        return [list(stream), stream.get_final_message()]


@scenario
def a_tool_loop_with_thinking_and_redacted_blocks(client: Anthropic) -> Any:
    told = []
    for thinking in (
        {"type": "enabled", "budget_tokens": 1024},
        {"type": "adaptive"},
        {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
    ):
        more = {"tools": [WEATHER], "thinking": thinking, "max_tokens": 3000}
        first = client.messages.create(**asked("weather in two cities [[sim:redacted]]", **more))
        assert {"thinking", "redacted_thinking", "tool_use"} == {block.type for block in first.content}
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "sunny"}]}
            for block in first.content
            if block.type == "tool_use"
        ]
        turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        again = asked("weather in two cities [[sim:redacted]]", **more)
        with client.messages.stream(**{**again, "messages": [*again["messages"], *turns]}) as stream:
            second = stream.get_final_message()
        told += [first, second]
    return told


@scenario
def images_and_documents(client: Anthropic) -> Any:
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/one.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "T"},
        {"type": "document", "source": {"type": "url", "url": "https://papers.example/one.pdf"}},
    ]
    return client.messages.create(**{**asked(""), "messages": [user("what do they show?", *blocks)]})


@scenario
def cached_blocks_and_their_usage(client: Anthropic) -> Any:
    system = [
        {"type": "text", "text": "first", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "second", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    text = "long words of many a kind [[sim:cached=3 cache_write=2 cache_write_1h=1]]"
    plain = client.messages.create(**asked(text, system=system))
    assert plain.usage.cache_read_input_tokens == 3
    assert plain.usage.cache_creation is not None
    assert plain.usage.cache_creation.ephemeral_1h_input_tokens == 1
    with client.messages.stream(**asked(text, system=system)) as stream:
        return [plain, stream.get_final_message()]


@scenario
def structured_outputs(client: Anthropic) -> Any:
    parsed = client.messages.parse(**asked("which city?"), output_format=City)
    assert parsed.parsed_output == City(name="Paris", people=1)
    with client.messages.stream(**asked("which city?"), output_format=City) as stream:
        streamed = stream.get_final_message()
    assert streamed.parsed_output == parsed.parsed_output
    return [parsed, streamed]


@scenario
def every_reason_to_stop(client: Anthropic) -> Any:
    stopped = client.messages.create(**asked("one STOP two", stop_sequences=["STOP"]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "STOP")
    cut = client.messages.create(**asked("much to say about all of it", max_tokens=3))
    refused = client.messages.create(**asked("no [[sim:refusal]]"))
    paused = client.messages.create(**asked("wait [[sim:pause_turn]]"))
    reasons = [message.stop_reason for message in (stopped, cut, refused, paused)]
    assert reasons == ["stop_sequence", "max_tokens", "refusal", "pause_turn"]
    return [stopped, cut, refused, paused]


@scenario
def odd_streams(client: Anthropic) -> Any:
    told = []
    for acts in ("split=3", "crlf", "no_space", "comments", "usage=cumulative", "usage=doubled", "split=1 crlf"):
        with client.messages.stream(**asked(f"ein Satz über Vögel 🐦 [[sim:{acts}]]")) as stream:
            told.append(stream.get_final_message())
    return told


@scenario
def prefilled(client: Anthropic) -> Any:
    messages = [user("hello"), {"role": "assistant", "content": "It begins"}]
    return client.messages.create(model=MODEL, max_tokens=50, messages=messages)  # type: ignore[arg-type]


@scenario
def a_tool_that_failed(client: Anthropic) -> Any:
    use = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    content = [{"type": "text", "text": "no such city"}, picture]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": content}
    messages: Any = [user("weather"), {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return client.messages.create(model=MODEL, max_tokens=50, messages=messages, tools=[WEATHER])


@scenario
def counted(client: Anthropic) -> Any:
    system = [{"type": "text", "text": "first", "cache_control": {"type": "ephemeral"}}]
    return client.messages.count_tokens(model=MODEL, messages=[user("how long?")], tools=[WEATHER], system=system)  # type: ignore[arg-type]


@scenario
def raw_bytes(client: Anthropic) -> Any:
    """Not a byte of the body differs, plain or streamed."""
    raw = client.messages.with_raw_response.create(**asked("bytes [[sim:layout=note_first]]"))
    streamed = client.messages.with_raw_response.create(**asked("bytes [[sim:split=7]]"), stream=True)
    return [raw.read(), streamed.read()]


def test_the_async_client_at_both_ends(ends: tuple[End, End]) -> None:
    async def talk(end: End) -> Any:
        async with AsyncAnthropic(base_url=end.root if end.gateway else end.anthropic, api_key=end.key) as client:

            async def streamed() -> Any:
                async with client.messages.stream(**asked("streamed", tools=[WEATHER])) as stream:
                    texts = [text async for text in stream.text_stream]
                    return [texts, await stream.get_final_message()]

            plain = [client.messages.create(**asked(f"number {number}")) for number in range(4)]
            parsed = client.messages.parse(**asked("which city?"), output_format=City)
            counted = client.messages.count_tokens(model=MODEL, messages=[user("how long?")])
            return shown(await asyncio.gather(*plain, streamed(), parsed, counted))

    direct, relayed = (asyncio.run(talk(end)) for end in ends)
    assert relayed == direct


def test_a_failure_inside_a_stream_is_the_sdks_exception(clients: tuple[Anthropic, Anthropic]) -> None:
    for client in clients:
        texts: list[str] = []
        with (
            pytest.raises(anthropic.APIStatusError) as failed,
            client.messages.stream(**asked("one two three [[sim:error_after=6]]")) as stream,
        ):
            texts.extend(stream.text_stream)
        assert texts
        assert failed.value.body["type"] == "error"  # type: ignore[index]


REFUSED_BY_THE_PROVIDER = {
    "no max_tokens' room": {"max_tokens": -1},
    "a temperature too high": {"temperature": 1.5},
    "an empty text": {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
    "a tool without a schema": {"tools": [{"name": "x", "input_schema": {}}]},
    "an unknown role": {"messages": [{"role": "robot", "content": "x"}]},
    "no messages": {"messages": []},
}


@pytest.mark.parametrize("wrong", REFUSED_BY_THE_PROVIDER)
def test_what_the_provider_refuses_is_refused(clients: tuple[Anthropic, Anthropic], watch: Watch, wrong: str) -> None:
    """By the gateway itself with 400 before it spends anything, or with the provider's own status and reason named."""
    direct, relayed = clients
    with pytest.raises(anthropic.BadRequestError) as first:
        direct.messages.create(**asked("x"), extra_body=REFUSED_BY_THE_PROVIDER[wrong])
    watch.new()
    with pytest.raises(anthropic.APIStatusError) as second:
        relayed.messages.create(**asked("x"), extra_body=REFUSED_BY_THE_PROVIDER[wrong])
    error: Any = second.value.body
    if watch.new():
        assert error["error"]["details"]["upstream_status"] == first.value.status_code
        assert first.value.body["error"]["message"] in error["error"]["message"]  # type: ignore[index]
        assert second.value.response.headers["x-should-retry"] == "false"
    else:
        assert isinstance(second.value, anthropic.BadRequestError)
        assert error["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503, 529])
def test_each_failure_of_the_provider_keeps_its_status_and_reason(
    clients: tuple[Anthropic, Anthropic], status: int
) -> None:
    direct, relayed = clients
    with pytest.raises(anthropic.APIStatusError) as first:
        direct.messages.create(**asked(f"x [[sim:{status} retry_after=0]]"))
    assert first.value.status_code == status
    with pytest.raises(anthropic.InternalServerError) as second:
        relayed.messages.create(**asked(f"x [[sim:{status} retry_after=0]]"))
    error: Any = second.value.body
    assert (second.value.status_code, error["error"]["details"]["upstream_status"]) == (502, status)
    assert first.value.body["error"]["message"] in error["error"]["message"]  # type: ignore[index]
