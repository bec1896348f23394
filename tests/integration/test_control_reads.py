"""Reads of the control plane: chains in both published forms, calls and receipts, discovery, the operator's switch."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ainfera.audit import AuditEvent, AuditVerifyResult
from ainfera.receipt import Receipt
from ainfera.verify import verify_chain as sdk_verify
from ainfera_verify.bundle import load_bundle
from ainfera_verify.chain import AuditEvent as VerifierEvent
from ainfera_verify.chain import verify_chain as offline_verify

from ainfera_gateway.api.routes import ROUTES
from ainfera_gateway.control.seed import find_missing, seed
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.records import AttemptEnd, CallEnd, CallFacts, Tokens
from ainfera_gateway.inference.reserve import OpenCall
from ainfera_gateway.inference.settle import SettleCall
from ainfera_gateway.ledger.hold import ask
from ainfera_gateway.storage.house_state import HouseState, read_house_state
from tests.integration.control_app import BASE, TRACE, ControlApp


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("reads"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(app: ControlApp) -> dict[str, Any]:
    made = app.signup("reader")
    for _ in range(4):
        app.ask("POST", "/v1/wallets/topup", made["api_key"], json={"agent_id": "reader", "amount_usd": 1})
    return made


def call(app: ControlApp, agent: dict[str, Any], *, settle: bool = True) -> CallFacts:
    """One call through both transactions, as the way makes it."""
    facts = CallFacts(
        inference_id=new_id(), receipt_id=new_id(), tenant_id=agent["tenant_id"], agent_id=agent["agent_id"],
        trace_id=TRACE, span_id="cd" * 8, dialect="openai", streamed=False, requested_model="ainfera-inference",
        task_type="general", task_type_source="default", policy_name="p", policy_semver="1.0.0", ruleset_hash="r",
        decision_rule="cheapest_clearing_floor", decision_type="deterministic", router="ainfera-inference",
        decision='{"candidates":[]}', decision_hash="d" * 64, verdict_versions='{"mistral":1}',
        request_hash="q" * 64, hash_salt="5a" * 16, projected_picousd=10**10, tags='["t"]',
    )  # fmt: skip
    asked = ask(input_tokens=100, asked_tokens=1000, model_output_max=4096, input_price=10**6, output_price=10**6)
    app.run(app.recorder.submit(OpenCall(facts, asked, new_id(), "mistral", "mistral-large-3", "me", lambda _: None)))
    if settle:
        tokens = Tokens(input=100, output=50)
        attempt = AttemptEnd(
            new_id(), 0, "mistral", "mistral-large-3", "ok", 200, None, 2000, 9000, tokens, 150 * 10**6, "provider"
        )
        end = CallEnd(Outcome.SUCCEEDED, attempt, 150 * 10**6, 9500, "a" * 64, answered=True)
        app.run(app.recorder.submit(SettleCall(facts, end)))
    return facts


# Chains


def test_the_published_sdk_walks_and_verifies_the_chain(app: ControlApp, owner: dict[str, Any]) -> None:
    walked: list[AuditEvent] = []
    since: int | None = None
    while True:
        params = {"limit": 3} | ({} if since is None else {"since_seq": since})
        page = app.ask("GET", f"/v1/audit/{owner['agent_id']}", params=params).json()
        assert page["agent_id"] == owner["agent_id"]
        if not page["events"]:
            break
        walked += [AuditEvent.model_validate(event) for event in page["events"]]
        since = walked[-1].seq
    assert len(walked) >= 8
    assert sdk_verify(walked)
    newest = app.ask("GET", "/v1/audit/reader?order=desc&limit=2").json()["events"]
    assert [event["seq"] for event in newest] == [walked[-1].seq, walked[-1].seq - 1]
    before = app.ask("GET", "/v1/audit/reader?order=desc&since_seq=1").json()["events"]
    assert [event["seq"] for event in before] == [0]


def test_the_published_verifier_walks_and_verifies_the_chain(app: ControlApp, owner: dict[str, Any]) -> None:
    document = app.ask("GET", "/.well-known/ainfera-public-key.json").json()
    assert document["alg"] == "HMAC-SHA256"
    key = base64.b64decode(document["hmac_key_b64"])
    raw: list[dict[str, Any]] = []
    more, params = True, {"limit": 3}
    while more:
        page = app.ask("GET", f"/v1/agents/{owner['agent_id']}/audit-chain", params=params).json()
        raw += page["events"]
        more, params = page["has_more"], {"limit": 3, "after_seq": raw[-1]["seq"]}
    events = [VerifierEvent.from_dict(event) for event in raw]
    result = offline_verify(events, key)
    assert (result.ok, result.events_verified) == (True, len(events))
    assert len(events) >= 8
    assert app.ask("GET", "/v1/agents/reader/audit-chain/5").json() == raw[5]
    assert app.ask("GET", "/v1/agents/reader/audit-chain/9999").status_code == 404


def test_the_export_opens_in_the_published_verifier(app: ControlApp, owner: dict[str, Any], tmp_path: Path) -> None:
    for number, more in enumerate(({"params": {"format": "zip"}}, {"headers": {"accept": "application/zip"}})):
        packed = app.ask("GET", "/v1/audit/reader/annex-iv", **more)
        assert packed.headers["content-type"] == "application/zip"
        path = tmp_path / f"{number}.zip"
        path.write_bytes(packed.content)
        bundle = load_bundle(path)
        assert offline_verify(bundle.events, bundle.hmac_public_key).ok
        assert bundle.manifest["agent_id"] == owner["agent_id"]
    public = app.ask("GET", "/v1/audit/reader/annex-iv").json()
    assert public["chain"]["valid"] is True
    assert len(public["events"]) == public["chain"]["event_count"]
    assert "metadata" not in public["agent"]
    own = app.ask("GET", "/v1/audit/reader/annex-iv", owner["api_key"]).json()
    assert own["agent"]["spend_policy"]["daily_cap_usd"] is None


def test_verify_grows_with_the_chain_and_finds_what_was_changed(app: ControlApp) -> None:
    made = app.signup("tampered")
    path = f"/v1/audit/{made['agent_id']}/verify"
    good = AuditVerifyResult.model_validate(app.ask("GET", path).json())
    assert (good.valid, good.event_count, good.failure_seq) == (True, 4, None)
    app.ask("POST", "/v1/wallets/topup", made["api_key"], json={"agent_id": "tampered", "amount_usd": 1})
    assert app.ask("GET", path).json()["event_count"] == 5
    assert app.ask("GET", path + "?full=1", made["api_key"]).json()["event_count"] == 5

    app.tamper(
        "audit_events",
        "UPDATE audit_events SET payload = replace(payload, '1.000000', '9.000000') WHERE agent_id = ? AND seq = 4",
        made["agent_id"],
    )
    full = app.ask("GET", path + "?full=1", made["api_key"]).json()
    assert (full["valid"], full["event_count"], full["failure_seq"]) == (False, 4, 4)
    assert full["failure_reason"] == "event_hash_mismatch"
    # What was found broken is not remembered as good.
    assert app.ask("GET", path).json()["failure_seq"] == 4


def test_a_chain_cut_at_its_end_is_found(app: ControlApp) -> None:
    made = app.signup("shortened")
    path = f"/v1/audit/{made['agent_id']}/verify"
    assert app.ask("GET", path).json()["valid"] is True
    app.tamper("audit_events", "DELETE FROM audit_events WHERE agent_id = ? AND seq = 3", made["agent_id"])
    cut = app.ask("GET", path + "?full=1", made["api_key"]).json()
    assert (cut["valid"], cut["failure_reason"]) == (False, "head_mismatch")


def test_a_full_verification_is_the_owners(app: ControlApp, owner: dict[str, Any]) -> None:
    stranger = app.signup("curious")
    path = f"/v1/audit/{owner['agent_id']}/verify?full=1"
    assert app.ask("GET", path).status_code == 401
    assert app.ask("GET", path, stranger["api_key"]).status_code == 403
    assert app.ask("GET", path, owner["api_key"]).status_code == 200


def test_a_private_tenants_chain_is_unknown_without_its_key(app: ControlApp, owner: dict[str, Any]) -> None:
    made = app.signup("hidden-one")
    app.tamper("tenants", "UPDATE tenants SET audit_visibility = 'private' WHERE id = ?", made["tenant_id"])
    for path in (
        "/v1/audit/{}", "/v1/audit/{}/verify", "/v1/audit/{}/annex-iv", "/v1/agents/{}/audit-chain",
        "/v1/agents/{}/audit-chain/0",
    ):  # fmt: skip
        unknown = app.ask("GET", path.format(new_id()))
        for key in (None, owner["api_key"]):
            for name in (made["agent_id"], "hidden-one"):
                hidden = app.ask("GET", path.format(name), key)
                assert (hidden.status_code, hidden.content) == (404, unknown.content)
        assert app.ask("GET", path.format("hidden-one"), made["api_key"]).status_code == 200
    app.position()
    assert "hidden-one" not in app.ask("GET", "/v1/audit/public?limit=500").text


def test_a_handle_of_two_owners_means_ones_own_or_nobody(app: ControlApp) -> None:
    bodies = [{"agent_handle": "twin", "owner_handle": owner} for owner in ("one", "two")]
    made = [app.ask("POST", "/v1/agents/signup", json=body, internal=True).json() for body in bodies]
    assert app.ask("GET", "/v1/audit/twin").status_code == 404
    for each in made:
        assert app.ask("GET", "/v1/audit/twin", each["api_key"]).json()["agent_id"] == each["agent_id"]


def test_the_mirror_gives_positions_and_no_ids(app: ControlApp, owner: dict[str, Any]) -> None:
    app.position()
    height = app.ask("GET", "/v1/audit/height").json()
    bounds = app.rows("SELECT count(*), min(position), max(position) FROM log_positions")
    assert bounds == [(height["height"], 0, height["height"] - 1)]
    late = app.rows(
        "SELECT count(*) FROM audit_events e LEFT JOIN log_positions p ON p.agent_id = e.agent_id AND p.seq = e.seq"
        " WHERE p.position IS NULL AND e.agent_id = ?",
        owner["agent_id"],
    )
    assert late == [(0,)]
    assert height["latest_at"].endswith("Z")
    assert app.ask("GET", "/api/audit-ticker").json() == {"status": "ok", "chain_height": height["height"]}
    page = app.ask("GET", "/v1/audit/public?limit=5").json()["events"]
    positions = [event["seq"] for event in page]
    assert len(positions) == 5
    assert positions == sorted(positions, reverse=True)
    assert set(page[0]) == {
        "seq", "event_type", "owner_handle", "agent_name", "canonical_uri", "event_hash", "created_at",
    }  # fmt: skip
    assert owner["agent_id"] not in app.ask("GET", "/v1/audit/public?limit=500").text


# Calls


def test_a_call_is_read_with_its_decision_receipt_and_ledger_line(app: ControlApp) -> None:
    made = app.signup("caller")
    facts = call(app, made)
    key = made["api_key"]
    one = app.ask("GET", f"/v1/inferences/{facts.inference_id}", key).json()
    assert (one["outcome_status"], one["cost_usd"], one["hash_salt"]) == ("succeeded", "0.000150", "5a" * 16)
    assert [attempt["outcome"] for attempt in one["attempt_list"]] == ["ok"]
    decision = app.ask("GET", f"/v1/inferences/{facts.inference_id}/decision", key).json()
    assert decision["decision"] == {"candidates": []}
    assert decision["chosen"] == {"model": "mistral-large-3", "provider": "mistral"}

    raw = app.ask("GET", f"/v1/receipts/{facts.receipt_id}", key).json()
    receipt = Receipt.model_validate(raw)
    assert (receipt.inference_id, receipt.cost_usd) == (facts.inference_id, 0.00015)
    assert raw["audit_url"] == f"{BASE}/v1/audit/{made['agent_id']}/verify"
    assert raw["price"] == {"input_per_million_usd": "2.00", "output_per_million_usd": "6.00"}
    assert (raw["proof"], raw["proof_status"], raw["position"]) == (None, "pending", None)
    event = app.ask("GET", f"/v1/agents/caller/audit-chain/{raw['seq']}").json()
    assert (event["event_type"], event["payload"]["receipt_id"]) == ("receipt.created", facts.receipt_id)
    assert event["receipt_url"] == f"{BASE}/v1/receipts/{facts.receipt_id}"
    app.position()
    assert isinstance(app.ask("GET", f"/v1/receipts/{facts.receipt_id}", key).json()["position"], int)

    ledger = app.ask("GET", "/v1/ledger/caller", key).json()
    assert (ledger["entries"][0]["kind"], ledger["entries"][0]["amount_usd"]) == ("debit", "-0.000150")
    assert ledger["balance_usd"] == ledger["entries"][0]["balance_after_usd"] == "4.999850"

    stranger = app.signup("snoop")
    for path in (f"/v1/inferences/{facts.inference_id}", f"/v1/receipts/{facts.receipt_id}"):
        assert app.ask("GET", path, stranger["api_key"]).status_code == 404


def test_an_open_call_shows_its_hold_and_has_no_receipt_yet(app: ControlApp) -> None:
    made = app.signup("waiting")
    facts = call(app, made, settle=False)
    one = app.ask("GET", f"/v1/inferences/{facts.inference_id}", made["api_key"]).json()
    assert (one["outcome_status"], one["held_usd"], one["attempt_list"]) == (None, "0.001100", [])
    assert app.ask("GET", f"/v1/receipts/{facts.receipt_id}", made["api_key"]).status_code == 404
    ledger = app.ask("GET", "/v1/ledger/waiting", made["api_key"]).json()
    assert [entry["kind"] for entry in ledger["entries"]] == ["grant"]


def test_calls_are_paged_newest_first(app: ControlApp) -> None:
    made = app.signup("busy")
    ids = [call(app, made).inference_id for _ in range(3)]
    first = app.ask("GET", "/v1/inferences?limit=2&agent_id=busy", made["api_key"]).json()
    assert [row["inference_id"] for row in first["inferences"]] == ids[:0:-1]
    assert first["has_more"] is True
    rest = app.ask("GET", f"/v1/inferences?limit=2&before={first['next_before']}", made["api_key"]).json()
    assert [row["inference_id"] for row in rest["inferences"]] == ids[:1]
    assert rest["next_before"] is None


# Discovery


def test_models_and_providers(app: ControlApp) -> None:
    rows = app.ask("GET", "/v1/models").json()
    assert [row["slug"] for row in rows if row["type"] == "router"] == ["ainfera-inference"]
    states = {row["slug"]: row["routable_status"] for row in rows}
    assert (states["mistral-large-3"], states["gpt-5-5"]) == ("active", "not_configured")
    anchor = next(row for row in rows if row["slug"] == "gemini-3-1-pro")
    assert (anchor["input_cost_per_million_usd"], anchor["output_cost_per_million_usd"]) == ("1.25", "10.00")
    for more in ({"params": {"format": "openai"}}, {"headers": {"x-stainless-lang": "python"}}):
        listed = app.ask("GET", "/v1/models", **more).json()
        assert listed["object"] == "list"
        assert {row["id"] for row in listed["data"]} == {slug for slug, state in states.items() if state == "active"}
        assert listed["data"][0]["id"] == "ainfera-inference"
        one = app.ask("GET", "/v1/models/gpt-5-5", **more).json()
        assert (one["id"], one["object"]) == ("gpt-5-5", "model")
    assert app.ask("GET", "/v1/models/openai/gpt-5-5").json()["slug"] == "gpt-5-5"
    assert app.ask("GET", "/v1/models/no-such").status_code == 404
    providers = app.ask("GET", "/v1/providers").json()
    assert len(providers) >= 10
    assert {row["slug"] for row in providers if row["configured"]} == {"local", "mistral"}
    assert all(row["active"] for row in providers)


def test_discovery_documents_say_what_is_offered_and_no_old_name(app: ControlApp) -> None:
    card = app.ask("GET", "/.well-known/agent-card.json")
    assert card.headers["cache-control"] == "max-age=60"
    assert card.json()["default_model"] == "ainfera-inference"
    assert card.json()["products"][0]["domain"] == "agentic-inference"
    assert {row["name"] for row in card.json()["capabilities"]} >= {
        "identity", "routing", "settlement", "audit", "orchestration",
    }  # fmt: skip
    text = app.ask("GET", "/llms.txt")
    assert text.headers["cache-control"] == "max-age=60"
    assert text.text.startswith("# Ainfera Inference")
    assert len(text.content) >= 500
    assert "mcp.ainfera.ai" in text.text
    assert app.ask("GET", "/.well-known/mcp.json").json()["mcp_url"] == "https://mcp.ainfera.ai"
    openapi, docs = app.ask("GET", "/openapi.json"), app.ask("GET", "/docs")
    assert "<script" not in docs.text
    for shown in (card.text, text.text, openapi.text, docs.text):
        assert not [name for name in ("mithril", "ainfera-auto", "ainfera/auto", "aamc") if name in shown.lower()]


def test_the_openapi_document_has_every_route_with_its_body_and_its_lock(app: ControlApp) -> None:
    document = app.ask("GET", "/openapi.json").json()
    assert document["info"]["description"].startswith("ainfera-inference")
    paths = document["paths"]
    assert next(iter(paths)) == "/v1/chat/completions"
    chat = document["components"]["schemas"]["ChatRequestBody"]
    assert {"model", "messages", "routing_hint", "tools"} <= set(chat["properties"])
    for route in ROUTES:
        if route.handler != "control" or route.template in {"/openapi.json", "/docs"}:
            continue
        operations = paths[route.template.replace(":path", "")]
        for method in route.methods:
            operation = operations[method.lower()]
            assert bool(operation["security"]) is (route.auth != "public")
    body = paths["/v1/wallets/topup"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == {"agent_id", "amount_usd"}


def test_every_route_of_the_control_plane_stands_in_the_table(app: ControlApp) -> None:
    known = {(method, route.template.replace(":path", "")) for route in ROUTES for method in route.methods}
    for path, operations in app.ask("GET", "/openapi.json").json()["paths"].items():
        for method in operations:
            assert (method.upper(), path) in known


# Operator, seed, errors


def test_the_switch_by_hand_is_recorded_before_it_moves(app: ControlApp) -> None:
    assert app.ask("GET", "/admin/killswitch").status_code == 401
    assert app.ask("PUT", "/admin/killswitch", json={"engaged": True}).status_code == 401
    state = app.ask("PUT", "/admin/killswitch", internal=True, json={"engaged": True, "threshold_usd": "12.5"}).json()
    assert (state["engaged"], state["threshold_usd"]) == (True, "12.500000")
    assert read_house_state(app.reader, "2026-01-01", "") == HouseState(True, 125 * 10**11, 0)
    app.ask("PUT", "/admin/killswitch", internal=True, json={"engaged": False})
    assert read_house_state(app.reader, "2026-01-01", "") == HouseState(False, 125 * 10**11, 0)
    assert app.ask("GET", "/admin/killswitch", internal=True).json()["engaged"] is False
    for body in ({}, {"threshold_usd": 0}, {"threshold_usd": "-1"}, {"engaged": "yes"}):
        assert app.ask("PUT", "/admin/killswitch", internal=True, json=body).status_code == 422
    assert app.killswitch.figures()[2] == 125 * 10**11


def test_seeding_adds_what_is_missing_and_nothing_twice(app: ControlApp) -> None:
    assert app.seeded > 30
    assert find_missing(app.reader).count == 0
    assert app.run(seed(app.recorder, app.reader)) == 0
    assert app.rows("SELECT DISTINCT aa_index_source FROM models WHERE aa_index_source IS NOT NULL") == [
        ("routing_backend_v1_lock",)
    ]
    verdicts = app.rows("SELECT brand, verdict, decided_by FROM brand_verdicts ORDER BY brand")
    assert ("local", "PASS", "seed") in verdicts
    assert {row[1:] for row in verdicts} == {("PASS", "seed")}
    app.tamper("models", "DELETE FROM models WHERE slug = 'grok-4'")
    app.tamper("models", "UPDATE models SET prior = '0.5' WHERE slug = 'gpt-5-5'")
    assert app.run(seed(app.recorder, app.reader)) == 1
    assert app.rows("SELECT prior FROM models WHERE slug = 'gpt-5-5'") == [("0.5",)]


def test_unknown_paths_and_methods_and_surprises_answer_in_the_envelope(app: ControlApp, owner: Any) -> None:
    for method, path, status, code in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/agents/", 404, "not_found"),
        ("PUT", "/v1/keys", 405, "method_not_allowed"),
        ("GET", "/v1/audit/reader?order=sideways", 422, "validation_error"),
        ("GET", "/v1/audit/reader?limit=501", 422, "validation_error"),
        ("GET", "/v1/agents/reader/audit-chain/-1", 422, "validation_error"),
    ]:
        answer = app.ask(method, path, owner["api_key"])
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["request_id"] == TRACE


def test_what_nobody_expected_is_a_plain_500(tmp_path: Path) -> None:
    app = ControlApp(tmp_path)
    try:
        made = app.signup("sealed")
        # Under another data key the agent's private key does not open.
        app.api.state.control = dataclasses.replace(app.control, data_key=b"x" * 32)
        answer = app.ask("POST", "/v1/agents/sealed/card", made["api_key"])
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_server_error")
        assert set(json.loads(answer.content)["detail"]) == {"code"}
    finally:
        app.close()
