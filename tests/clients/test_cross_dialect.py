"""SDKs that ask for a model of another maker's dialect: text, tools, pictures, thoughts, streams, and what they cost."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
import pydantic
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.clients.both import End, Watch, dropped, lines, shown
from tests.clients.provider_models import CLAUDE, MODELS, RESPONSES

PIXEL = base64.b64encode(b"\x89PNG not quite").decode()
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather of a city.", "parameters": SCHEMA},
}
TOOL: Any = {"name": "get_weather", "description": "The weather of a city.", "input_schema": SCHEMA}
CITIES: Any = {"role": "user", "content": "weather in two cities"}
PIECES: Any = {"include_usage": True}


class City(pydantic.BaseModel):
    name: str
    people: int


@pytest.fixture(scope="module")
def chat(ends: tuple[End, End]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{ends[1].root}/v1", api_key=ends[1].key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def messages(ends: tuple[End, End]) -> Iterator[Anthropic]:
    with Anthropic(base_url=ends[1].root, api_key=ends[1].key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def books(ends: tuple[End, End]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=ends[1].root, headers={"authorization": f"Bearer {ends[1].key}"}) as client:
        yield client


def said(client: Anthropic, stream: bool, **asked: Any) -> Any:
    """The message, plain or streamed."""
    asked = {"max_tokens": 3000, **asked}
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as running:
        return running.get_final_message()


def completed(client: OpenAI, stream: bool, **asked: Any) -> Any:
    """The completion, plain or streamed."""
    if not stream:
        return client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options=PIECES) as running:
        running.until_done()
        return running.get_final_completion()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_openai_callers_talk_to_claude(chat: OpenAI, stream: bool) -> None:
    first = completed(chat, stream, model=CLAUDE, messages=[{"role": "system", "content": "Be brief."}, CITIES])
    assert "weather in two cities" in first.choices[0].message.content
    assert (first.choices[0].finish_reason, first.model) == ("stop", CLAUDE)
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens > 0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("effort", [None, "high"])
def test_openai_callers_use_tools_of_claude_and_send_thoughts_back(
    chat: OpenAI, watch: Watch, stream: bool, effort: str | None
) -> None:
    """With thinking on, the provider refuses a second turn without the thoughts it signed."""
    more: Any = {"reasoning_effort": effort} if effort else {}
    first = completed(chat, stream, model=CLAUDE, messages=[CITIES], tools=[FUNCTION], **more)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]
    turn: dict[str, Any] = {
        "role": "assistant",
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ],
    }
    if effort:
        assert message.reasoning_content
        turn["thinking_blocks"] = message.thinking_blocks
    watch.new()
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
    second = completed(chat, stream, model=CLAUDE, messages=[CITIES, turn, *results], tools=[FUNCTION], **more)
    assert "sunny | sunny" in second.choices[0].message.content
    (body,) = watch.bodies()
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    kinds = [block["type"] for block in body["messages"][1]["content"]]
    assert kinds == (["thinking"] if effort else []) + ["tool_use"] * 2


def test_openai_callers_show_pictures_and_papers_to_claude(chat: OpenAI, watch: Watch) -> None:
    parts: Any = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/one.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
    ]
    raw = chat.chat.completions.with_raw_response.create(model=CLAUDE, messages=[{"role": "user", "content": parts}])
    assert any("detail" in name for name in dropped(raw.headers))
    (body,) = watch.bodies()
    sources = [block["source"] for block in body["messages"][0]["content"][1:]]
    assert sources[0] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert sources[1] == {"type": "url", "url": "https://pictures.example/one.png"}
    assert sources[2] == {"type": "base64", "media_type": "application/pdf", "data": PIXEL}


def test_openai_callers_ask_claude_for_a_form(chat: OpenAI) -> None:
    parsed = chat.chat.completions.parse(model=CLAUDE, messages=[CITIES], response_format=City)
    assert parsed.choices[0].message.parsed == City(name="Paris", people=1)


CARRIED_TO_CLAUDE: dict[str, tuple[Any, Any]] = {
    "stop": (["STOP"], ("stop_sequences", ["STOP"])),
    "user": ("ada", ("metadata", {"user_id": "ada"})),
    "max_completion_tokens": (77, ("max_tokens", 77)),
    "safety_identifier": ("ada", ("metadata", {"user_id": "ada"})),
}
NAMED_TO_CLAUDE: dict[str, Any] = {
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 5},
    "store": True,
    "metadata": {"a": "b"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "verbosity": "low",
    "temperature": 0.5,
    "top_p": 0.5,
}


@pytest.mark.parametrize("field", CARRIED_TO_CLAUDE)
def test_a_field_is_carried_to_claude(chat: OpenAI, watch: Watch, field: str) -> None:
    value, (name, meant) = CARRIED_TO_CLAUDE[field]
    raw = chat.chat.completions.with_raw_response.create(model=CLAUDE, messages=[CITIES], **{field: value})
    assert dropped(raw.headers) == set()
    assert watch.bodies()[0][name] == meant


@pytest.mark.parametrize("field", NAMED_TO_CLAUDE)
def test_a_field_claude_has_not_is_carried_or_named(chat: OpenAI, watch: Watch, field: str) -> None:
    asked: Any = {"model": CLAUDE, "messages": [CITIES], field: NAMED_TO_CLAUDE[field]}
    raw = chat.chat.completions.with_raw_response.create(**asked)
    assert dropped(raw.headers) == {field}
    assert field not in watch.bodies()[0]


def test_an_older_claude_takes_a_temperature(chat: OpenAI, watch: Watch) -> None:
    """Newer ones refuse it, so it is named for them; this one is sent it, and its 2 ends at 1."""
    for given, meant in ((0.5, 0.5), (2, 1)):
        asked: Any = {"model": "claude-3-haiku", "messages": [CITIES], "temperature": given}
        chat.chat.completions.create(**asked)
        assert watch.bodies()[0]["temperature"] == meant


@pytest.mark.parametrize("refused", [{"n": 2}, {"logprobs": True}, {"modalities": ["audio", "text"], "audio": {}}])
def test_what_would_change_the_answer_is_refused(chat: OpenAI, watch: Watch, refused: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as said_no:
        chat.chat.completions.create(model=CLAUDE, messages=[CITIES], extra_body=refused)
    assert said_no.value.code == "unsupported_content"
    assert str(said_no.value.param).split(".")[0] in refused
    assert watch.new() == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("model", MODELS.values())
def test_anthropic_callers_use_tools_of_others(messages: Anthropic, watch: Watch, model: str, stream: bool) -> None:
    """Gemini's signatures come back, Mistral's ids are nine characters, or the provider refuses the second turn."""
    first = said(messages, stream, model=model, messages=[CITIES], tools=[TOOL], system="Be brief.")
    uses = [block for block in first.content if block.type == "tool_use"]
    assert (first.stop_reason, [use.input for use in uses]) == ("tool_use", [{"city": "Paris"}, {"city": "Oslo"}])
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    turns = [CITIES, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = said(messages, stream, model=model, messages=turns, tools=[TOOL], system="Be brief.")
    assert "sunny" in second.content[-1].text
    assert (second.stop_reason, second.model) == ("end_turn", model)
    assert [seen.begin["refused"] for seen in watch.new()] == [None, None]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_both_dialects_reach_a_model_of_responses_alone(
    chat: OpenAI, messages: Anthropic, watch: Watch, stream: bool
) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    content = [{"type": "text", "text": "what is it?"}, picture]
    told = said(messages, stream, model=RESPONSES, messages=[{"role": "user", "content": content}], system="Be brief.")
    assert "what is it?" in told.content[-1].text
    shown_too = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    parts = [{"type": "text", "text": "what is it?"}, shown_too]
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    answer = completed(chat, stream, model=RESPONSES, messages=turns)
    assert answer.choices[0].message.content == told.content[-1].text
    assert answer.usage.completion_tokens == told.usage.output_tokens
    assert {seen.begin["path"] for seen in watch.new()} == {"/v1/responses"}


def test_a_model_without_tools_says_so_in_both_dialects(chat: OpenAI, messages: Anthropic) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as first:
        chat.chat.completions.create(model=RESPONSES, messages=[CITIES], tools=[FUNCTION])
    assert first.value.code == "tools_not_supported_by_backend"
    with pytest.raises(anthropic.UnprocessableEntityError) as second:
        messages.messages.create(model=RESPONSES, max_tokens=9, messages=[CITIES], tools=[TOOL])
    assert second.value.body["error"]["details"]["backend"] == RESPONSES  # type: ignore[index]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_thoughts_of_others_are_shown_to_who_asked(messages: Anthropic, stream: bool) -> None:
    asked: Any = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "think [[sim:reasoning=4]]"}]}
    hidden = said(messages, stream, **asked)
    open_ = said(messages, stream, **asked, thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block.type for block in hidden.content] == ["text"]
    assert [block.type for block in open_.content] == ["thinking", "text"]
    assert (open_.content[0].thinking, open_.content[0].signature) == ("thought0 thought1 thought2 thought3", "")
    assert hidden.usage.output_tokens == open_.usage.output_tokens


@pytest.mark.parametrize("model", ["gpt-5-5", "mistral-large-3", RESPONSES])
def test_claudes_signed_thoughts_never_reach_another_maker(messages: Anthropic, watch: Watch, model: str) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    asked: Any = [{"role": "user", "content": "hello [[sim:redacted]]"}]
    first = said(messages, False, model=CLAUDE, messages=asked, thinking=thinking)
    signature = next(block.signature for block in first.content if block.type == "thinking")
    hidden = next(block.data for block in first.content if block.type == "redacted_thinking")
    watch.new()
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": first.content}, CITIES]
    raw = messages.messages.with_raw_response.create(model=model, max_tokens=3000, messages=turns)  # type: ignore[arg-type]
    assert raw.parse().content[-1].text  # type: ignore[union-attr]
    assert any("thinking" in name or "content" in name for name in dropped(raw.headers))
    sent = watch.only().begin["body"]
    assert signature not in sent
    assert hidden not in sent


def test_the_fields_of_anthropics_that_others_have_not_are_named(messages: Anthropic, watch: Watch) -> None:
    system: Any = [{"type": "text", "text": "first", "cache_control": {"type": "ephemeral"}}]
    raw = messages.beta.messages.with_raw_response.create(
        model="gpt-5-5",
        max_tokens=3000,
        system=system,
        messages=[CITIES],
        tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}],
        context_management={"edits": []},
        metadata={"user_id": '{"session": "x"}'},
        betas=["context-management-2025-06-27"],
        extra_body={"top_k": 5},
    )
    named = dropped(raw.headers)
    assert {"context_management", "top_k"} <= named
    assert any("cache_control" in name for name in named)
    (body,) = watch.bodies()
    assert not {"context_management", "top_k", "betas"} & set(body)
    assert "cache_control" not in json.dumps(body)


@pytest.mark.parametrize("model", ["gpt-5-5", "gemini-3-1-pro", "mistral-large-3"])
def test_anthropic_callers_ask_others_for_a_form(messages: Anthropic, model: str) -> None:
    parsed = messages.messages.parse(model=model, max_tokens=300, messages=[CITIES], output_format=City)
    assert parsed.parsed_output == City(name="Paris", people=1)


def test_pictures_of_anthropic_callers_reach_others(messages: Anthropic, watch: Watch) -> None:
    content: Any = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/one.png"}},
        {"type": "text", "text": "what is it?"},
    ]
    for model in ("gpt-5-5", "gemini-3-1-pro", "mistral-large-3"):
        said(messages, False, model=model, messages=[{"role": "user", "content": content}])
    for body in watch.bodies():
        urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        assert urls == [f"data:image/png;base64,{PIXEL}", "https://pictures.example/one.png"]


@pytest.mark.parametrize("model", ["gpt-5-5", "gemini-3-1-pro", "mistral-large-3", RESPONSES])
def test_finish_reasons_cross(messages: Anthropic, chat: OpenAI, model: str) -> None:
    long: Any = [{"role": "user", "content": "much to say " * 9}]
    assert said(messages, False, model=model, messages=long, max_tokens=16).stop_reason == "max_tokens"
    cut = chat.chat.completions.create(model=CLAUDE, messages=long, max_completion_tokens=3)
    assert cut.choices[0].finish_reason == "length"
    refused = chat.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": "no [[sim:refusal]]"}])
    assert refused.choices[0].finish_reason == "content_filter"


COSTED = (CLAUDE, "gpt-5-5", "gemini-3-1-pro", "mistral-large-3", "deepseek-chat", RESPONSES)


@pytest.mark.parametrize("model", COSTED)
def test_the_same_usage_costs_the_same_in_every_dialect(books: httpx.Client, model: str) -> None:
    """Plain or streamed, to the last digit, in the answer, in the ledger and in the record of the call."""
    content = "words to count [[sim:cached=3 reasoning=5]]"
    asked = {"model": model, "max_tokens": 3000, "messages": [{"role": "user", "content": content}]}
    costs, usages = set(), []
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/inference"):
        for stream in (False, True):
            more = {"stream": stream} | ({"stream_options": PIECES} if stream and path != "/v1/messages" else {})
            answer = books.post(path, json={**asked, **more})
            assert answer.status_code == 200, answer.text
            record = books.get(f"/v1/inferences/{answer.headers['x-ainfera-inference-id']}").json()
            assert (record["stream"], record["outcome_status"]) == (stream, "succeeded")
            receipt = books.get(f"/v1/receipts/{answer.headers['x-ainfera-receipt-id']}").json()
            costs |= {Decimal(record["cost_usd"]), Decimal(receipt["cost_usd"])}
            usages.append(record["usage"])
            if not stream:
                costs.add(Decimal(answer.headers["x-ainfera-cost-usd"]))
            elif path != "/v1/messages":
                costs.add(Decimal(list(lines(answer.content))[-1]["ainfera"]["cost_usd"]))
    assert all(usage == usages[0] for usage in usages)
    assert usages[0]["cached_input_tokens"] == 3
    assert len(costs) == 1
    assert costs.pop() > 0


ALIASES = ("ainfera-inference", "ainfera-mithril", "ainfera-auto", "ainfera/auto")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/inference"])
def test_each_alias_behaves_as_the_routers_own_name(books: httpx.Client, watch: Watch, path: str, stream: bool) -> None:
    told = []
    for name in ALIASES:
        asked = {"model": name, "max_tokens": 50, "messages": [{"role": "user", "content": "who are you?"}]}
        answer = books.post(path, json={**asked, "stream": stream})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ainfera-model"] == "mistral-large-3"
        assert name == "ainfera-inference" or name not in answer.text
        record = books.get(f"/v1/inferences/{answer.headers['x-ainfera-inference-id']}").json()
        assert (record["requested_model"], record["decision_type"]) == ("ainfera-inference", "deterministic")
        decision = books.get(f"/v1/inferences/{record['inference_id']}/decision").text
        assert name == "ainfera-inference" or name not in decision
        told.append([record["model"], record["usage"], record["cost_usd"], said_in(answer, stream)])
    assert all(each == told[0] for each in told)
    assert told[0][-1]
    bodies = watch.bodies()
    assert all(body == bodies[0] for body in bodies)


def said_in(answer: httpx.Response, stream: bool) -> Any:
    """The events, or the body, without what names the one call."""
    found = list(lines(answer.content)) if stream else [answer.json()]
    named = {"inference_id", "receipt_id", "message"}
    return [{name: value for name, value in each.items() if name not in named} for each in shown(found)]
