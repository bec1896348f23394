"""The simulator's Anthropic dialect: what it refuses and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator.process import Simulator
from tests.simulator.raw import last_seen, post
from tests.simulator.signatures import envelope, seal
from tests.unit.anthropic_calls import THINKING, TOOL, ask

USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


def messages(simulator: Simulator, changes: dict[str, Any], **headers: str) -> tuple[int, Any]:
    body = {"model": "m", "max_tokens": 50, "messages": ask("x"), **changes}
    body = {name: value for name, value in body.items() if value is not ...}
    sent = {"authorization": "", "x-api-key": "sk-ant-x", "anthropic-version": "2023-06-01"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return post(simulator, "/anthropic/v1/messages", body, **sent)


def turns(*contents: Any) -> list[Any]:
    return [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"stream_options": {}}, "stream_options: Extra inputs are not permitted"),
        ({"context_management": {}}, "context_management: Extra inputs are not permitted"),
        ({"model": ...}, "model: Field required"),
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"max_tokens": True}, "max_tokens: Input should be"),
        ({"temperature": 1.1}, "temperature: "),
        ({"stop_sequences": [" "]}, "stop_sequences: "),
        ({"messages": []}, "messages: at least one"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages: no message may have the role `system`"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: every message"),
        ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, "messages.0.name: Extra inputs"),
        ({"messages": turns([{"type": "text", "text": ""}])}, "messages.0.content.0: text content blocks must be non-"),
        ({"messages": turns([{"type": "text", "text": "x", "y": 1}])}, "messages.0.content.0.y: Extra inputs"),
        ({"messages": turns([{"type": "image_url"}])}, "messages.0.content.0: Input tag 'image_url'"),
        ({"messages": turns([USE])}, "messages.0.content.0: A block of type `tool_use` may not"),
        ({"messages": turns([RESULT])}, "messages.0: unexpected `tool_use_id`"),
        ({"messages": turns("x", [USE])}, "messages.1: `tool_use` ids without"),
        ({"messages": turns("x", [USE], "no")}, "messages.1: `tool_use` ids without"),
        (
            {"messages": turns("x", [USE], [{"type": "text", "text": "a"}, RESULT])},
            "messages.1: `tool_use` ids without",
        ),
        ({"messages": turns("x", [USE], [{**RESULT, "tool_use_id": "t2"}])}, "messages.2: unexpected"),
        ({"messages": turns("x", [{**USE, "id": "a b"}], [RESULT])}, "messages.1.content.0.id: "),
        ({"messages": turns("x", [{**USE, "input": "{}"}], [RESULT])}, "messages.1.content.0.input: "),
        ({"messages": turns("x", "prefill ")}, "messages: a last `assistant` content"),
        ({"system": [{"type": "image"}]}, "system.0: "),
        (
            {"system": "s", "messages": [{"role": "user", "content": "x", "provider_specific_fields": {}}]},
            "messages.0.",
        ),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0: Input tag 'function'"),
        ({"tools": [{"name": "f", "parameters": {}}]}, "tools.0.custom.parameters: Extra inputs"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
        ({"tool_choice": "auto"}, "tool_choice: Input should be"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: "),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "z"}}, "tool_choice: Tool 'z'"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, "thinking.enabled.budget_tokens: "),
        ({"thinking": THINKING}, "`max_tokens` must be greater"),
        ({"thinking": {"type": "adaptive"}, "temperature": 0}, "`temperature` may only be 1"),
        ({"metadata": {"user": "u"}}, "metadata.user: Extra inputs"),
        ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "cache_control.ttl: "),
        ({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}] * 5}, "At most 4 blocks"),
    ],
)
def test_what_the_provider_refuses(simulator: Simulator, changes: dict[str, Any], said: str) -> None:
    status, answer = messages(simulator, changes)
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")
    assert answer["error"]["message"].startswith(said)
    assert last_seen(simulator).begin["refused"] == 400


def test_the_door(simulator: Simulator) -> None:
    assert messages(simulator, {}, x_api_key="")[0] == 401
    assert messages(simulator, {}, x_api_key="", authorization="Bearer k")[0] == 200
    assert messages(simulator, {}, anthropic_version="")[0] == 400
    assert messages(simulator, {}, anthropic_version="2024-01-01")[0] == 400
    assert messages(simulator, {}, content_type="text/plain")[0] == 415
    thread: dict[str, Any] = {"thread": {"type": "create"}}
    details = messages(simulator, thread, anthropic_beta="threads")[1]["error"]["details"]
    assert details == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def test_what_the_provider_takes(simulator: Simulator) -> None:
    cached = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    paper = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "t"}
    thoughts = [
        {"type": "thinking", "thinking": "t", "signature": seal("anthropic", "t")},
        {"type": "redacted_thinking", "data": envelope("anthropic", "0" * 64)},
    ]
    changes: dict[str, Any] = {
        "system": [{"type": "text", "text": "s", **cached}],
        "messages": [
            {"role": "user", "content": [image, paper]},
            {"role": "user", "content": "again"},
            {"role": "assistant", "content": thoughts},
            {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [{**RESULT, "content": [image], "is_error": True}]},
            {"role": "user", "content": [{"type": "text", "text": "go on", **cached}]},
        ],
        "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"], "top_k": 5, "top_p": 0.5, "temperature": 0.5, "stream": False,
        "metadata": {"user_id": '{"a": 1}'}, "service_tier": "auto", "output_config": {"effort": "low"},
        "context_management": {"edits": []}, "thinking": {"type": "disabled"},
    }  # fmt: skip
    assert messages(simulator, changes, anthropic_beta="context-management-2025-06-27")[0] == 200
    assert messages(simulator, {"tool_choice": {"type": "auto"}})[0] == 200
    system = [{"role": "system", "content": "s"}, *ask("x")]
    assert messages(simulator, {"messages": system}, anthropic_version="2026-10-21")[0] == 200
