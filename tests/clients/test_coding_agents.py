"""Requests of coding agents: what leaves for the provider and what comes back, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.agent_bodies import BETAS, anthropic_body, openai_body, written
from tests.clients.both import End, two_ends
from tests.clients.tap import Heard, Tap
from tests.gateway_process import FAMILY_PATHS, GatewayProcess, family_environment
from tests.simulator.process import Simulator

DIALECTS = {
    "anthropic": ("/v1/messages", FAMILY_PATHS["ANTHROPIC"] + "/v1/messages", anthropic_body, "claude-opus-4-7"),
    "openai": ("/v1/chat/completions", FAMILY_PATHS["OPENAI"] + "/chat/completions", openai_body, "gpt-5-5"),
}
HEAD = {"content-type": "application/json", "anthropic-version": "2023-06-01", "anthropic-beta": BETAS}
MODEL = re.compile(rb'"model":( ?)"(?:gpt-5-5|gpt-5\.5)"')
OWN = re.compile(rb',"ainfera":\{[^{}]*\}(?=\}\n)')


@pytest.fixture(scope="module")
def tap(simulator: Simulator) -> Iterator[Tap]:
    with Tap(simulator.port) as listening:
        yield listening


@pytest.fixture(scope="module")
def gateway(tap: Tap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), family_environment(tap.url)) as running:
        yield running


@pytest.fixture(scope="module")
def ends(gateway: GatewayProcess, simulator: Simulator) -> tuple[End, End]:
    return two_ends(gateway, simulator, "coding-agent")


def sent(tap: Tap, end: End, path: str, body: bytes, **more: Any) -> tuple[httpx.Response, Heard]:
    """The gateway's answer and the one request that left for it."""
    before = len(tap.heard())
    headers = {**HEAD, "authorization": f"Bearer {end.key}", **more}
    answer = httpx.post(end.root + path, content=body, headers=headers, timeout=60)
    (heard,) = tap.heard()[before:]
    return answer, heard


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("tools", [24, 100])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_model_credentials_and_limit_differ(
    tap: Tap, ends: tuple[End, End], simulator: Simulator, dialect: str, tools: int, stream: bool
) -> None:
    path, upstream_path, make, slug = DIALECTS[dialect]
    style = (tools // 24 + stream) % 3
    document = make(tools, seed=tools + stream, stream=stream)
    body = written({**document, "model": slug}, style=style)
    assert len(body) >= 120_000
    answer, heard = sent(tap, ends[1], f"{path}?beta=true", body)
    assert answer.status_code == 200, answer.text
    assert "x-ainfera-dropped-fields" not in answer.headers
    assert heard.body == written(document, style=style)
    direct = httpx.post(
        simulator.root_url + upstream_path,
        content=written(document, style=style),
        headers={**HEAD, "authorization": "Bearer sk-none"},
        timeout=60,
    )
    assert direct.status_code == 200, direct.text
    if stream:
        assert unnamed(answer.content) == unnamed(direct.content)
        assert answer.headers["content-type"] == direct.headers["content-type"]
    elif dialect == "anthropic":
        assert answer.content == direct.content
    else:
        whole = answer.json()
        assert whole.pop("ainfera")["provider"] == "openai"
        assert untimed({**whole, "model": "gpt-5.5"}) == untimed(direct.json())


def unnamed(stream: bytes) -> bytes:
    """A stream without the values of model and time, and without what the gateway adds to the chunk of usage."""
    stream, added = OWN.subn(b"", stream)
    assert added <= 1
    return re.sub(rb'"created":\d+', b'"created":0', MODEL.sub(rb'"model":\1""', stream))


def untimed(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "created": 0}


def test_what_stands_in_the_head_arrives_but_for_the_credentials(tap: Tap, ends: tuple[End, End]) -> None:
    end = ends[1]
    document = anthropic_body(24, seed=3, stream=False, size=0)
    given = {"x-api-key": end.key, "cookie": "secret=1", "x-app": "cli", "user-agent": "agent/1"}
    _, heard = sent(tap, end, "/anthropic/v1/messages?beta=true", written(document), **given)
    assert heard.headers["anthropic-beta"] == BETAS
    assert heard.headers["anthropic-version"] == "2023-06-01"
    assert heard.query == {"beta": "true"}
    assert heard.headers["x-client-request-id"]
    assert heard.headers["x-api-key"].startswith("sk-test-anthropic")
    assert "cookie" not in heard.headers
    assert "authorization" not in heard.headers
    assert end.key not in json.dumps(heard.headers)


def test_the_version_is_the_callers(tap: Tap, ends: tuple[End, End]) -> None:
    for version in ("2023-06-01", "2026-10-21"):
        body = written(anthropic_body(1, seed=4, stream=False, size=0))
        _, heard = sent(tap, ends[1], "/v1/messages", body, **{"anthropic-version": version})
        assert heard.headers["anthropic-version"] == version


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_limit_beyond_the_models_is_clamped_in_place(tap: Tap, ends: tuple[End, End], dialect: str) -> None:
    path, _, make, slug = DIALECTS[dialect]
    field, most = {"anthropic": ("max_tokens", 64_000), "openai": ("max_completion_tokens", 128_000)}[dialect]
    document = make(2, seed=5, stream=False, size=0)
    body = written({**document, "model": slug, field: 900_000}, style=2)
    answer, heard = sent(tap, ends[1], path, body)
    assert answer.status_code == 200, answer.text
    assert heard.body == written({**document, field: most}, style=2)


def test_the_older_name_of_the_limit_becomes_the_one_the_provider_takes(tap: Tap, ends: tuple[End, End]) -> None:
    """OpenAI's newer models refuse `max_tokens`: the name of the limit, and so its place, changes and nothing else."""
    document = openai_body(24, seed=10, stream=True)
    limit = document.pop("max_completion_tokens")
    older = {**document, "model": "gpt-5-5", "max_tokens": limit}
    answer, heard = sent(tap, ends[1], "/v1/chat/completions", written(older))
    assert answer.status_code == 200, answer.text
    assert heard.body == written({**document, "max_completion_tokens": limit})


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "none"}])
def test_a_choice_without_tools_is_carried(tap: Tap, ends: tuple[End, End], choice: Any) -> None:
    document = anthropic_body(1, seed=6, stream=False, size=0)
    document["messages"] = document["messages"][:1]
    del document["tools"]
    body = written({**document, "tool_choice": choice})
    answer, heard = sent(tap, ends[1], "/v1/messages", body)
    assert answer.status_code == 200, answer.text
    assert heard.body == body


def test_a_session_changes_the_first_system_block_alone(tap: Tap, ends: tuple[End, End]) -> None:
    """What a provider caches is the prefix: blocks after the first must arrive in the very bytes they had before."""
    bodies = []
    for seed in (7, 8):
        document = anthropic_body(24, seed=7, stream=False, size=0)
        document["system"][0]["text"] = f"session {seed}"
        bodies.append(sent(tap, ends[1], "/v1/messages", written(document))[1].body)
    first, second = bodies
    assert first != second
    assert first.replace(b"session 7", b"session 8") == second


def test_a_probe_and_a_count_come_on_their_own(tap: Tap, ends: tuple[End, End]) -> None:
    end = ends[1]
    assert httpx.head(end.root).status_code == 200
    document = anthropic_body(24, seed=9, stream=False)
    counted = {name: document[name] for name in ("model", "system", "messages", "tools", "thinking")}
    answer, heard = sent(tap, end, "/v1/messages/count_tokens?beta=true", written(counted))
    assert answer.status_code == 200, answer.text
    assert answer.json()["input_tokens"] > 10_000
    assert heard.path.endswith("/messages/count_tokens")
    assert heard.body == written(counted)
