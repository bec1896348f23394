"""The official Anthropic SDK, sync and async, against the simulator directly and through the gateway alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.gateway_process import GatewayProcess, family_environment
from tests.simulator.process import Simulator

CLAUDE = "claude-opus-4-7"
QUESTION: Any = [{"role": "user", "content": "tell me about ledgers"}]
WEATHER: Any = [
    {
        "name": "get_weather",
        "description": "The weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Each provider at its own family of the simulator."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), family_environment(simulator.base_url)) as running:
        yield running


@pytest.fixture(params=["direct", "gateway", "drop-in"])
def client(
    request: pytest.FixtureRequest, simulator: Simulator, gateway: GatewayProcess, agent: dict[str, Any]
) -> Iterator[Anthropic]:
    """The same client, pointed at the provider itself and at the gateway."""
    root = simulator.base_url.rstrip("/").removesuffix("/v1")
    url = {"direct": f"{root}/anthropic", "gateway": gateway.url, "drop-in": f"{gateway.url}/anthropic"}[request.param]
    key = "sk-test-anthropic" if request.param == "direct" else agent["api_key"]
    with Anthropic(base_url=url, api_key=key, max_retries=0) as made:
        yield made


@pytest.fixture
def through(gateway: GatewayProcess, agent: dict[str, Any]) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.url, api_key=agent["api_key"], max_retries=0) as made:
        yield made


def test_a_plain_message(client: Anthropic) -> None:
    message = client.messages.create(model=CLAUDE, max_tokens=100, messages=QUESTION)
    assert message.content[0].type == "text"
    assert "tell me about ledgers" in message.content[0].text
    assert (message.model, message.role, message.stop_reason) == (CLAUDE, "assistant", "end_turn")
    assert message.usage.input_tokens > 0
    assert message.x_provider_note["model"] == "not-the-model"  # type: ignore[attr-defined]


def test_a_stream(client: Anthropic) -> None:
    with client.messages.stream(model=CLAUDE, max_tokens=100, messages=QUESTION) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert "tell me about ledgers" in final.content[0].text  # type: ignore[union-attr]
    assert final.usage.output_tokens > 1
    assert final.stop_reason == "end_turn"


def test_pings_unknown_events_and_fragments(client: Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "hello [[sim:pings=3 unknown_event split=5]]"}]
    with client.messages.stream(model=CLAUDE, max_tokens=100, messages=asked) as stream:
        assert "hello" in stream.get_final_text()


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_and_their_results(client: Anthropic, stream: bool) -> None:
    asked: Any = [{"role": "user", "content": "the weather in two cities"}]
    first = answered(client, stream, max_tokens=300, messages=asked, tools=WEATHER)
    uses = [block for block in first.content if block.type == "tool_use"]
    assert len(uses) == 2
    assert all("city" in use.input for use in uses)
    assert first.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    history = [*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = answered(client, stream, max_tokens=300, messages=history, tools=WEATHER)
    assert second.stop_reason == "end_turn"
    assert second.content[0].type == "text"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "thinking", [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}], ids=lambda t: t["type"]
)
def test_thinking_comes_back_signed_byte_for_byte(client: Anthropic, stream: bool, thinking: Any) -> None:
    """The simulator refuses a signature that it did not make, and a tool loop that lost its thinking."""
    asked: Any = [{"role": "user", "content": "the weather in Oslo [[sim:reasoning=9 redacted]]"}]
    more: Any = {"max_tokens": 3000, "tools": WEATHER, "thinking": thinking}
    first = answered(client, stream, messages=asked, **more)
    kinds = [block.type for block in first.content]
    assert kinds[-1] == "tool_use"
    assert "thinking" in kinds
    assert "redacted_thinking" in kinds
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "rain"}
    history = [*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    assert answered(client, stream, messages=history, **more).stop_reason == "end_turn"


def test_a_changed_signature_is_refused_by_the_provider(client: Anthropic) -> None:
    forged = {"type": "thinking", "thinking": "hm", "signature": "Zm9yZ2Vk"}
    history: Any = [*QUESTION, {"role": "assistant", "content": [forged, {"type": "text", "text": "so"}]}, *QUESTION]
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(
            model=CLAUDE, max_tokens=3000, messages=history, thinking={"type": "enabled", "budget_tokens": 1024}
        )
    assert "signature" in str(caught.value)


def test_images_documents_and_a_cached_system(client: Anthropic) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    linked: Any = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    paper: Any = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a paper"}}
    words = {"type": "text", "text": "what is this [[sim:cached=3 cache_write=5]]"}
    system: Any = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    content: Any = [image, linked, words]
    message = client.messages.create(
        model=CLAUDE, max_tokens=60, system=system, messages=[{"role": "user", "content": content}]
    )
    assert (message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (3, 5)
    with_paper: Any = [{"role": "user", "content": [paper, {"type": "text", "text": "read it"}]}]
    assert answered(client, False, max_tokens=60, messages=with_paper).content[0].text


def test_stop_sequences_and_length(client: Anthropic) -> None:
    stopped = client.messages.create(model=CLAUDE, max_tokens=60, messages=QUESTION, stop_sequences=["about"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "about")
    assert client.messages.create(model=CLAUDE, max_tokens=2, messages=QUESTION).stop_reason == "max_tokens"


def test_counting_tokens(client: Anthropic) -> None:
    assert client.messages.count_tokens(model=CLAUDE, messages=QUESTION).input_tokens > 0


def test_counting_tokens_is_no_call(through: Anthropic, gateway: GatewayProcess, agent: dict[str, Any]) -> None:
    for model in (CLAUDE, "gpt-5-5", "ainfera-inference"):
        assert through.messages.count_tokens(model=model, messages=QUESTION).input_tokens > 0
    with gateway.client(agent["api_key"]) as asked:
        assert asked.get("/v1/inferences").json()["inferences"] == []


@pytest.mark.parametrize(
    ("directive", "raised"),
    [
        ("429", anthropic.RateLimitError),
        ("400", anthropic.BadRequestError),
        ("500", anthropic.InternalServerError),
        ("529", anthropic.InternalServerError),
    ],
)
def test_the_provider_s_failures_direct(simulator: Simulator, directive: str, raised: type[Exception]) -> None:
    root = simulator.base_url.rstrip("/").removesuffix("/v1")
    asked: Any = [{"role": "user", "content": f"x [[sim:{directive}]]"}]
    with (
        Anthropic(base_url=f"{root}/anthropic", api_key="sk-test-anthropic", max_retries=0) as client,
        pytest.raises(raised),
    ):
        client.messages.create(model=CLAUDE, max_tokens=9, messages=asked)


@pytest.mark.parametrize("directive", ["500", "529", "400", "429 retry_after=30"])
def test_the_provider_s_failures_through_the_gateway(through: Anthropic, directive: str) -> None:
    asked: Any = [{"role": "user", "content": f"x [[sim:{directive}]]"}]
    with pytest.raises(anthropic.APIStatusError) as caught:
        through.messages.create(model=CLAUDE, max_tokens=9, messages=asked)
    assert caught.value.status_code == 502
    error: Any = caught.value.body
    assert error["error"]["type"] == "api_error"
    assert error["error"]["details"]["code"] == "provider_error"
    assert error["error"]["details"]["upstream_status"] == int(directive.split(maxsplit=1)[0])
    assert error["request_id"]


def test_an_error_in_the_stream_is_an_error_event(through: Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "one two three [[sim:error_after=5]]"}]
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        through.messages.stream(model=CLAUDE, max_tokens=90, messages=asked) as stream,
    ):
        stream.get_final_message()
    assert "provider_error" in str(caught.value.body)


def test_refusals_are_the_dialect_s(through: Anthropic, gateway: GatewayProcess) -> None:
    with pytest.raises(anthropic.UnprocessableEntityError) as unknown:
        through.messages.create(model="no-such-model", max_tokens=9, messages=QUESTION)
    assert unknown.value.body["error"]["details"]["code"] == "model_unavailable"  # type: ignore[index]
    with (
        Anthropic(base_url=gateway.url, api_key="not-a-key", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model=CLAUDE, max_tokens=9, messages=QUESTION)


def test_a_thread_is_refused_in_the_way_that_makes_a_client_send_the_history(
    gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    for thread in ({"type": "create"}, {"type": "continue", "id": "thread_1"}):
        with gateway.client(agent["api_key"]) as asked:
            answer = asked.post(
                "/v1/messages", json={"model": CLAUDE, "max_tokens": 9, "messages": QUESTION, "thread": thread}
            )
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["details"]["error_code"] == "thread_unsupported_request"
        assert error["details"]["unsupported"] == ["thread"]
    with gateway.client(agent["api_key"]) as asked:
        assert asked.get("/v1/inferences").json()["inferences"] == []


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize("form", ["key", "token"])
def test_every_form_of_credential_and_version(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], version: str, form: str
) -> None:
    given: Any = {"api_key": agent["api_key"]} if form == "key" else {"auth_token": agent["api_key"], "api_key": None}
    betas = "context-management-2025-06-27,fine-grained-tool-streaming-2025-05-14"
    with Anthropic(base_url=gateway.url, default_headers={"anthropic-version": version}, **given) as client:
        message = client.beta.messages.create(
            model=CLAUDE, max_tokens=60, messages=QUESTION, betas=betas.split(","), metadata={"user_id": '{"a": 1}'}
        )
    assert message.content
    begin = simulator.seen()[-1].begin
    assert {"anthropic-version", "anthropic-beta", "x-api-key"} <= set(begin["headers"])
    assert "authorization" not in begin["headers"], "the caller's own credential stays here"
    assert json.loads(json.loads(begin["body"])["metadata"]["user_id"]) == {"a": 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-5-5", "gemini-3-1-pro", "grok-4", "mistral-large-3", "ainfera-inference"])
def test_other_makers_models_speak_the_dialect(
    through: Anthropic, gateway: GatewayProcess, agent: dict[str, Any], model: str, stream: bool
) -> None:
    asked: Any = [{"role": "user", "content": "the weather in two cities"}]
    first = answered(through, stream, model=model, max_tokens=300, messages=asked, tools=WEATHER, system="be brief")
    uses = [block for block in first.content if block.type == "tool_use"]
    assert len(uses) == 2
    assert first.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    history = [*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = answered(through, stream, model=model, max_tokens=300, messages=history, tools=WEATHER, system="be brief")
    assert second.stop_reason == "end_turn"
    with gateway.client(agent["api_key"]) as books:
        calls = books.get("/v1/inferences").json()["inferences"]
    assert [call["outcome_status"] for call in calls] == ["succeeded", "succeeded"]
    assert all(Decimal(call["cost_usd"]) > 0 for call in calls)


def test_the_async_client(gateway: GatewayProcess, agent: dict[str, Any]) -> None:
    async def talk() -> str:
        async with (
            AsyncAnthropic(base_url=gateway.url, api_key=agent["api_key"]) as client,
            client.messages.stream(model=CLAUDE, max_tokens=60, messages=QUESTION) as stream,
        ):
            return await stream.get_final_text()

    assert "tell me about ledgers" in asyncio.run(talk())


def test_models_are_listed(through: Anthropic) -> None:
    listed = [model.id for model in through.models.list()]
    assert {"ainfera-inference", CLAUDE} <= set(listed)
    assert through.models.retrieve(CLAUDE).display_name == "Claude Opus 4.7"


def answered(client: Anthropic, stream: bool, **asked: Any) -> Any:
    """The message, plain or streamed."""
    asked = {"model": CLAUDE, **asked}
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as running:
        return running.get_final_message()


def test_what_is_sent_on_differs_in_model_and_limit_alone(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any]
) -> None:
    """A body of a coding agent: 100 tools, 120 kB, cached system blocks, betas, adaptive thinking."""
    tool = {"description": "does one thing. " * 60, "input_schema": {"type": "object", "properties": {}}}
    document = {
        "model": CLAUDE, "max_tokens": 128_000, "stream": True,
        "system": [
            {"type": "text", "text": "session 4711"},
            {"type": "text", "text": "you are an agent" * 100, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": [{"name": f"tool_{number}", **tool} for number in range(100)],
        "tool_choice": {"type": "auto"}, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "metadata": {"user_id": '{"device": "x", "session": "y"}'},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "read \u00e4\U0001f426 this"}]}],
    }  # fmt: skip
    body = json.dumps(document, ensure_ascii=False, indent=1).encode()
    assert len(body) > 100_000
    head = {"content-type": "application/json", "anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b-2"}
    with gateway.client(agent["api_key"]) as client:
        client.patch(f"/v1/agents/{agent['agent_id']}/spend-policy", json={"per_call_cap_usd": None}).raise_for_status()
        answer = client.post("/v1/messages?beta=true", content=body, headers=head)
    assert answer.status_code == 200, answer.text
    assert "x-ainfera-dropped-fields" not in answer.headers
    begin = simulator.seen()[-1].begin
    sent = begin["body"].encode()
    limit = json.loads(sent)["max_tokens"]
    assert 1_024 <= limit < 128_000
    assert sent == body.replace(b'"max_tokens": 128000', b'"max_tokens": %d' % limit)
