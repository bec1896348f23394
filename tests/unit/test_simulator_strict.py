"""The provider simulator refuses what the provider refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.process import Simulator
from tests.simulator.raw import (
    WEATHER,
    ask,
    last_seen,
    status_of,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.clear_script()


TOOL_TURN = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"surprise": 1}, "surprise"),
        ({"agent_id": "a"}, "agent_id"),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "extra": 1}]}, "messages[0].extra"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
        ({"messages": [RESULT]}, "messages[0].role"),
        ({"messages": [TOOL_TURN]}, "messages"),
        ({"messages": [TOOL_TURN, {"role": "user", "content": "x"}]}, "messages[1]"),
        ({"messages": [TOOL_TURN, {**RESULT, "tool_call_id": "c2"}]}, "messages[1].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include": True}}, "stream_options.include"),
        ({"tools": []}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]}, None),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "any"}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "z"}}},
            "tool_choice.function.name",
        ),
        ({"n": 0}, "n"),
        ({"stop": []}, "stop"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_what_the_provider_refuses(simulator: Simulator, changes: dict[str, Any], param: str | None) -> None:
    body = {"model": "m", "messages": ask("x"), **changes}
    status, answer = status_of(
        simulator, {name: value for name, value in body.items() if name != "model" or value is not None}
    )
    assert status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] == param or param is None
    assert last_seen(simulator).begin["refused"] == 400


def test_door_no_key_wrong_media_type_bad_json(simulator: Simulator) -> None:
    body = {"model": "m", "messages": ask("x")}
    assert status_of(simulator, body, authorization="")[0] == 401
    assert status_of(simulator, body, authorization="Basic abc")[0] == 401
    assert status_of(simulator, body, content_type="text/plain")[0] == 415
    for bad in (b"{", b"", b'{"model": NaN}', b"\xff", b"[" * 5000):
        assert (status_of(simulator, bad)[0], bad) == (400, bad)
    assert status_of(simulator, b"[]")[1]["error"]["param"] == "body"
    assert simulator.control("GET", "/v1/chat/completions")[0] == 405
    assert simulator.control("GET", "/nowhere")[0] == 404


def test_what_the_provider_takes(simulator: Simulator) -> None:
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    body = {
        "model": "m",
        "messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": parts}, TOOL_TURN, RESULT],
        "temperature": 0, "top_p": 1, "n": 1, "seed": 1, "user": "u", "store": False, "metadata": {"a": "b"},
        "tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": True, "max_completion_tokens": 9,
        "response_format": {"type": "text"}, "stop": None, "service_tier": "auto", "reasoning_effort": "low",
    }  # fmt: skip
    assert status_of(simulator, body)[0] == 200


def test_lenient_lets_unknown_fields_pass_and_bodies_are_logged(tmp_path: Path) -> None:
    with Simulator(tmp_path, lenient=True, log_bodies=True, fsync=False, default="503") as simulator:
        body = {"model": "m", "messages": ask("x"), "surprise": 1}
        assert status_of(simulator, body)[0] == 503
        assert json.loads(simulator.seen()[0].begin["body"]) == body
        assert simulator.stop() == 0
