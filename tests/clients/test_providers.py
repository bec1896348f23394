"""The OpenAI SDK with a pinned model of each provider, at both ends: plain and streamed, with a tool loop of two turns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI

from ainfera_gateway.catalog.seed import seed_catalog
from tests.clients.both import End, Watch, shown
from tests.clients.provider_models import MODELS

UPSTREAM = {provider: seed_catalog().models[slug].upstream_model for provider, slug in MODELS.items()}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION = {"role": "user", "content": "weather in two cities"}


def client_of(end: End, provider: str) -> OpenAI:
    if provider == "azure" and end.gateway is None:
        return AzureOpenAI(base_url=end.openai("azure"), api_key=end.key, api_version="2026-10-01", max_retries=0)
    return OpenAI(base_url=end.openai(provider), api_key=end.key, max_retries=0)


def said(client: OpenAI, stream: bool, **asked: Any) -> Any:
    """The first choice's message, plain or put together from a stream, and why it ended."""
    if not stream:
        choice = client.chat.completions.create(**asked).choices[0]
        return choice.message.model_dump(exclude_unset=True), choice.finish_reason
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    finish = None
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            delta = choice.delta.model_dump(exclude_unset=True)
            if delta.get("content"):
                message["content"] = (message["content"] or "") + delta["content"]
            for call in delta.get("tool_calls") or ():
                if call.get("id"):
                    # Gemini numbers all of its calls 0; a call with an id is a new one.
                    calls.append({name: value for name, value in call.items() if name != "index"})
                else:
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    if calls:
        message["tool_calls"] = calls
    return message, finish


def turn_of(message: dict[str, Any]) -> dict[str, Any]:
    """The message as a client sends it back."""
    kept = ("role", "content", "tool_calls")
    return {name: message[name] for name in kept if message.get(name) is not None}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", MODELS)
def test_a_tool_loop_of_two_turns(ends: tuple[End, End], watch: Watch, provider: str, stream: bool) -> None:
    told = []
    for end in ends:
        model = end.model(MODELS[provider], UPSTREAM[provider])
        with client_of(end, provider) as client:
            first, finish = said(client, stream, model=model, messages=[QUESTION], tools=[WEATHER])
            assert finish == "tool_calls"
            assert [call["function"]["name"] for call in first["tool_calls"]] == ["get_weather"] * 2
            results = [{"role": "tool", "tool_call_id": c["id"], "content": "sunny"} for c in first["tool_calls"]]
            messages = [QUESTION, turn_of(first), *results]
            second = said(client, stream, model=model, messages=messages, tools=[WEATHER])
            assert "sunny" in second[0]["content"]
            told.append(shown([first, finish, second]))
    assert told[1] == told[0]
    seen = watch.new()
    assert [each.begin["dialect"] for each in seen] == [provider] * 4
    assert all(each.begin["refused"] is None for each in seen)


def test_geminis_signatures_come_back(ends: tuple[End, End], watch: Watch) -> None:
    """A call without its signature is refused by the provider, so a loop through the gateway proves that they return."""
    end = ends[1]
    with client_of(end, "gemini") as client:
        first, _ = said(client, False, model=MODELS["gemini"], messages=[QUESTION], tools=[WEATHER])
        signatures = [call["extra_content"]["google"]["thought_signature"] for call in first["tool_calls"]]
        assert all(signatures)
        watch.new()
        results = [{"role": "tool", "tool_call_id": c["id"], "content": "sunny"} for c in first["tool_calls"]]
        messages = [QUESTION, turn_of(first), *results]
        said(client, True, model=MODELS["gemini"], messages=messages, tools=[WEATHER])
        sent = watch.bodies()[0]["messages"][1]["tool_calls"]
        assert [call["extra_content"]["google"]["thought_signature"] for call in sent] == signatures
        for call in first["tool_calls"]:
            del call["extra_content"]
        with pytest.raises(openai.APIStatusError) as refused:
            messages = [QUESTION, turn_of(first), *results]
            client.chat.completions.create(model=MODELS["gemini"], messages=messages, tools=[WEATHER])  # type: ignore[arg-type]
        assert "thought_signature" in str(refused.value)


@pytest.mark.parametrize("maker", ["openai", "gemini"])
def test_a_conversation_moves_to_mistral(ends: tuple[End, End], watch: Watch, maker: str) -> None:
    """Ids of another maker's calls become nine characters, the same ones in call and result; its own members stay away."""
    end = ends[1]
    with client_of(end, maker) as client:
        first, _ = said(client, False, model=MODELS[maker], messages=[QUESTION], tools=[WEATHER])
        watch.new()
        results = [{"role": "tool", "tool_call_id": c["id"], "content": "sunny"} for c in first["tool_calls"]]
        messages = [QUESTION, turn_of(first), *results]
        second, _ = said(client, True, model=MODELS["mistral"], messages=messages, tools=[WEATHER])
    assert "sunny" in second["content"]
    sent = watch.bodies()[0]["messages"]
    ids = [call["id"] for call in sent[1]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [message["tool_call_id"] for message in sent[2:]] == ids
    assert all(len(name) == 9 for name in ids)
    assert "extra_content" not in str(sent)


def counts(usage: Any) -> tuple[int, ...]:
    """Prompt, completion, total, and how much of them was cached and reasoned."""
    inside = usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, *inside


@pytest.mark.parametrize("provider", MODELS)
def test_plain_and_streamed_cost_the_same(ends: tuple[End, End], provider: str) -> None:
    end = ends[1]
    asked: Any = {
        "model": MODELS[provider],
        "messages": [{"role": "user", "content": "words [[sim:cached=2 reasoning=3]]"}],
    }
    with client_of(end, provider) as client:
        plain: Any = client.chat.completions.create(**asked)
        usage = {"stream_options": {"include_usage": True}}
        *chunks, last = list(client.chat.completions.create(**asked, stream=True, **usage))
    # Mistral states its usage in the chunk that finishes; here it stands in the last alone, where clients look.
    assert all(chunk.usage is None for chunk in chunks)
    assert counts(last.usage) == counts(plain.usage)
    assert counts(plain.usage)[3:] == (2, 3)
    assert Decimal(last.ainfera["cost_usd"]) == Decimal(plain.ainfera["cost_usd"]) > 0
    assert plain.ainfera["provider"] == last.ainfera["provider"] == provider


@pytest.mark.parametrize("provider", ["deepseek", "xai", "fireworks", "openrouter", "groq", "cerebras", "together"])
def test_what_a_model_thought_is_shown(ends: tuple[End, End], provider: str) -> None:
    """In whichever field the provider shows it, plain and streamed."""
    told = []
    for end in ends:
        asked: Any = {
            "model": end.model(MODELS[provider], UPSTREAM[provider]),
            "messages": [{"role": "user", "content": "think [[sim:reasoning=4]]"}],
        }
        with client_of(end, provider) as client:
            message = client.chat.completions.create(**asked).choices[0].message.model_dump(exclude_unset=True)
            deltas = [
                choice.delta.model_dump(exclude_unset=True)
                for chunk in client.chat.completions.create(**asked, stream=True)
                for choice in chunk.choices
            ]
        name = "reasoning_content" if "reasoning_content" in message else "reasoning"
        assert message[name] == "thought0 thought1 thought2 thought3"
        assert "".join(delta.get(name) or "" for delta in deltas) == message[name]
        told.append([message, deltas])
    assert told[1] == told[0]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("provider", MODELS)
def test_each_providers_form_of_error_is_read(ends: tuple[End, End], provider: str, status: int) -> None:
    asked: Any = {
        "model": MODELS[provider],
        "messages": [{"role": "user", "content": f"x [[sim:{status} retry_after=0]]"}],
    }
    with client_of(ends[1], provider) as client, pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**asked)
    error: Any = failed.value.body
    assert (failed.value.status_code, error["provider"], error["upstream_status"]) == (502, provider, status)
    said_so = "Unauthorized" if (provider, status) == ("mistral", 401) else f"told to answer {status}"
    assert said_so in error["message"]
    assert "sk-test" not in failed.value.response.text


EMBEDDERS = {
    "openai": "text-embedding-3-small",
    "mistral": "mistral-embed",
    "gemini": "gemini-embedding-001",
    "azure": "azure/text-embedding-3-small",
}


@pytest.mark.parametrize("provider", EMBEDDERS)
def test_vectors_of_each_provider_that_makes_them(ends: tuple[End, End], provider: str) -> None:
    """The SDK asks for base64 and reads either form: the vectors are the same."""
    vectors = []
    for end in ends:
        model = end.model(EMBEDDERS[provider], EMBEDDERS[provider].removeprefix("azure/"))
        with client_of(end, provider) as client:
            made = client.embeddings.create(model=model, input=["one", "two words"])
        assert made.usage.prompt_tokens == 3
        vectors.append([row.embedding for row in made.data])
    assert vectors[0] == vectors[1]


def test_the_models_page_names_every_provider(ends: tuple[End, End]) -> None:
    with client_of(ends[1], "openai") as client:
        names = {model.id for model in client.models.list()}
    assert set(MODELS.values()) | {"ainfera-inference"} <= names
