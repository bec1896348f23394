"""LangChain's chat models for OpenAI and Anthropic at both ends: calls, streams, a tool loop, structured output."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pydantic
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.clients.both import End

Kind = Literal["openai", "anthropic"]
MODELS: list[tuple[Kind, str, str]] = [
    ("openai", "gpt-5-5", "gpt-5.5"),
    ("anthropic", "claude-opus-4-7", "claude-opus-4-7"),
]
CROSSED: list[tuple[Kind, str]] = [
    ("openai", "claude-opus-4-7"),
    ("openai", "gemini-3-1-pro"),
    ("openai", "ainfera-inference"),
    ("anthropic", "gpt-5-5"),
    ("anthropic", "mistral-large-3"),
]


class City(pydantic.BaseModel):
    """A city."""

    name: str
    people: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def model_at(end: End, kind: Kind, name: str, **more: Any) -> BaseChatModel:
    key: Any = end.key
    if kind == "openai":
        return ChatOpenAI(model=name, base_url=end.openai(), api_key=key, max_retries=0, stream_usage=True, **more)
    return ChatAnthropic(
        model_name=name, base_url=end.anthropic, api_key=key, max_retries=0, timeout=30, stop=None, **more
    )


def told(message: Any) -> dict[str, Any]:
    """What of a message is the same at both ends."""
    return {
        "type": type(message).__name__,
        "text": message.text,
        "calls": [(call["name"], call["args"]) for call in message.tool_calls],
        "usage": {name: message.usage_metadata[name] for name in ("input_tokens", "output_tokens", "total_tokens")},
        "finish": message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason"),
    }


def whole(model: Any, messages: Any) -> Any:
    """The chunks of a stream, added up as LangChain adds them, usage included."""
    chunks = list(model.stream(messages))
    assert len(chunks) > 3
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


def played(model: BaseChatModel) -> list[Any]:
    """A call, a stream, a tool loop and a form."""
    asked = [SystemMessage("Be brief."), HumanMessage("tell me about ledgers")]
    plain, streamed = told(model.invoke(asked)), told(whole(model, asked))
    assert {**streamed, "type": "AIMessage"} == plain
    bound = model.bind_tools([get_weather])
    weather: list[Any] = [HumanMessage("weather in two cities")]
    first: Any = whole(bound, weather)
    assert [call["args"]["city"] for call in first.tool_calls] == ["Paris", "Oslo"]
    results = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
    turn = AIMessage(first.content, tool_calls=first.tool_calls)
    second = bound.invoke([*weather, turn, *results])
    assert "sunny in Oslo" in second.text
    formed = model.with_structured_output(City).invoke("which city?")
    assert formed == City(name="Paris", people=1)
    return [plain, streamed, told(first), told(second)]


@pytest.mark.parametrize(("kind", "slug", "upstream"), MODELS)
def test_both_ends_answer_alike(ends: tuple[End, End], kind: Kind, slug: str, upstream: str) -> None:
    direct, relayed = (played(model_at(end, kind, end.model(slug, upstream))) for end in ends)
    assert relayed == direct


@pytest.mark.parametrize(("kind", "slug"), CROSSED)
def test_models_of_other_dialects(ends: tuple[End, End], kind: Kind, slug: str) -> None:
    model = model_at(ends[1], kind, slug)
    if "gemini" not in slug and "inference" not in slug:
        assert played(model)
        return
    asked = [HumanMessage("tell me about ledgers")]
    assert model.invoke(asked).text == whole(model, asked).text
    assert model.with_structured_output(City).invoke("which city?") == City(name="Paris", people=1)


@pytest.mark.parametrize("slug", ["mistral-large-3", "ainfera-inference", "gpt-5-5", "claude-opus-4-7"])
def test_a_stream_counts_its_tokens_once(ends: tuple[End, End], slug: str) -> None:
    model: Any = model_at(ends[1], "openai", slug)
    assert whole(model, "hello").usage_metadata["total_tokens"] == model.invoke("hello").usage_metadata["total_tokens"]


def test_claudes_thoughts_come_back_signed(ends: tuple[End, End]) -> None:
    found = []
    for end in ends:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        bound = model_at(end, "anthropic", "claude-opus-4-7", thinking=thinking, max_tokens=3000).bind_tools(
            [get_weather]
        )
        weather: list[Any] = [HumanMessage("weather in two cities")]
        first: Any = bound.invoke(weather)
        results = [ToolMessage("sunny", tool_call_id=call["id"]) for call in first.tool_calls]
        second = bound.invoke([*weather, first, *results])
        found.append([first.content[0], second.text])
        assert first.content[0]["signature"]
    assert found[0] == found[1]


def test_the_async_models(ends: tuple[End, End]) -> None:
    async def ask(kind: Kind, slug: str, end: End) -> list[Any]:
        model = model_at(end, kind, slug)
        plain = await model.ainvoke("hello")
        pieces = [chunk.text async for chunk in model.astream("hello")]
        return [told(plain), pieces]

    for kind, slug, upstream in MODELS:
        direct, relayed = (asyncio.run(ask(kind, end.model(slug, upstream), end)) for end in ends)
        assert relayed == direct


def test_embeddings(ends: tuple[End, End]) -> None:
    made = []
    for end in ends:
        key: Any = end.key
        texts = OpenAIEmbeddings(
            model="text-embedding-3-small", base_url=end.openai(), api_key=key, check_embedding_ctx_length=False
        )
        made.append(texts.embed_documents(["one", "two"]))
    assert made[0] == made[1]
    assert len(made[1]) == 2
