"""Streams are relayed as they come: never held back, never altered but for the model, and ended honestly."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import openai
import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.raw_stream import RawStream
from tests.simulator.process import Simulator

ROUTES = ("/v1/chat/completions", "/v1/inference", "/openai/v1/chat/completions")
WITHIN_S = 0.05
ROUNDS = 30
SLUG, UPSTREAM = "gpt-5-5", "gpt-5.5"


def body_of(text: str, **more: Any) -> dict[str, Any]:
    return {"model": SLUG, "stream": True, "messages": [{"role": "user", "content": text}], **more}


def attempt_of(simulator: Simulator) -> str:
    """The one attempt that is open."""
    end = time.monotonic() + 60
    while len(live := simulator.live()) != 1:
        assert time.monotonic() < end, live
        time.sleep(0.002)
    return str(live[0]["attempt"])


def lags_of_one_stream(next_event: Callable[[], object], simulator: Simulator, events: int) -> list[float]:
    """Seconds from the moment the provider was let go on to the moment each event was seen.

    The provider makes an event only after the one before was acknowledged, so a gateway that holds one back stands
    still for ever.
    """
    attempt = attempt_of(simulator)
    lags: list[float] = []
    for _ in range(events):
        asked_s = time.monotonic()
        assert simulator.ack(attempt)["sent"] is not None
        assert next_event() is not None
        lags.append(time.monotonic() - asked_s)
    return lags


def best_of_rounds(measure: Callable[[], list[float]]) -> list[float]:
    """The least lag of each event over as many rounds as it takes: a busy machine holds up one event here and another
    one there, a gateway that holds an event back does so in every round."""
    best = measure()
    for _ in range(ROUNDS - 1):
        if max(best) < WITHIN_S:
            break
        best = [min(pair) for pair in zip(best, measure(), strict=True)]
    return best


@pytest.mark.parametrize("path", ROUTES)
def test_each_event_is_seen_before_the_next_one_is_made(
    path: str, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any]
) -> None:
    def one() -> list[float]:
        with RawStream(gateway.url, path, body_of("a b c d [[sim:wait_ack]]"), agent["api_key"]) as stream:
            assert stream.open().status == 200
            assert b'"role":"assistant"' in (stream.event() or b"")
            lags = lags_of_one_stream(stream.event, simulator, 8)
            attempt = attempt_of(simulator)
            for _ in range(4):
                simulator.ack(attempt)
            assert stream.rest().endswith(b"data: [DONE]\n\n")
            return lags

    assert max(best_of_rounds(one)) < WITHIN_S


def test_a_provider_that_speaks_every_200_ms_is_heard_every_200_ms(
    gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    def one() -> list[float]:
        body = body_of("a b [[sim:pace=200 per_event=2]]")
        with RawStream(gateway.url, ROUTES[0], body, agent["api_key"]) as stream:
            stream.open()
            seen: list[float] = []
            while (piece := stream.piece()) is not None:
                if not piece.data.startswith(b"data: [DONE]"):
                    seen.append(piece.at_s)
            # Role, four deltas, finish: each in a piece of its own, unless the gateway was held up between two.
            return (
                [abs(later - earlier - 0.2) for earlier, later in pairwise(seen)] if len(seen) == 6 else [math.inf] * 5
            )

    assert max(best_of_rounds(one)) < WITHIN_S


@pytest.mark.parametrize("path", ["/v1", "/openai/v1"])
def test_the_official_sdk_sees_each_event_before_the_next_one_is_made(
    path: str, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any]
) -> None:
    with openai.OpenAI(base_url=gateway.url + path, api_key=agent["api_key"], max_retries=0) as client:

        def one() -> list[float]:
            stream = client.chat.completions.create(
                model="ainfera-inference",
                messages=[{"role": "user", "content": "a b c d [[sim:wait_ack]]"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            first = next(stream)
            assert first.choices[0].delta.role == "assistant"
            lags = lags_of_one_stream(lambda: next(stream), simulator, 8)
            attempt = attempt_of(simulator)
            for _ in range(4):
                simulator.ack(attempt)
            rest = list(stream)
            assert rest[-1].usage is not None
            assert first.model == rest[-1].model == "mistral-large-3"
            return lags

        assert max(best_of_rounds(one)) < WITHIN_S


def test_the_head_leaves_with_the_providers_first_byte(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any]
) -> None:
    with RawStream(gateway.url, ROUTES[0], body_of("x [[sim:wait_ack]]"), agent["api_key"]) as stream:
        headers = stream.open().headers
        assert stream.event() is not None
        assert simulator.live()[0]["sent"] == 1, "the provider had said one event and no more"
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["x-ainfera-stream-mode"] == "native"
        assert headers["x-ainfera-model"] == SLUG
        assert headers["x-ainfera-agent-id"] == agent["agent_id"]
        assert headers["x-ainfera-audit-url"] == f"{gateway.url}/v1/audit/{agent['agent_id']}/verify"
        for name in ("inference-id", "receipt-id", "trace-id"):
            assert headers[f"x-ainfera-{name}"]
        assert headers["traceresponse"].split("-")[1] == headers["x-ainfera-trace-id"]
        assert "x-ainfera-cost-usd" not in headers, "not known yet"
        assert headers["cache-control"] == "no-store"
        assert "content-length" not in headers


# ---- the bytes ----

SHAPES = {
    "plain": "text=%22quoted%22%20%5Cback%20%2F%20slash",
    "unicode": "text=%C3%A4%20%F0%9F%90%A6%E2%80%8D%F0%9F%94%A5%20%E4%BA%8C%E4%BA%8C%20%E2%80%A8%20e%CC%81",
    "unicode split at every byte": "text=%C3%A4%20%F0%9F%90%A6%20%E4%BA%8C split=1",
    "crlf": "crlf",
    "crlf split at every byte": "crlf split=1",
    "comments": "comments",
    "no blank after data": "no_space",
    "everything": "comments crlf no_space split=2 text=%F0%9F%90%A6%20x",
    "many tokens": "big=60 ignore_max",
    "several tokens an event": "big=60 ignore_max per_event=7",
    "reasoning": "reasoning=4 cached=3",
    "running usage": "usage=cumulative",
    "model not named as asked": "as_model=gpt-5.5-2026-10-01",
    "content filter": "content_filter",
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def both_streams(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], path: str, body: dict[str, Any]
) -> tuple[bytes, bytes]:
    """The caller's bytes, and what the provider says to the very bytes that the gateway sent it."""
    with RawStream(gateway.url, path, body, agent["api_key"]) as stream:
        stream.open()
        assert stream.status == 200
        ours = stream.rest()
        inference_id = stream.headers["x-ainfera-inference-id"]
    assert inference_id
    assert simulator.wait_idle()
    sent = simulator.seen()[-1].begin["body"].encode()
    with RawStream(simulator.root_url, "/v1/chat/completions", sent, "sk-direct-0123") as stream:
        stream.open()
        theirs = stream.rest()
    created = re.compile(rb'"created":\d+')
    return created.sub(b'"created":0', ours), created.sub(b'"created":0', theirs)


def events_of(stream: bytes) -> list[bytes]:
    """The events with their terminators; a comment is one too."""
    return [event for event in re.split(rb"(?<=\n\n)|(?<=\n\r\n)", stream) if event]


def payload(event: bytes) -> Any:
    return json.loads(event.strip().removeprefix(b"data:"))


def is_usage(event: bytes) -> bool:
    return b'"choices":[]' in event and b'"usage":{' in event


def without_usage(event: bytes) -> bytes:
    """The event with null for the usage that it states beside choices: it stands in the usage chunk alone."""
    return event if is_usage(event) else re.sub(rb'"usage":\{(?:[^{}]|\{[^{}]*\})*\}', b'"usage":null', event)


def renamed(event: bytes, upstream: str) -> bytes:
    """The event with the model of its top level named as the catalog names it; a nested one stands further on."""
    return event.replace(b'"model":"%s"' % upstream.encode(), b'"model":"%s"' % SLUG.encode(), 1)


@pytest.mark.parametrize("include_usage", [False, True], ids=["no usage asked", "usage asked"])
@pytest.mark.parametrize("shape", [*SHAPES, "tools", "two tools in turns"])
@pytest.mark.parametrize("path", ROUTES[:2])
def test_a_stream_is_the_providers_bytes_but_for_the_model(
    path: str, shape: str, include_usage: bool, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any]
) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    if shape.startswith(("tools", "two")):
        directive = "interleave" if shape != "tools" else "pace=0"
        body = body_of(f"weather in two cities [[sim:{directive}]]", tools=TOOLS, **more)
    else:
        body = body_of(f"say it [[sim:{SHAPES[shape]}]]", **more)
    ours, theirs = both_streams(gateway, simulator, agent, path, body)
    upstream = "gpt-5.5-2026-10-01" if shape.startswith("model") else UPSTREAM
    expected = [renamed(event, upstream) for event in events_of(theirs)]
    if include_usage:
        expected = [without_usage(event) for event in expected]
    got = events_of(ours)
    # The comment before the first event is not sent: a failure there can still be told plainly. All others are.
    comments = [event for event in expected if event.startswith(b":")]
    assert [event for event in got if event.startswith(b":")] == comments[1:]
    expected = [event for event in expected if not event.startswith(b":")]
    got = [event for event in got if not event.startswith(b":")]
    assert expected.pop().strip().endswith(b"[DONE]")
    assert got.pop() == b"data: [DONE]\n\n"
    if include_usage:
        last, told = got.pop(), expected.pop()
        assert is_usage(told)
        addition = payload(last).pop("ainfera")
        assert set(addition) == {
            "agent_id",
            "inference_id",
            "receipt_id",
            "audit_verify_url",
            "provider",
            "cost_usd",
        }
        assert last.replace(b',"ainfera":' + json.dumps(addition, separators=(",", ":")).encode(), b"") == told
    else:
        expected = [event for event in expected if not is_usage(event)]
        assert b'"ainfera"' not in ours
    assert got == expected
    assert b'"model":"not-the-model"' in ours, "a nested model is nobody's to change"


def test_a_provider_that_does_not_know_the_usage_option_still_gives_the_caller_one(
    gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    body = body_of("hello there", stream_options={"include_usage": True}) | {"model": "mistral-large-3"}
    with RawStream(gateway.url, ROUTES[0], body, agent["api_key"]) as stream:
        events = events_of(stream.open().rest())
    assert events[-1] == b"data: [DONE]\n\n"
    chunk = payload(events[-2])
    assert chunk["choices"] == []
    assert chunk["ainfera"]["inference_id"] == stream.headers["x-ainfera-inference-id"]
    assert chunk["usage"]["total_tokens"] == chunk["usage"]["prompt_tokens"] + chunk["usage"]["completion_tokens"] > 0
    first = payload(events[0])
    assert (chunk["id"], chunk["model"], chunk["object"]) == (first["id"], "mistral-large-3", first["object"])


# ---- ends that are no end ----

BROKEN = ("error_after=3", "reset_after=3", "truncate=3", "truncate=3 end=chunked", "truncate=in_json", "garbage=data",
          "garbage=utf8", "truncate=no_finish end=chunked", "empty")  # fmt: skip


@pytest.mark.parametrize("directive", BROKEN)
@pytest.mark.parametrize("path", ROUTES[:2])
def test_a_failure_after_the_first_byte_is_an_error_frame_and_no_done(
    path: str, directive: str, gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    with RawStream(gateway.url, path, body_of(f"a b c d [[sim:{directive}]]"), agent["api_key"]) as stream:
        assert stream.open().status == 200
        events = events_of(stream.rest())
        assert stream.ended, "the framing of the answer itself is whole"
    assert not any(b"[DONE]" in event for event in events)
    error = payload(events[-1])["error"]
    assert error["code"] == "provider_error"
    assert error["type"] == "server_error"
    assert "simulator was told" not in error["message"], "what a provider says in its errors is not shown"
    for event in events[:-1]:
        assert payload(event)["model"] == SLUG


@pytest.mark.parametrize("directive", ["error_after=2", "reset_after=2", "truncate=3"])
def test_the_official_sdk_is_told_that_a_stream_broke(
    directive: str, gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=agent["api_key"], max_retries=0) as client:
        messages: Any = [{"role": "user", "content": f"a b c [[sim:{directive}]]"}]
        stream = client.chat.completions.create(model=SLUG, messages=messages, stream=True)
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == "provider_error"


@pytest.mark.parametrize(
    "directive", ["500", "reset", "error_after=0", "truncate=0", "garbage=data garbage_after=0", "400"]
)
def test_a_failure_before_the_first_byte_is_a_plain_error(
    directive: str, gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    with RawStream(gateway.url, ROUTES[0], body_of(f"a [[sim:{directive}]]"), agent["api_key"]) as stream:
        stream.open()
    assert stream.status == 502
    assert stream.headers["content-type"] == "application/json"
    assert "x-ainfera-stream-mode" not in stream.headers


def test_a_stream_that_fails_before_its_first_byte_falls_back_unseen(
    gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    body = body_of("a b [[sim:reset_after=0 on=mistral-*]]") | {"model": "ainfera-inference"}
    with RawStream(gateway.url, ROUTES[0], body, agent["api_key"]) as stream:
        assert stream.open().status == 200
        events = events_of(stream.rest())
    assert stream.headers["x-ainfera-model"] == "gemini-3-1-pro"
    assert events[-1] == b"data: [DONE]\n\n"
    assert {payload(event)["model"] for event in events[:-1]} == {"gemini-3-1-pro"}
