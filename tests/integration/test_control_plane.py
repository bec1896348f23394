"""Changes of the control plane: each is one transaction, checked first, recorded on the chain, felt at once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ainfera.agent_card import AgentCard
from ainfera.agents import Agent
from ainfera.ledger import LedgerEntry
from ainfera.wallet import Wallet

from ainfera_gateway.agents.keys import well_formed
from ainfera_gateway.ids import new_id
from tests.integration.control_app import ControlApp, counts, events, fields, unpadded


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("control"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(app: ControlApp) -> dict[str, Any]:
    return app.signup("first-owner")


@pytest.fixture(scope="module")
def stranger(app: ControlApp) -> dict[str, Any]:
    return app.signup("stranger")


def inference_key(app: ControlApp, owner: dict[str, Any]) -> str:
    made = app.ask("POST", "/v1/keys", owner["api_key"], json={"scope": "inference"})
    return made.json()["api_key"]


# Agents


def test_a_registered_agent_has_an_empty_wallet_and_a_readable_handle(app: ControlApp, owner: dict[str, Any]) -> None:
    body = {"tenant_id": owner["tenant_id"], "name": "Bücher & Co."}
    first = app.ask("POST", "/v1/agents/register", owner["api_key"], json=body)
    assert first.status_code == 201
    agent = Agent.model_validate(first.json())
    assert (agent.name, agent.status, agent.tenant_id) == ("Bücher & Co.", "active", owner["tenant_id"])
    assert agent.public_key_ed25519.startswith("-----BEGIN PUBLIC KEY-----")
    assert first.json()["handle"] == "bucher-co"
    second = app.ask("POST", "/v1/agents/register", owner["api_key"], json=body).json()
    assert second["handle"].startswith("bucher-co-")
    wallet = app.ask("GET", f"/v1/wallets/{agent.agent_id}", owner["api_key"]).json()
    assert Wallet.model_validate(wallet).balance_usd == 0
    assert [event["event_type"] for event in events(app, agent.agent_id)] == ["agent.registered", "agent_card.minted"]
    odd = app.ask("POST", "/v1/agents/register", owner["api_key"], json={**body, "name": "日本"}).json()
    assert odd["handle"].startswith("agent-")
    reserved = app.ask("POST", "/v1/agents/register", owner["api_key"], json={**body, "name": "Signup"}).json()
    assert reserved["handle"].startswith("signup-")


def test_registering_for_another_tenant_is_not_found(app: ControlApp, owner: dict[str, Any], stranger: Any) -> None:
    answers = [
        app.ask("POST", "/v1/agents/register", owner["api_key"], json={"tenant_id": tenant_id, "name": "n"})
        for tenant_id in (stranger["tenant_id"], new_id())
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    blank = app.ask("POST", "/v1/agents/register", owner["api_key"], json={"tenant_id": "x", "name": " "})
    assert fields(blank) == ["name"]


def test_what_belongs_to_another_tenant_looks_unknown(app: ControlApp, owner: Any, stranger: Any) -> None:
    theirs, unknown = stranger["agent_id"], new_id()
    routes = [
        ("GET", "/v1/agents/{}", None),
        ("POST", "/v1/agents/{}/suspend", None),
        ("POST", "/v1/agents/{}/activate", None),
        ("GET", "/v1/agents/{}/card", None),
        ("POST", "/v1/agents/{}/card", None),
        ("PATCH", "/v1/agents/{}/spend-policy", {"daily_cap_usd": "1"}),
        ("POST", "/v1/agents/{}/spend-policy", {}),
        ("GET", "/v1/wallets/{}", None),
        ("GET", "/v1/ledger/{}", None),
        ("GET", "/v1/inferences?agent_id={}", None),
        ("GET", "/v1/inferences/{}", None),
        ("GET", "/v1/inferences/{}/decision", None),
        ("GET", "/v1/receipts/{}", None),
        ("DELETE", "/v1/keys/{}", None),
    ]
    before = counts(app)
    for method, path, body in routes:
        made = [
            app.ask(method, path.format(name), owner["api_key"], **({} if body is None else {"json": body}))
            for name in (theirs, unknown, "stranger", "%00", "no/such")
        ]
        assert {answer.status_code for answer in made} == {404}, path
        assert len({answer.content for answer in made}) == 1, path
    assert counts(app) == before


def test_agents_are_listed_page_by_page_and_found_by_handle(app: ControlApp) -> None:
    made = app.signup("lister")
    for number in range(3):
        body = {"tenant_id": made["tenant_id"], "name": f"listed {number}"}
        app.ask("POST", "/v1/agents/register", made["api_key"], json=body)
    first = app.ask("GET", "/v1/agents?limit=3", made["api_key"]).json()
    last = first["agents"][-1]["id"]
    rest = app.ask("GET", f"/v1/agents?limit=3&after={last}", made["api_key"]).json()
    assert [agent["handle"] for agent in first["agents"] + rest["agents"]] == [
        "lister", "listed-0", "listed-1", "listed-2",
    ]  # fmt: skip
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert app.ask("GET", "/v1/agents/listed-1", made["api_key"]).json()["id"] == first["agents"][2]["id"]
    assert fields(app.ask("GET", "/v1/agents?limit=0", made["api_key"])) == ["limit"]


def test_suspend_and_activate_are_felt_and_recorded_once(app: ControlApp) -> None:
    made = app.signup("pausing")
    app.changed.clear()
    for action, status in [("suspend", "suspended"), ("suspend", "suspended"), ("activate", "active")]:
        answer = app.ask("POST", f"/v1/agents/pausing/{action}", made["api_key"])
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    assert [event["event_type"] for event in events(app, made["agent_id"])[-2:]] == [
        "agent.suspended",
        "agent.activated",
    ]
    assert app.changed == [made["agent_id"]] * 2


# Keys


def test_a_key_is_shown_once_and_ends_when_revoked(app: ControlApp) -> None:
    made = app.signup("keyring")
    bound = app.ask("POST", "/v1/keys", made["api_key"], json={"agent_id": "keyring", "name": "ci"})
    assert bound.status_code == 201
    key = bound.json()
    assert (key["scope"], key["agent_id"], key["name"]) == ("inference", made["agent_id"], "ci")
    assert well_formed(key["api_key"])
    assert app.ask("GET", "/v1/agents", key["api_key"]).status_code == 200
    listed = app.ask("GET", "/v1/keys", made["api_key"])
    assert listed.json()["keys"][0]["id"] == key["id"]
    assert key["api_key"] not in listed.text

    for _ in range(2):
        revoked = app.ask("DELETE", f"/v1/keys/{key['id']}", made["api_key"])
        assert (revoked.status_code, bool(revoked.json()["revoked_at"])) == (200, True)
    assert app.changed[-1] == key["id"]
    assert app.ask("GET", "/v1/agents", key["api_key"]).status_code == 401
    kinds = [event["event_type"] for event in events(app, made["agent_id"])[-2:]]
    assert kinds == ["key.created", "key.revoked"]


def test_an_inference_key_neither_mints_nor_spends_nor_loosens(app: ControlApp, owner: dict[str, Any]) -> None:
    key = inference_key(app, owner)
    before = counts(app)
    agent_id = owner["agent_id"]
    for method, path, body in [
        ("POST", "/v1/keys", {}),
        ("GET", "/v1/keys", None),
        ("DELETE", f"/v1/keys/{new_id()}", None),
        ("POST", "/v1/agents/register", {"tenant_id": owner["tenant_id"], "name": "n"}),
        ("POST", f"/v1/agents/{agent_id}/suspend", None),
        ("PATCH", f"/v1/agents/{agent_id}/spend-policy", {}),
        ("POST", "/v1/wallets/topup", {"agent_id": agent_id, "amount_usd": 1}),
    ]:
        refused = app.ask(method, path, key, **({} if body is None else {"json": body}))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), path
        assert refused.headers["x-should-retry"] == "false"
    assert counts(app) == before


@pytest.mark.parametrize(("body", "field"), [({"scope": "root"}, "scope"), ({"name": ""}, "name"), ({"x": 1}, "x")])
def test_a_wrong_key_request(app: ControlApp, owner: dict[str, Any], body: dict[str, Any], field: str) -> None:
    assert fields(app.ask("POST", "/v1/keys", owner["api_key"], json=body)) == [field]


# Cards


def test_cards_decode_to_their_payload_and_are_judged(app: ControlApp, owner: dict[str, Any]) -> None:
    path = f"/v1/agents/{owner['agent_id']}/card"
    old = app.ask("GET", path, owner["api_key"]).json()
    assert old["jws"] == owner["agent_card_jws"]
    new = app.ask("POST", path, owner["api_key"])
    card = AgentCard.model_validate(new.json())
    assert new.status_code == 200
    assert app.ask("GET", path, owner["api_key"]).json() == new.json()
    assert json.loads(unpadded(card.jws.split(".")[1])) == card.payload
    assert card.payload["issued_at"] > old["payload"]["issued_at"]

    good = app.ask("POST", "/v1/agents/cards/verify", owner["api_key"], json={"jws": card.jws}).json()
    assert good == {
        "valid": True, "payload": card.payload, "kid": card.kid, "alg": "EdDSA",
        "agent_id": owner["agent_id"], "reason": None,
    }  # fmt: skip
    head, body, signature = card.jws.split(".")
    forged = base64.urlsafe_b64encode(json.dumps({**card.payload, "handle": "else"}).encode()).rstrip(b"=").decode()
    for token in (f"{head}.{forged}.{signature}", f"{head}.{body}.", "nonsense"):
        bad = app.ask("POST", "/v1/agents/cards/verify", owner["api_key"], json={"jws": token})
        assert bad.status_code == 200
        assert (bad.json()["valid"], bad.json()["payload"]) == (False, None)
        assert bad.json()["reason"]


# Spend policy


def test_patch_changes_what_is_given_and_post_replaces(app: ControlApp) -> None:
    made = app.signup("spender")
    path = "/v1/agents/spender/spend-policy"

    def change(method: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = app.ask(method, path, made["api_key"], json=body)
        assert answer.status_code == 200, answer.text
        assert app.changed[-1] == made["agent_id"]
        return answer.json()

    first = change("PATCH", {"daily_cap_usd": 5, "allowed_brands": ["openai"]})
    assert first["drain_proof_status"] == "unprotected"
    second = change("PATCH", {"per_call_cap_usd": "0.05", "preset": "cost_first"})
    assert second == {
        "agent_id": made["agent_id"],
        "spend_policy": {
            "per_call_cap_usd": "0.050000",
            "daily_cap_usd": "5.000000",
            "monthly_cap_usd": None,
            "allowed_brands": ["openai"],
            "preset": "cost_first",
        },
        "drain_proof_status": "protected",
    }
    cleared = change("PATCH", {"daily_cap_usd": None})["spend_policy"]
    assert (cleared["daily_cap_usd"], cleared["per_call_cap_usd"]) == (None, "0.050000")
    replaced = change("POST", {"monthly_cap_usd": "100"})["spend_policy"]
    assert replaced == {
        "per_call_cap_usd": None, "daily_cap_usd": None, "monthly_cap_usd": "100.000000", "allowed_brands": None,
        "preset": None,
    }  # fmt: skip
    last = events(app, made["agent_id"])[-1]
    assert (last["event_type"], last["monthly_cap_usd"], last["daily_cap_usd"]) == (
        "spend_policy.updated", "100.000000", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"daily_cap_usd": "0.009"}, "daily_cap_usd"),
        ({"daily_cap_usd": "10000.01"}, "daily_cap_usd"),
        ({"per_call_cap_usd": "-1"}, "per_call_cap_usd"),
        ({"monthly_cap_usd": "1e99"}, "monthly_cap_usd"),
        ({"allowed_brands": ["Open AI"]}, "allowed_brands[0]"),
        ({"allowed_brands": "openai"}, "allowed_brands"),
        ({"preset": "cheap"}, "preset"),
        ({"daily_cap": "5"}, "daily_cap"),
    ],
)
def test_a_wrong_policy_names_its_field(app: ControlApp, owner: Any, body: dict[str, Any], field: str) -> None:
    before = counts(app)
    for method in ("PATCH", "POST"):
        answer = app.ask(method, f"/v1/agents/{owner['agent_id']}/spend-policy", owner["api_key"], json=body)
        assert answer.status_code == 422
        assert fields(answer) == [field]
    assert counts(app) == before


# Wallet


def test_a_top_up_moves_money_once_and_tells_all(app: ControlApp) -> None:
    made = app.signup("payer")
    content = json.dumps({"agent_id": made["agent_id"]})[:-1] + ', "amount_usd": 2.500000000001}'
    answer = app.ask("POST", "/v1/wallets/topup", made["api_key"], content=content.encode())
    assert answer.status_code == 201
    done = answer.json()
    assert (done["amount_usd"], done["new_balance_usd"]) == ("2.500000000001", "7.500000000001")
    ledger = app.ask("GET", f"/v1/ledger/{made['agent_id']}", made["api_key"]).json()
    entries = [LedgerEntry.model_validate(entry) for entry in ledger["entries"]]
    assert [entry.kind for entry in entries] == ["topup", "grant"]
    assert (entries[0].id, ledger["balance_usd"]) == (done["ledger_entry_id"], "7.500000000001")
    event = app.rows("SELECT id, event_type FROM audit_events WHERE id = ?", done["audit_event_id"])
    assert event == [(done["audit_event_id"], "wallet.topped_up")]
    assert len(app.ask("GET", "/v1/ledger/payer?limit=1", made["api_key"]).json()["entries"]) == 1


@pytest.mark.parametrize(
    "amount", ["0", "0.009", "-5", "500.000001", "NaN", "Infinity", "1e30", "abc", None, True, [], "0.0100000000001"]
)
def test_an_amount_out_of_bounds_moves_nothing(app: ControlApp, owner: dict[str, Any], amount: Any) -> None:
    before = counts(app)
    body = {"agent_id": owner["agent_id"], "amount_usd": amount}
    assert fields(app.ask("POST", "/v1/wallets/topup", owner["api_key"], json=body)) == ["amount_usd"]
    assert counts(app) == before


def test_another_tenants_agent_in_a_body_is_forbidden_like_an_unknown_one(
    app: ControlApp, owner: Any, stranger: Any
) -> None:
    before = counts(app)
    for path, more in (("/v1/wallets/topup", {"amount_usd": 1}), ("/v1/keys", {})):
        made = [
            app.ask("POST", path, owner["api_key"], json={"agent_id": name, **more})
            for name in (stranger["agent_id"], new_id(), "stranger")
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in made} == {(403, "forbidden")}
        assert len({answer.content for answer in made}) == 1
    assert counts(app) == before


def test_the_operator_tops_up_where_owners_may_not(tmp_path: Path) -> None:
    app = ControlApp(tmp_path, topup="operator")
    try:
        made = app.signup("operated")
        body = {"agent_id": made["agent_id"], "amount_usd": "500"}
        refused = app.ask("POST", "/v1/wallets/topup", made["api_key"], json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert app.ask("POST", "/v1/wallets/topup", internal=True, json=body).json()["new_balance_usd"] == "505.000000"
        unknown = app.ask("POST", "/v1/wallets/topup", internal=True, json={**body, "agent_id": new_id()})
        assert unknown.status_code == 404
    finally:
        app.close()
