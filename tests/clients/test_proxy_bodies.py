"""Bodies as proxies and frameworks send them to each provider: every field is carried or named, none is refused for it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.clients.both import End, Watch, dropped
from tests.clients.provider_models import CLAUDE, MODELS
from tests.clients.test_providers import WEATHER

ASKED = {**MODELS, "anthropic": CLAUDE}
EXTRAS: dict[str, Any] = {
    "include": [],
    "store": True,
    "metadata": {"job": "a"},
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "service_tier": "auto",
    "parallel_tool_calls": False,
    "seed": 7,
    "user": "ada",
}
# What says the same to another provider: where to look for it in the body that was sent.
ELSEWHERE = {
    ("mistral", "seed"): "random_seed",
    ("anthropic", "parallel_tool_calls"): "tool_choice",
    ("anthropic", "user"): "metadata",
    ("anthropic", "safety_identifier"): "metadata",
}
# A field of responses, which chat completions have not; both ends refuse it here.
AT_BOTH_ENDS = {(provider, "include") for provider in ("openai", "azure")}
FIELDS = [(provider, field) for provider in ASKED for field in EXTRAS if (provider, field) not in AT_BOTH_ENDS]
# A value that asks for what happens anyway need not be carried.
DEFAULTS = {"include": [], "service_tier": "auto"}


def conversation() -> list[dict[str, Any]]:
    """A tool loop whose messages hold the members that a proxy leaves in them."""
    own = {"provider_specific_fields": {"refusal": None, "citations": [], "thinking_blocks": None}}
    function = {"name": "get_weather", "arguments": '{"city":"Oslo"}'}
    call = {"id": "call_0123456789", "type": "function", "function": function, "provider_specific_fields": None}
    google = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{**call, **google}], "function_call": None, **own},
        {"role": "tool", "tool_call_id": "call_0123456789", "name": "get_weather", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny.", "tool_calls": None, **own},
        {"role": "user", "content": "and what else?"},
    ]


def post(end: End, body: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {end.key}"}
    return httpx.post(f"{end.root}/v1/chat/completions", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", ASKED)
def test_members_of_proxies_inside_messages(ends: tuple[End, End], watch: Watch, provider: str, stream: bool) -> None:
    body = {"model": ASKED[provider], "messages": conversation(), "max_tokens": 128_000, "tools": [WEATHER]}
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = post(ends[1], body | more)
    assert answer.status_code == 200, answer.text
    seen = watch.only()
    sent = seen.begin["body"]
    assert "provider_specific_fields" not in sent or "provider_specific_fields" not in str(dropped(answer.headers))
    assert seen.begin["refused"] is None
    assert "thought_signature" in sent or provider != "gemini"
    limits = [value for name, value in json.loads(sent).items() if name in ("max_tokens", "max_completion_tokens")]
    assert len(limits) == 1
    assert 0 < limits[0] <= 128_000
    assert "It is sunny." in sent
    assert '\\"city\\":\\"Oslo\\"' in sent or '"city":"Oslo"' in sent
    if stream:
        assert answer.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize(("provider", "field"), FIELDS)
def test_each_field_is_carried_or_named(ends: tuple[End, End], watch: Watch, provider: str, field: str) -> None:
    question = {"role": "user", "content": "weather?"}
    body = {"model": ASKED[provider], "messages": [question], "tools": [WEATHER], field: EXTRAS[field]}
    answer = post(ends[1], body)
    assert answer.status_code == 200, answer.text
    sent = json.loads(watch.only().begin["body"])
    named = dropped(answer.headers)
    if field in named:
        assert sent.get(field) != EXTRAS[field]
        return
    if DEFAULTS.get(field) == EXTRAS[field] and field not in sent:
        return
    carried = sent[ELSEWHERE.get((provider, field), field)] if field not in sent else sent[field]
    assert json.dumps(EXTRAS[field]) in json.dumps(carried) or (provider, field) == ("anthropic", "parallel_tool_calls")
    assert named == set()


def test_anthropic_is_told_not_to_call_in_parallel(ends: tuple[End, End], watch: Watch) -> None:
    question = {"role": "user", "content": "weather in two cities"}
    body = {"model": ASKED["anthropic"], "messages": [question], "tools": [WEATHER], "parallel_tool_calls": False}
    answer = post(ends[1], body).json()
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1
    assert watch.bodies()[0]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    "provider", ["mistral", "gemini", "groq", "cerebras", "xai", "deepseek", "openrouter", "anthropic"]
)
def test_all_of_it_at_once(ends: tuple[End, End], watch: Watch, provider: str) -> None:
    body = {"model": ASKED[provider], "messages": conversation(), "max_tokens": 128_000, "tools": [WEATHER], **EXTRAS}
    answer = post(ends[1], {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert answer.status_code == 200, answer.text
    assert '"finish_reason":"stop"' in answer.text
    assert watch.only().begin["refused"] is None
