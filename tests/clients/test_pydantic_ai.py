"""PydanticAI's agents at both ends: a tool, a streamed run, an output with a form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.both import End

CASES = [
    ("openai", "gpt-5-5", "gpt-5.5"),
    ("anthropic", "claude-opus-4-7", "claude-opus-4-7"),
]
CROSSED = [
    ("openai", "claude-opus-4-7"),
    ("openai", "grok-4"),
    ("openai", "deepseek-chat"),
    ("openai", "mistral-large-3"),
    ("openai", "ainfera-inference"),
    ("anthropic", "gpt-5-5"),
    ("anthropic", "gemini-3-1-pro"),
    ("anthropic", "mistral-large-3"),
]
Play = Callable[[Any], Any]


class City(pydantic.BaseModel):
    name: str
    people: int


async def at(end: End, kind: str, name: str, play: Play) -> Any:
    if kind == "openai":
        async with AsyncOpenAI(base_url=end.openai(), api_key=end.key, max_retries=0) as client:
            return await play(OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client)))
    async with AsyncAnthropic(base_url=end.anthropic, api_key=end.key, max_retries=0) as client:
        return await play(AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client)))


async def played(model: Any) -> list[Any]:
    """A run with a tool, plain and streamed, and one that ends in a form."""
    asked: list[str] = []
    agent = Agent(model, instructions="Be brief.")

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"sunny in {city}"

    plain = await agent.run("weather in two cities")
    assert "sunny in Oslo" in plain.output
    async with agent.run_stream("weather in two cities") as running:
        pieces = [text async for text in running.stream_text(delta=True, debounce_by=None)]
        usage = running.usage
    assert "".join(pieces) == plain.output
    assert sorted(asked) == ["Oslo", "Oslo", "Paris", "Paris"]
    formed = await Agent(model, output_type=City).run("which city has the best weather?")
    assert formed.output == City(name="Paris", people=1)
    counts = [(each.requests, each.input_tokens, each.output_tokens) for each in (plain.usage, usage, formed.usage)]
    assert counts[0] == counts[1]
    return [plain.output, pieces, counts]


@pytest.mark.parametrize(("kind", "slug", "upstream"), CASES)
def test_both_ends_run_alike(ends: tuple[End, End], kind: str, slug: str, upstream: str) -> None:
    direct, relayed = (asyncio.run(at(end, kind, end.model(slug, upstream), played)) for end in ends)
    assert relayed == direct


@pytest.mark.parametrize(("kind", "slug"), CROSSED)
def test_models_of_other_makers(ends: tuple[End, End], kind: str, slug: str) -> None:
    assert asyncio.run(at(ends[1], kind, slug, played))
