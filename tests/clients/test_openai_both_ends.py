"""The official OpenAI SDK at both ends: what it returns through the gateway is what it returns from the provider."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.both import End, Watch, shown

SLUG = "gpt-5-5"
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG not quite").decode()
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
Ask = Callable[..., dict[str, Any]]
Scenario = Callable[[OpenAI, Ask], Any]
SCENARIOS: list[Scenario] = []


def scenario(play: Scenario) -> Scenario:
    """Has it played at both ends; what it returns must be the same."""
    SCENARIOS.append(play)
    return play


def asking(end: End) -> Ask:
    """Makes the arguments of a call at this end."""

    def asked(text: Any, **more: Any) -> dict[str, Any]:
        return {"model": end.model(SLUG, "gpt-5.5"), "messages": [{"role": "user", "content": text}], **more}

    return asked


@pytest.fixture(scope="module")
def clients(ends: tuple[End, End]) -> Iterator[list[tuple[OpenAI, Ask]]]:
    direct, relayed = ends
    with (
        OpenAI(base_url=direct.openai(), api_key=direct.key, max_retries=0) as first,
        OpenAI(base_url=f"{relayed.root}/v1", api_key=relayed.key, max_retries=0) as second,
    ):
        yield [(first, asking(direct)), (second, asking(relayed))]


@pytest.mark.parametrize("play", SCENARIOS, ids=lambda play: play.__name__)
def test_both_ends_answer_alike(clients: list[tuple[OpenAI, Ask]], play: Scenario) -> None:
    direct, relayed = (play(client, asked) for client, asked in clients)
    assert shown(direct)
    assert shown(relayed) == shown(direct)


class City(pydantic.BaseModel):
    name: str
    people: int


@scenario
def plain(client: OpenAI, asked: Ask) -> Any:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "ada", "content": [{"type": "text", "text": "tell me about ledgers"}]},
        {"role": "assistant", "content": "They are books."},
        {"role": "user", "content": "And more?"},
    ]
    return client.chat.completions.create(**{**asked(""), "messages": messages}, max_completion_tokens=50)


@scenario
def every_chunk_of_a_stream(client: OpenAI, asked: Ask) -> Any:
    usage = {"stream_options": {"include_usage": True}}
    told = [list(client.chat.completions.create(**asked("a text in pieces"), stream=True, **usage))]
    assert told[0][-1].usage.completion_tokens > 3
    for acts in ("split=3", "crlf", "no_space", "comments", "unknown_event", "pings=2", "reasoning=4", "cached=2"):
        text = f"ein Satz über Vögel 🐦 [[sim:{acts}]]"
        told.append(list(client.chat.completions.create(**asked(text), stream=True, **usage)))
    return told


@scenario
def a_stream_without_usage(client: OpenAI, asked: Ask) -> Any:
    chunks = list(client.chat.completions.create(**asked("a text in pieces"), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    return chunks


@scenario
def a_stream_by_its_helper(client: OpenAI, asked: Ask) -> Any:
    with client.chat.completions.stream(**asked("weather in two cities"), tools=[WEATHER]) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.done"} <= {event.type for event in events}
    return [[event.type for event in events], events, final]


@scenario
def parallel_tools_in_two_turns(client: OpenAI, asked: Ask) -> Any:
    first = client.chat.completions.create(**asked("weather in three cities"), tools=[WEATHER])
    message: Any = first.choices[0].message
    assert len(message.tool_calls) == 3
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
    turns = [*asked("weather in three cities")["messages"], message.model_dump(exclude_unset=True), *results]
    for turn in turns:
        turn.pop("annotations", None)
    second = client.chat.completions.create(**{**asked(""), "messages": turns}, tools=[WEATHER])
    return [first, second]


@scenario
def every_choice_of_tool(client: OpenAI, asked: Ask) -> Any:
    forced = {"type": "function", "function": {"name": "get_weather"}}
    one = {"tools": [WEATHER], "parallel_tool_calls": False}
    return [
        client.chat.completions.create(**asked("two cities"), tool_choice=choice, **one)
        for choice in ("auto", "none", "required", forced)
    ]


@scenario
def interleaved_fragments(client: OpenAI, asked: Ask) -> Any:
    text = "weather in two cities [[sim:interleave]]"
    return list(client.chat.completions.create(**asked(text), tools=[WEATHER], stream=True))


@scenario
def structured_outputs(client: OpenAI, asked: Ask) -> Any:
    parsed = client.chat.completions.parse(**asked("which city?"), response_format=City)
    assert parsed.choices[0].message.parsed == City(name="Paris", people=1)
    with client.chat.completions.stream(**asked("which city?"), response_format=City) as stream:
        streamed = stream.get_final_completion()
    loose = client.chat.completions.create(**asked("any json"), response_format={"type": "json_object"})
    return [parsed, streamed, loose]


@scenario
def many_choices(client: OpenAI, asked: Ask) -> Any:
    whole = client.chat.completions.create(**asked("twice"), n=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    return [whole, list(client.chat.completions.create(**asked("twice"), n=2, stream=True))]


@scenario
def what_tunes_an_answer(client: OpenAI, asked: Ask) -> Any:
    return client.chat.completions.create(
        **asked("tuned"),
        seed=7,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        logit_bias={"50256": -100},
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        verbosity="low",
        user="ada",
        store=False,
        metadata={"tags": "a"},
        service_tier="flex",
        prompt_cache_key="k",
        safety_identifier="s",
    )


@scenario
def every_reason_to_stop(client: OpenAI, asked: Ask) -> Any:
    told = [
        client.chat.completions.create(**asked("one STOP two"), stop=["STOP"]),
        client.chat.completions.create(**asked("one STOP two"), stop="STOP"),
        client.chat.completions.create(**asked("much to say about it"), max_completion_tokens=3),
        client.chat.completions.create(**asked("no [[sim:content_filter]]")),
    ]
    assert [answer.choices[0].finish_reason for answer in told] == ["stop", "stop", "length", "content_filter"]
    return told


@scenario
def images_files_and_sounds(client: OpenAI, asked: Ask) -> Any:
    parts = [
        {"type": "text", "text": "what do they show?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/one.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ]
    return client.chat.completions.create(**asked(parts))


@scenario
def usage_of_many_kinds(client: OpenAI, asked: Ask) -> Any:
    told = client.chat.completions.create(**asked("words and more words [[sim:cached=4 reasoning=6]]"))
    assert told.usage is not None
    assert told.usage.prompt_tokens_details is not None
    assert told.usage.prompt_tokens_details.cached_tokens == 4
    return told


@pytest.mark.parametrize("given", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": 8}])
def test_embeddings_at_both_ends(clients: list[tuple[OpenAI, Ask]], given: dict[str, Any]) -> None:
    told = []
    for client, _ in clients:
        made = client.embeddings.create(model="text-embedding-3-small", input=["one", "two words"], **given)
        assert [row.index for row in made.data] == [0, 1]
        told.append(made)
    assert shown(told[1]) == shown(told[0])
    if given.get("encoding_format") != "base64":
        assert all(isinstance(number, float) for number in told[1].data[0].embedding)


def test_the_async_client_at_both_ends(ends: tuple[End, End]) -> None:
    async def talk(end: End) -> Any:
        asked = asking(end)
        async with AsyncOpenAI(base_url=end.openai(), api_key=end.key) as client:

            async def streamed() -> list[Any]:
                async with client.chat.completions.stream(**asked("weather"), tools=[WEATHER]) as stream:
                    return [[event async for event in stream], await stream.get_final_completion()]

            plain = [client.chat.completions.create(**asked(f"number {number}")) for number in range(4)]
            parsed = client.chat.completions.parse(**asked("which city?"), response_format=City)
            vector = client.embeddings.create(model="text-embedding-3-small", input="x")
            return shown(await asyncio.gather(*plain, streamed(), parsed, vector))

    direct, relayed = (asyncio.run(talk(end)) for end in ends)
    assert relayed == direct


WRONG: dict[str, dict[str, Any]] = {
    "no messages": {"messages": []},
    "an unknown role": {"messages": [{"role": "robot", "content": "x"}]},
    "a temperature too high": {"temperature": 3},
    "a forced tool that is not there": {"tool_choice": {"type": "function", "function": {"name": "x"}}},
    "an unknown field": {"no_such_field": 1},
    "a result without a call": {"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_the_provider_refuses_is_refused(clients: list[tuple[OpenAI, Ask]], watch: Watch, wrong: str) -> None:
    (direct, asked), (relayed, asked_too) = clients
    with pytest.raises(openai.BadRequestError) as first:
        direct.chat.completions.create(**asked("x"), extra_body=WRONG[wrong])
    watch.new()
    with pytest.raises(openai.APIStatusError) as second:
        relayed.chat.completions.create(**asked_too("x"), extra_body=WRONG[wrong])
    error: Any = second.value.body
    if watch.new():
        assert (second.value.code, error["upstream_status"]) == ("provider_error", 400)
        assert first.value.body["message"] in error["message"]  # type: ignore[index]
        assert second.value.response.headers["x-should-retry"] == "false"
    else:
        assert isinstance(second.value, openai.BadRequestError)
        assert second.value.type == "invalid_request_error"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503])
def test_each_failure_of_the_provider_keeps_its_status_and_reason(
    clients: list[tuple[OpenAI, Ask]], status: int
) -> None:
    (direct, asked), (relayed, asked_too) = clients
    text = f"x [[sim:{status} retry_after=0]]"
    with pytest.raises(openai.APIStatusError) as first:
        direct.chat.completions.create(**asked(text))
    assert first.value.status_code == status
    with pytest.raises(openai.InternalServerError) as second:
        relayed.chat.completions.create(**asked_too(text))
    error: Any = second.value.body
    assert (second.value.status_code, second.value.code, error["upstream_status"]) == (502, "provider_error", status)
    assert first.value.body["message"] in error["message"]  # type: ignore[index]


def test_a_failure_inside_a_stream_is_the_sdks_exception(clients: list[tuple[OpenAI, Ask]]) -> None:
    for client, asked in clients:
        texts: list[str] = []
        with pytest.raises(openai.APIError) as failed:
            texts.extend(
                chunk.choices[0].delta.content or ""
                for chunk in client.chat.completions.create(**asked("one two three [[sim:error_after=5]]"), stream=True)
            )
        assert failed.value.body is not None
        assert texts or client is clients[0][0]
