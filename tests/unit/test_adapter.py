"""A backend that is no HTTP provider: asked through the adapter surface, paid and answered like any other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ainfera_gateway.canonical.conversation import Choice, ToolSpec
from ainfera_gateway.canonical.events import ContentDelta, MessageDelta, StreamEvent, fold
from ainfera_gateway.canonical.response import AnsweredText, AnsweredThinking, AnsweredToolCall, ChatResponse
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.plan import CallPlan
from ainfera_gateway.inference.run import CallRun
from ainfera_gateway.providers.adapter import AdapterRequest, ProviderAdapter, ToolsNotSupportedError, events_of
from ainfera_gateway.wire.anthropic_messages.request import parse as parse_messages
from ainfera_gateway.wire.openai_chat.request import parse as parse_chat
from ainfera_gateway.wire.parsed import Parsed
from tests.unit.call_house import Provider, Sink, plan, rooms

TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


class Echo(ProviderAdapter):
    """Says what it was told, all at once."""

    async def chat(
        self, request: AdapterRequest, tools: Sequence[ToolSpec], tool_choice: Choice | None
    ) -> ChatResponse:
        if tools:
            raise ToolsNotSupportedError
        said = request.conversation.turns[-1].parts[0]
        return ChatResponse(content=f"echo: {said.text}", finish_reason="stop", usage=Usage(9, 4))


class Native(Echo):
    """The same word by word."""

    def supports_native_streaming(self) -> bool:
        return True

    async def stream_chat(
        self, request: AdapterRequest, tools: Sequence[ToolSpec], tool_choice: Choice | None
    ) -> AsyncIterator[StreamEvent]:
        for word in ("echo: ", "h", "i"):
            await asyncio.sleep(0)
            yield ContentDelta(word)
        yield MessageDelta(finish_reason="stop", usage=Usage(9, 4))


class Broken(Echo):
    async def chat(
        self, request: AdapterRequest, tools: Sequence[ToolSpec], tool_choice: Choice | None
    ) -> ChatResponse:
        raise ValueError("a secret of the adapter")


@dataclass(frozen=True)
class Way:
    """One dialect, plain or streamed."""

    dialect: str
    stream: bool

    def parsed(self, *, tools: bool = False) -> Parsed:
        body: dict[str, Any] = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
        body["stream"] = self.stream
        if self.dialect == "anthropic":
            return parse_messages(json.dumps(body | ({"tools": [TOOL]} if tools else {})).encode())
        if tools:
            body["tools"] = [{"type": "function", "function": {"name": "f"}}]
        return parse_chat(json.dumps(body).encode(), flat=self.dialect == "native")


WAYS = [Way(dialect, stream) for dialect in ("openai", "anthropic", "native") for stream in (False, True)]


class Heard(Sink):
    """A sink that keeps the heads as well."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}

    async def start_stream(self, headers: Any) -> None:
        self.headers = dict(headers)
        await super().start_stream(headers)


async def made(
    tmp_path: Path, adapter: ProviderAdapter, way: Way, check: Callable[[Any, Heard], None], **more: Any
) -> None:
    async with rooms(tmp_path) as house_of:
        house = house_of.house(Provider([]))
        house.backends.add_adapter("mistral", adapter)
        call: CallPlan = plan(stream=way.stream)
        parsed = way.parsed(**more)
        call = replace(
            call,
            parsed=parsed,
            targets=call.targets[:1],
            pinned=True,
            facts=replace(call.facts, dialect=parsed.dialect),
        )
        heard = Heard()
        try:
            await CallRun(house, call, heard).run()
        finally:
            check(house_of, heard)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("adapter", [Echo(), Native()], ids=["wrapped", "native"])
def test_every_dialect_is_answered(tmp_path: Path, way: Way, adapter: Echo) -> None:
    def check(_house: Any, heard: Heard) -> None:
        text = heard.body.decode()
        assert heard.ended
        if way.stream:
            said = "".join(
                json.loads(line.removeprefix("data: ")).get("delta", {}).get("text", "")
                if way.dialect == "anthropic"
                else "".join(
                    choice["delta"].get("content") or ""
                    for choice in json.loads(line.removeprefix("data: "))["choices"]
                )
                for line in text.splitlines()
                if line.startswith("data: ") and line != "data: [DONE]"
            )
            assert said == "echo: hi"
            wanted = "native" if adapter.supports_native_streaming() else "wrapped"
            assert heard.headers["x-ainfera-stream-mode"] == wanted
        else:
            assert '"echo: hi"' in text

    asyncio.run(made(tmp_path, adapter, way, check))


def test_tools_it_does_not_take_are_the_caller_s_error(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        asyncio.run(made(tmp_path, Echo(), WAYS[0], lambda *_: None, tools=True))
    assert (caught.value.status, caught.value.code) == (422, "tools_not_supported_by_backend")
    assert caught.value.detail["backend"] == "mistral-large-3"


def test_what_it_raises_reaches_nobody(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        asyncio.run(made(tmp_path, Broken(), WAYS[0], lambda *_: None))
    assert (caught.value.status, caught.value.code) == (502, "provider_error")
    assert "secret" not in caught.value.message


def test_a_plain_text_is_one_content_delta_and_one_message_delta() -> None:
    events = events_of(ChatResponse(content="all", finish_reason="stop", usage=Usage(1, 1)))
    assert [event.kind for event in events] == ["content_delta", "message_delta"]


def test_the_events_of_an_answer_fold_to_it() -> None:
    blocks = (
        AnsweredThinking("why", "sig"),
        AnsweredText("so"),
        AnsweredToolCall("a", "f", "{}", "thought"),
        AnsweredThinking("", redacted="xyz"),
        AnsweredToolCall("b", "g", '{"x":1}'),
    )
    whole = fold(events_of(ChatResponse(blocks=blocks, finish_reason="tool_calls", stop_sequence="END")))
    assert whole.blocks == blocks
    assert [call.id for call in whole.tool_calls] == ["a", "b"]
    assert (whole.finish_reason, whole.stop_sequence) == ("tool_calls", "END")
