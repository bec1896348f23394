"""The simulator's Anthropic dialect: answers and frames through the official SDK, its directives, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.simulator.process import Simulator
from tests.simulator.raw import connect, events, last_seen, named_events, raw, request_bytes, unchunked
from tests.simulator.signatures import seal
from tests.simulator.speech import count_tokens
from tests.unit.anthropic_calls import THINKING, TOOL, ask


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.clear_script()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[anthropic.Anthropic]:
    base = f"{simulator.root_url}/anthropic"
    with anthropic.Anthropic(api_key="sk-ant-simulated", base_url=base, max_retries=0, timeout=60) as made:
        yield made


def stream_of(simulator: Simulator, directive: str, **fields: Any) -> list[dict[str, Any]]:
    received, _ = raw(simulator, directive, stream=True, path="/v1/messages", **{"max_tokens": 50, **fields})
    return named_events(received)


# Well-behaved answers.


def test_plain_answer_and_its_usage(client: anthropic.Anthropic, simulator: Simulator) -> None:
    text = "Grüße [[sim:cached=4 cache_write=3 cache_write_1h=2]]"
    asked: dict[str, Any] = {"model": "claude-x", "messages": ask(text), "system": "Be brief and kind to everybody."}
    answer = client.messages.create(max_tokens=50, **asked)
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "Echo of message 1: Grüße"}]
    assert (answer.stop_reason, answer.stop_sequence, answer.model, answer.role) == (
        "end_turn", None, "claude-x", "assistant",
    )  # fmt: skip
    usage = answer.usage
    assert usage.cache_creation is not None
    created = usage.cache_creation
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (4, 5)
    assert (created.ephemeral_5m_input_tokens, created.ephemeral_1h_input_tokens) == (3, 2)
    counted = client.messages.count_tokens(**asked).input_tokens
    assert counted == usage.input_tokens + 4 + 5
    assert usage.output_tokens == count_tokens("Echo of message 1: Grüße")
    assert answer._request_id and answer._request_id.startswith("req_")
    assert (answer.model_extra or {})["x_provider_note"]["model"] == "not-the-model"
    assert last_seen(simulator).begin["dialect"] == "anthropic"


def test_every_end_of_an_answer(client: anthropic.Anthropic) -> None:
    def end(text: str = "one two three", **more: Any) -> tuple[Any, ...]:
        answer = client.messages.create(model="m", messages=ask(text), **{"max_tokens": 50, **more})
        return answer.stop_reason, answer.stop_sequence, answer.usage.output_tokens

    assert end(max_tokens=3) == ("max_tokens", None, 3)
    assert end(max_tokens=0) == ("max_tokens", None, 0)
    assert end(stop_sequences=["three", "two"])[:2] == ("stop_sequence", "two")
    assert end("[[sim:refusal]]")[0] == end("[[sim:content_filter]]")[0] == "refusal"
    assert end("[[sim:pause_turn]]")[0] == "pause_turn"
    assert end("[[sim:finish=length]]")[0] == "max_tokens"
    assert end("the weather", tools=[TOOL])[0] == "tool_use"


def test_frames_of_a_stream_in_order(simulator: Simulator) -> None:
    frames = stream_of(simulator, "text=one%20two cached=2")
    assert [frame["type"] for frame in frames] == [
        "message_start", "content_block_start", "ping", "content_block_delta", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    start, end = frames[0]["message"], frames[-2]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"]["output_tokens"] == 2
    assert end["usage"]["input_tokens"] == start["usage"]["input_tokens"]
    assert last_seen(simulator).end["usage"]["cache_read_input_tokens"] == 2


def test_tool_use_streamed_is_the_plain_one_and_takes_its_results(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "m", "max_tokens": 200, "tools": [TOOL]}
    history = ask("the weather in two cities [[sim:fine_grained]]")
    plain = client.messages.create(messages=history, **asked)
    with client.messages.stream(messages=history, **asked) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        streamed = stream.get_final_message()
    assert streamed.content == plain.content and streamed.usage == plain.usage
    assert pieces[0] == "" and max(map(len, pieces)) == 2
    uses = [block for block in plain.content if block.type == "tool_use"]
    assert [use.input for use in uses] == [{"city": "Paris", "days": 1}, {"city": "Oslo", "days": 2}]
    results: list[Any] = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    history += [{"role": "assistant", "content": plain.content}, {"role": "user", "content": results}]
    final = client.messages.create(messages=history, **asked)
    assert [block.to_dict() for block in final.content] == [{"type": "text", "text": "The tools say: sunny | sunny"}]
    one: Any = {"type": "any", "disable_parallel_tool_use": True}
    assert len(client.messages.create(messages=ask("two cities"), tool_choice=one, **asked).content) == 1


def test_tool_json_cut_by_the_limit(client: anthropic.Anthropic, simulator: Simulator) -> None:
    frames = stream_of(simulator, "fine_grained text=", messages=ask("weather"), max_tokens=4, tools=[TOOL])
    parts = [frame["delta"]["partial_json"] for frame in frames if frame["type"] == "content_block_delta"]
    assert "".join(parts) == '{"city":"Paris",'[:15] and frames[-2]["delta"]["stop_reason"] == "max_tokens"
    plain = client.messages.create(model="m", max_tokens=4, messages=ask("weather"), tools=[TOOL])
    assert plain.content[0].to_dict()["input"] == {}


def test_thinking_loop_and_its_signatures(client: anthropic.Anthropic, simulator: Simulator) -> None:
    asked: dict[str, Any] = {"model": "m", "max_tokens": 2000, "tools": [TOOL], "thinking": THINKING}
    question = ask("the weather [[sim:redacted reasoning=5]]")
    first = client.messages.create(messages=question, **asked)
    with client.messages.stream(messages=question, **asked) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert streamed.content == first.content and kinds.index("thinking") < kinds.index("signature")
    assert [block.type for block in first.content] == ["thinking", "redacted_thinking", "tool_use"]
    assert first.usage.output_tokens_details and first.usage.output_tokens_details.thinking_tokens == 5
    blocks = [block.to_dict() for block in first.content]
    result = {"type": "tool_result", "tool_use_id": blocks[2]["id"], "content": "sunny"}

    def again(*returned: Any) -> Any:
        turns = [{"role": "assistant", "content": list(returned)}, {"role": "user", "content": [result]}]
        return client.messages.create(messages=[*question, *turns], **asked)

    assert again(*blocks).stop_reason == "end_turn"
    altered = {**blocks[0], "signature": str(blocks[0]["signature"])[:-3] + "A=="}
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        again(altered, *blocks[1:])
    assert last_seen(simulator).begin["foreign"] == ["messages.1.content.0.signature"]
    with pytest.raises(anthropic.BadRequestError, match="Invalid `data`"):
        again(blocks[0], {**blocks[1], "data": "x"}, blocks[2])
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
        again(blocks[2])


def test_thoughts_that_are_not_shown_are_signed_too(client: anthropic.Anthropic) -> None:
    config: Any = {"type": "adaptive", "display": "omitted"}
    answer = client.messages.create(model="m", max_tokens=100, messages=ask("hi"), thinking=config)
    assert answer.content[0].to_dict() == {"type": "thinking", "thinking": "", "signature": seal("anthropic", "")}


def test_structured_output_fits_its_schema(client: anthropic.Anthropic) -> None:
    shape: Any = {
        "$defs": {"Day": {"type": "object", "properties": {"rain": {"type": "boolean"}}}},
        "properties": {"day": {"$ref": "#/$defs/Day"}, "kind": {"enum": ["dry", "wet"]}, "note": {"anyOf": [{"type": "string"}]}},
    }  # fmt: skip
    form: Any = {"format": {"type": "json_schema", "schema": {"type": "object", **shape}}}
    answer = client.messages.create(model="m", max_tokens=100, messages=ask("hi"), output_config=form)
    assert json.loads(answer.content[0].to_dict()["text"]) == {"day": {"rain": True}, "kind": "dry", "note": "Paris"}


def test_the_sdks_tool_runner_falls_back_from_threads(client: anthropic.Anthropic, simulator: Simulator) -> None:
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    asked: list[Any] = ask("weather in two cities")
    thinking: Any = {"type": "adaptive"}
    before = simulator.count()
    runner = client.beta.messages.tool_runner(
        model="m", max_tokens=2000, messages=asked, tools=[anthropic.beta_tool(get_weather)], thinking=thinking
    )
    last = list(runner)[-1]
    assert last.content[-1].to_dict()["text"] == "The tools say: sunny in Paris | sunny in Oslo"
    assert simulator.wait_idle()
    assert [seen.begin["refused"] for seen in simulator.seen()[before:]] == [400, None, None]


# Misbehaviour.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
        (404, "not_found_error"), (413, "request_too_large"), (429, "rate_limit_error"), (500, "api_error"),
        (529, "overloaded_error"),
    ],
)  # fmt: skip
def test_error_statuses(client: anthropic.Anthropic, status: int, kind: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model="m", max_tokens=5, messages=ask(f"[[sim:{status}]]"))
    error, response = caught.value.body, caught.value.response
    assert isinstance(error, dict)
    assert (caught.value.status_code, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert error["request_id"] == response.headers["request-id"]
    assert ("retry-after" in response.headers) is (status == 429)


def test_error_event_in_a_stream(client: anthropic.Anthropic, simulator: Simulator) -> None:
    frames = stream_of(simulator, "error_after=4 big=20")
    assert len(frames) == 5 and frames[-1]["error"]["type"] == "overloaded_error"
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model="m", max_tokens=50, messages=ask("[[sim:error_after=4]]")) as stream,
    ):
        stream.get_final_message()
    assert last_seen(simulator).outcome == "error"


@pytest.mark.parametrize(
    ("directive", "started", "ended"),
    [
        ("usage=missing", True, [...]),
        ("usage=nowhere", False, [...]),
        ("usage=null", True, [None]),
        ("usage=zero", True, [0]),
        ("usage=doubled", True, [2, 2]),
        ("usage=cumulative", True, [1, 2, 2]),
        ("usage=overbilled", True, [1_000_002]),
        ("usage=negative", True, [-2]),
        ("usage=string", True, ["2"]),
    ],
)
def test_usage_variants_in_streams(simulator: Simulator, directive: str, started: bool, ended: list[Any]) -> None:
    frames = stream_of(simulator, f"text=one%20two {directive}")
    assert ("usage" in frames[0]["message"]) is started
    bills = [frame.get("usage", ...) for frame in frames if frame["type"] == "message_delta"]
    assert [bill["output_tokens"] if isinstance(bill, dict) else bill for bill in bills] == ended
    received, _ = raw(simulator, f"text=one%20two {directive}", stream=False, path="/v1/messages", max_tokens=50)
    plain = json.loads(received.partition(b"\r\n\r\n")[2]).get("usage", ...)
    assert (plain["output_tokens"] if isinstance(plain, dict) else plain) == ended[-1]


def test_truncated_streams(simulator: Simulator) -> None:
    whole = [frame["type"] for frame in stream_of(simulator, "text=one%20two")]
    for directive, kept in (("no_finish", -2), ("no_done", -1), ("4", 4)):
        frames = stream_of(simulator, f"text=one%20two truncate={directive}")
        assert [frame["type"] for frame in frames] == whole[:kept]
    received, _ = raw(simulator, "truncate", stream=True, path="/v1/messages", max_tokens=50)
    with pytest.raises(json.JSONDecodeError):
        json.loads(events(received)[-1])


def test_pings_unknown_events_empty_answers(client: anthropic.Anthropic, simulator: Simulator) -> None:
    frames = [frame["type"] for frame in stream_of(simulator, "pings text=one%20two%20three%20four")]
    assert frames.count("ping") == 4
    unknown = [frame for frame in stream_of(simulator, "unknown_event") if "x_future" in json.dumps(frame)]
    assert [frame["type"] for frame in unknown] == ["x_future_event", "content_block_delta"]
    with client.messages.stream(model="m", max_tokens=9, messages=ask("[[sim:unknown_event text=hi]]")) as stream:
        assert stream.get_final_text() == "hi"
    assert [f["type"] for f in stream_of(simulator, "empty")] == ["message_start", "message_delta", "message_stop"]
    empty = client.messages.create(model="m", max_tokens=9, messages=ask("[[sim:empty=choices]]"))
    assert [block.to_dict() for block in empty.content] == [{"type": "text", "text": ""}]


def test_acks_faults_and_framing_hold_in_this_dialect(simulator: Simulator) -> None:
    for directive, ending in (("reset_after=3", "reset"), ("close", "fin"), ("stall_after=2 split=7", "")):
        if ending:
            assert raw(simulator, directive, stream=True, path="/v1/messages", max_tokens=9)[1] == ending
            continue
        body = {"model": "m", "stream": True, "max_tokens": 9, "messages": ask(f"[[sim:{directive}]]")}
        with connect(simulator) as sock:
            sock.sendall(request_bytes(simulator, body, "stalled", "/v1/messages"))
            received = b""
            while received.count(b"event: ") < 2:
                received += sock.recv(65536)
        assert last_seen(simulator).outcome == "client_gone"
    received, _ = raw(simulator, "comments crlf no_space", stream=True, path="/v1/messages", max_tokens=9)
    assert b"event:message_stop\r\ndata:{" in unchunked(received)


def test_models_in_its_own_form(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["sim-model"]
