"""Verdicts by the operator: in force within a second on every process, on record, and explained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway_process import INTERNAL_KEY, GatewayProcess, provider_environment
from tests.integration.books import Books
from tests.simulator.process import Simulator

CHAT = "/v1/chat/completions"
ADMIN = "/admin/verdicts"


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    environment = engine_environment | provider_environment(simulator.base_url)
    with GatewayProcess(tmp_path_factory.mktemp("verdicts"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def agent(gateway: GatewayProcess) -> dict[str, Any]:
    return gateway.signup("judged")


def judge(gateway: GatewayProcess, brand: str, verdict: str, **more: Any) -> dict[str, Any]:
    body = {"brand": brand, "verdict": verdict, "decided_by": "legal", **more}
    answer = httpx.post(gateway.url + ADMIN, json=body, headers={"x-ainfera-internal-key": INTERNAL_KEY}, timeout=60)
    assert answer.status_code == 200, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


def ask(gateway: GatewayProcess, agent: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"model": "ainfera-inference", "messages": [{"role": "user", "content": "say"}], "max_tokens": 9, **more}
    headers = {"authorization": f"Bearer {agent['api_key']}", "connection": "close"}
    return httpx.post(gateway.url + CHAT, json=body, headers=headers, timeout=60)


def steadily(gateway: GatewayProcess, agent: dict[str, Any], model: str, **more: Any) -> httpx.Response:
    """The answer once every process serves ``model``: ten calls in a row, each on a connection of its own."""
    end_s, in_a_row = time.monotonic() + 60, 0
    while in_a_row < 10:
        answer = ask(gateway, agent, **more)
        assert answer.status_code == 200, answer.text
        in_a_row = in_a_row + 1 if answer.headers["x-ainfera-model"] == model else 0
        assert time.monotonic() < end_s, answer.headers["x-ainfera-model"]
    return answer


def test_a_brand_that_fails_is_not_called_any_more_and_the_next_decision_says_so(
    gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    assert ask(gateway, agent).headers["x-ainfera-model"] == "mistral-large-3"
    stored = judge(gateway, "mistral", "FAIL", evidence_url="https://example.test/finding")
    assert (stored["version"], stored["in_force"]) == (2, True)
    try:
        answer = steadily(gateway, agent, "gemini-3-1-pro")
        outcome = Books(gateway.database).outcome_of(agent["agent_id"])
        assert outcome["inference_id"] == answer.headers["x-ainfera-inference-id"]
        assert outcome["decision_rule"] == "m_allowed_veto_applied"
        assert '"mistral":2' in outcome["verdict_versions"]
        named = ask(gateway, agent, model="mistral-large-3")
        assert (named.status_code, named.json()["error"]["code"]) == (403, "brand_not_allowed")
    finally:
        judge(gateway, "mistral", "PASS")
    steadily(gateway, agent, "mistral-large-3")
    headers = {"x-ainfera-internal-key": INTERNAL_KEY}
    listed = httpx.get(gateway.url + ADMIN, params={"brand": "mistral"}, headers=headers, timeout=60).json()
    assert [(row["version"], row["verdict"], row["in_force"]) for row in listed["verdicts"]] == [
        (3, "PASS", True),
        (2, "FAIL", False),
        (1, "PASS", False),
    ]
    assert listed["verdicts"][1]["evidence_url"] == "https://example.test/finding"


def test_a_condition_that_holds_fails_is_missing_or_of_the_wrong_kind(
    gateway: GatewayProcess, agent: dict[str, Any]
) -> None:
    judge(gateway, "mistral", "CONDITIONAL", condition={"eq": ["region", "eu"]})
    try:
        steadily(gateway, agent, "gemini-3-1-pro")
        served = {}
        for said in ("eu", "us", 5):
            hint = {"routing_hint": {"context": {"region": said}}}
            served[said] = ask(gateway, agent, **hint).headers["x-ainfera-model"]
        assert served == {"eu": "mistral-large-3", "us": "gemini-3-1-pro", 5: "gemini-3-1-pro"}
        headers = {"x-ainfera-internal-key": INTERNAL_KEY}
        explained = [
            httpx.post(
                f"{gateway.url}{ADMIN}/explain", json={"brand": "mistral", **more}, headers=headers, timeout=60
            ).json()
            for more in ({"context": {"region": "eu"}}, {"context": {"region": "us"}}, {}, {"context": {"region": 5}})
        ]
        assert [one["allowed"] for one in explained] == [True, False, False, False]
        assert len({one["reason"] for one in explained}) == 4, "each says why"
    finally:
        judge(gateway, "mistral", "PASS")


def test_only_the_operator_judges(gateway: GatewayProcess, agent: dict[str, Any]) -> None:
    for headers in ({}, {"authorization": f"Bearer {agent['api_key']}"}):
        answer = httpx.post(gateway.url + ADMIN, json={"brand": "x"}, headers=headers, timeout=60)
        assert answer.status_code == 401
        assert httpx.get(gateway.url + ADMIN, headers=headers, timeout=60).status_code == 401
