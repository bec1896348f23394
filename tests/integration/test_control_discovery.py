"""What a machine finds first, line by line as the contract has it, and the names that must not be found."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ainfera_gateway.api.routes import RouteTable
from tests.integration.control_app import BASE, ControlApp

ROOT = Path(__file__).parent.parent.parent
DEAD = ("mithril", "ainfera-auto", "ainfera/auto", "aamc")
CARD = "/.well-known/agent-card.json"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("discovery"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def card(app: ControlApp) -> dict[str, Any]:
    document: dict[str, Any] = app.ask("GET", CARD).json()
    return document


def test_the_card_says_what_the_contract_lists(app: ControlApp, card: dict[str, Any]) -> None:
    assert card["default_model"] == "ainfera-inference"
    (product,) = card["products"]
    assert (product["slug"], product["domain"]) == ("ainfera-inference", "agentic-inference")
    assert product["display_name"]
    assert set(product["facets"]) >= {"identity", "routing", "settlement", "audit", "orchestration"}
    assert card["mcp_url"] == "https://mcp.ainfera.ai"
    assert card["issued_at"].endswith("T00:00:00.000000Z")
    capabilities = [capability["name"] for capability in card["capabilities"]]
    assert set(capabilities) >= {"identity", "routing", "settlement", "audit", "orchestration"}
    assert len(set(capabilities)) == len(capabilities) >= 5
    assert app.ask("GET", CARD).content == app.ask("GET", CARD).content


CALLED = {
    "openai_base_url": ("/v1/chat/completions", "/chat/completions"),
    "openai_dropin": ("/openai/v1/chat/completions", "/chat/completions"),
    "anthropic_base_url": ("/v1/messages", "/v1/messages"),
    "anthropic_dropin": ("/anthropic/v1/messages", "/v1/messages"),
}
"""Base URL to the path that it must lead to and what the vendor's SDK adds."""


def test_every_endpoint_of_the_card_is_served(card: dict[str, Any]) -> None:
    table = RouteTable()
    for name, url in card["endpoints"].items():
        assert url.startswith(BASE)
        path = url.removeprefix(BASE)
        if name in CALLED:
            wanted, added = CALLED[name]
            path += added
            assert path == wanted
        assert table.match(path), f"{name}: {path}"
    assert set(CALLED) <= set(card["endpoints"])


@pytest.mark.parametrize("path", [CARD, "/llms.txt"])
def test_it_may_be_kept_for_a_minute(app: ControlApp, path: str) -> None:
    answer = app.ask("GET", path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "max-age=60")


def test_llms_txt_leads_with_the_product_and_names_the_mcp_host(app: ControlApp) -> None:
    answer = app.ask("GET", "/llms.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("# Ainfera Inference\n")
    assert len(answer.content) >= 500
    assert "mcp.ainfera.ai" in answer.text
    assert max(len(line) for line in answer.text.splitlines() if "http" not in line) <= 120


def test_the_mcp_host_is_the_settings(tmp_path: Path) -> None:
    app = ControlApp(tmp_path, mcp_url="https://mcp.example.net/agents")
    try:
        assert app.ask("GET", CARD).json()["mcp_url"] == "https://mcp.example.net/agents"
        assert app.ask("GET", "/.well-known/mcp.json").json()["servers"][0]["url"] == "https://mcp.example.net/agents"
        assert "https://mcp.example.net/agents" in app.ask("GET", "/llms.txt").text
    finally:
        app.close()


def test_the_key_document_has_both_keys(app: ControlApp) -> None:
    document = app.ask("GET", "/.well-known/ainfera-public-key.json").json()
    assert document["alg"] == "HMAC-SHA256"
    assert len(base64.b64decode(document["hmac_key_b64"], validate=True)) >= 32
    assert isinstance(load_pem_public_key(document["ed25519_public_key_pem"].encode()), Ed25519PublicKey)
    assert document["kid"]


def test_the_ticker_counts_what_has_a_position(app: ControlApp) -> None:
    before = app.ask("GET", "/api/audit-ticker").json()
    app.signup("tick")
    app.position()
    after = app.ask("GET", "/api/audit-ticker").json()
    assert set(before) == set(after) == {"status", "chain_height"}
    assert (before["status"], after["status"]) == ("ok", "ok")
    assert after["chain_height"] == before["chain_height"] + 4


def test_openapi_leads_with_the_router_and_describes_parameters(app: ControlApp) -> None:
    document = app.ask("GET", "/openapi.json").json()
    assert document["info"]["description"].startswith("ainfera-inference")
    assert document["paths"]["/v1/chat/completions"]["post"]["description"].startswith("ainfera-inference")
    listed = {each["name"]: each for each in document["paths"]["/v1/inferences"]["get"]["parameters"]}
    assert {"limit", "before", "after", "tag", "since", "outcome_status"} <= set(listed)
    assert listed["limit"]["schema"]["maximum"] == 200
    asked = {each["name"] for each in document["paths"]["/v1/usage"]["get"]["parameters"]}
    assert asked == {"group_by", "format", "since", "until", "agent_id"}
    policy = document["paths"]["/v1/routing-policy"]["put"]
    assert "model_aliases" in policy["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert policy["security"] == [{"bearer": []}]
    page = app.ask("GET", "/docs").text
    assert "Query: <code>group_by?, format?, since?, until?, agent_id?</code>" in page
    assert "Body: <code>model_aliases?</code>" in page


def test_dead_names_are_on_no_page(app: ControlApp) -> None:
    pages = {path: app.ask("GET", path).text for path in (CARD, "/llms.txt", "/openapi.json", "/docs")}
    pages["docs/gateway.md"] = (ROOT / "docs" / "gateway.md").read_text("utf-8")
    for page, text in pages.items():
        assert len(text) > 500, page
        assert [name for name in DEAD if name in text.lower()] == [], page


def test_the_docs_page_of_the_gateway_names_every_base_url_and_parameter(app: ControlApp, card: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "gateway.md").read_text("utf-8")
    for name in CALLED:
        assert f"`{{gateway}}{card['endpoints'][name].removeprefix(BASE)}`" in text, name
    paths = app.ask("GET", "/openapi.json").json()["paths"]
    for path in ("/v1/agents", "/v1/inferences", "/v1/usage"):
        for parameter in paths[path]["get"]["parameters"]:
            assert f"`{parameter['name']}`" in text or f"{parameter['name']}=" in text, parameter["name"]
    served = paths["/v1/chat/completions"]["post"]["responses"]["200"]["headers"]
    assert [name for name in served if f"`{name}`" not in text] == []
