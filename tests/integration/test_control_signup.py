"""Signup: one transaction, checked field by field, limited by address, whole or not at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ainfera.agents import SignupResult
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ainfera_gateway.agents.keys import well_formed
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.control.birth import open_private_key
from ainfera_gateway.control.signup import ADDRESS_HOUR_MAX, DAY_MAX, SignUpLimits
from tests.integration.control_app import ControlApp, counts, events, fields, unpadded


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("control"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(app: ControlApp) -> dict[str, Any]:
    return app.signup("first-owner")


def test_a_signup_is_a_tenant_with_all_that_an_agent_needs(app: ControlApp) -> None:
    made = app.signup("complete")
    assert set(made) == {
        "agent_id", "agent_handle", "owner_handle", "tenant_id", "canonical_uri", "did_web", "api_key",
        "agent_card_jws", "free_tier_inferences_remaining",
    }  # fmt: skip
    assert (made["owner_handle"], made["free_tier_inferences_remaining"]) == ("agents", 100)
    assert made["canonical_uri"] == "ainfera.ai/agents/complete"
    assert made["did_web"] == "did:web:ainfera.ai:agents:complete"
    assert well_formed(made["api_key"])
    assert SignupResult.model_validate(made).agent_handle == "complete"

    told = events(app, made["agent_id"])
    assert [event["event_type"] for event in told] == [
        "agent.registered", "agent_card.minted", "key.created", "wallet.granted",
    ]  # fmt: skip
    assert {event["trace_id"] for event in told} == {"ab" * 16}
    assert told[3]["amount_usd"] == told[3]["balance_after_usd"] == "5.000000"
    transfer = app.rows(
        "SELECT debit_account, credit_account, amount_picousd, kind FROM transfers WHERE agent_id = ?", made["agent_id"]
    )
    assert transfer == [("house:grants", f"agent:{made['agent_id']}", 5 * 10**12, "grant")]
    key = app.rows("SELECT agent_id, scope, prefix FROM api_keys WHERE tenant_id = ?", made["tenant_id"])
    assert key == [(made["agent_id"], "owner", made["api_key"][:14])]
    assert made["agent_id"] in app.changed


def test_the_card_is_signed_by_the_agents_key_which_is_stored_sealed(app: ControlApp, owner: dict[str, Any]) -> None:
    agent_id = owner["agent_id"]
    pem, sealed = app.rows("SELECT public_key_pem, private_key_sealed FROM agents WHERE id = ?", agent_id)[0]
    signed, _, signature = owner["agent_card_jws"].rpartition(".")
    public = load_pem_public_key(pem.encode())
    assert isinstance(public, Ed25519PublicKey)
    public.verify(unpadded(signature), signed.encode())
    payload = json.loads(unpadded(signed.split(".")[1]))
    assert payload["layer"] == "L1"
    assert (payload["sub"], payload["iss"]) == (owner["did_web"], "http://gateway.test")
    private = open_private_key(app.data_key, agent_id, sealed)
    assert len(private) == 32
    assert private not in base64.b64decode(sealed)
    stored = b"".join(path.read_bytes() for path in app.settings.data_dir.glob("ainfera.db*"))
    assert owner["api_key"].encode() not in stored


def test_a_policy_given_at_signup_binds_and_is_recorded_to_the_last_digit(app: ControlApp) -> None:
    content = (
        b'{"agent_handle":"capped","per_call_cap_usd":0.1,"daily_cap_usd":1234.123456789012,"metadata":{"n":1.50}}'
    )
    made = app.ask("POST", "/v1/agents/signup", content=content).json()
    row = app.rows(
        "SELECT per_call_cap_picousd, daily_cap_picousd, metadata FROM agents WHERE id = ?", made["agent_id"]
    )
    assert row == [(10**11, 1234123456789012, '{"n":1.50}')]
    policy = events(app, made["agent_id"])[-1]
    assert (policy["event_type"], policy["daily_cap_usd"]) == ("spend_policy.updated", "1234.123456789012")
    shown = app.ask("GET", "/v1/agents/capped", made["api_key"]).json()
    assert shown["drain_proof_status"] == "protected"
    assert shown["spend_policy"]["per_call_cap_usd"] == "0.100000"


def test_a_taken_handle_leaves_nothing_behind_even_in_a_race(app: ControlApp) -> None:
    before = counts(app)

    def attempt(_: int) -> int:
        return app.ask("POST", "/v1/agents/signup", json={"agent_handle": "raced"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(attempt, range(8)))
    assert sorted(statuses) == [201] + [409] * 7
    after = counts(app)
    assert after["tenants"] == before["tenants"] + 1
    assert after["audit_events"] == before["audit_events"] + 4
    refused = app.ask("POST", "/v1/agents/signup", json={"agent_handle": "raced"})
    assert refused.json()["code"] == "handle_taken"


@pytest.mark.parametrize("handle", ["signup", "register", "cards", "public", "height", "topup"])
def test_a_handle_that_a_path_hides_is_taken(app: ControlApp, handle: str) -> None:
    assert app.ask("POST", "/v1/agents/signup", json={"agent_handle": handle}).status_code == 409


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"agent_handle": "ab"}, "agent_handle"),
        ({"agent_handle": "x" * 41}, "agent_handle"),
        ({"agent_handle": "Upper"}, "agent_handle"),
        ({"agent_handle": "uml\u00e4ut"}, "agent_handle"),
        ({"agent_handle": "0193a000-0000-7000-8000-000000000010"}, "agent_handle"),
        ({"agent_handle": 7}, "agent_handle"),
        ({"agent_handle": None}, "agent_handle"),
        ({"per_call_cap_usd": "0.0009"}, "per_call_cap_usd"),
        ({"per_call_cap_usd": "100.000000000001"}, "per_call_cap_usd"),
        ({"per_call_cap_usd": -1}, "per_call_cap_usd"),
        ({"per_call_cap_usd": "NaN"}, "per_call_cap_usd"),
        ({"per_call_cap_usd": True}, "per_call_cap_usd"),
        ({"per_call_cap_usd": "1.0000000000001"}, "per_call_cap_usd"),
        ({"per_call_cap_usd": "1." + "0" * 28 + "1"}, "per_call_cap_usd"),
        ({"daily_cap_usd": "1e4000"}, "daily_cap_usd"),
        ({"daily_cap_usd": "Infinity"}, "daily_cap_usd"),
        ({"daily_cap_usd": [5]}, "daily_cap_usd"),
        ({"wallet_address": "0x12"}, "wallet_address"),
        ({"wallet_address": "0x" + "g" * 40}, "wallet_address"),
        ({"owner_source": "root"}, "owner_source"),
        ({"owner_contact": "a\nb"}, "owner_contact"),
        ({"owner_contact": "x" * 255}, "owner_contact"),
        ({"metadata": "text"}, "metadata"),
        ({"metadata": {"a": "x" * 9000}}, "metadata"),
        ({"daily_cap": "5"}, "daily_cap"),
    ],
)
def test_a_wrong_signup_names_its_field_and_changes_nothing(app: ControlApp, more: dict[str, Any], field: str) -> None:
    before = counts(app)
    response = app.ask("POST", "/v1/agents/signup", json={"agent_handle": "never-made", **more})
    assert response.status_code == 422
    assert fields(response) == [field]
    for value in more.values():
        assert not isinstance(value, str) or len(value) < 4 or value not in response.text
    assert counts(app) == before


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[1]", "body"),
        (b'"text"', "body"),
        (b'{"agent_handle":"a-b-c","agent_handle":"d-e-f"}', "agent_handle"),
        (b'{"agent_handle":"a-b-c","daily_cap_usd":NaN}', "daily_cap_usd"),
        (b'{"agent_handle":"a-b-c","daily_cap_usd":-Infinity}', "daily_cap_usd"),
        (b'{"agent_handle":"a-b-c","owner_contact":"\\ud800"}', "owner_contact"),
        (b'{"agent_handle":"a-b-c","owner_contact":"a\\u0000"}', "owner_contact"),
        (b'{"agent_handle":"a-b-c","metadata":{"deep":{"\\udfff":1}}}', "metadata.deep"),
        (b'{"agent_handle":"a-b-c","owner_contact":"\xff"}', "owner_contact"),
        (b'{"agent_handle":"a-b-c","metadata":' + b'{"a":' * 64 + b"1" + b"}" * 65, "body"),
        (b'{"agent_handle":"a-b-c","metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"agent_handle":"a-b-c","daily_cap_usd":' + b"9" * 5000 + b"}", "daily_cap_usd"),
        (b'{"agent_handle":"a-b-c","\\ud83d\\ude00 <b>":1}', "body"),
    ],
)
def test_a_body_that_is_no_good_json_is_refused_by_name(app: ControlApp, raw: bytes, field: str) -> None:
    before = counts(app)
    response = app.ask("POST", "/v1/agents/signup", content=raw)
    assert response.status_code == 422, response.text
    assert fields(response) == [field]
    assert counts(app) == before


def test_a_body_past_the_limit_is_413(app: ControlApp) -> None:
    response = app.ask("POST", "/v1/agents/signup", content=b" " * (256 * 1024 + 1))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_an_owner_is_claimed_with_the_internal_key_only(app: ControlApp) -> None:
    claim = {"agent_handle": "claimed", "owner_handle": "octocat", "owner_source": "github_user"}
    refused = app.ask("POST", "/v1/agents/signup", json=claim)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    made = app.ask("POST", "/v1/agents/signup", json=claim, internal=True).json()
    assert (made["owner_handle"], made["canonical_uri"]) == ("octocat", "ainfera.ai/octocat/claimed")
    again = app.ask("POST", "/v1/agents/signup", json={**claim, "owner_handle": "other"}, internal=True)
    assert again.status_code == 201  # another owner's handle of the same name


def test_open_signups_are_limited_by_address_and_failures_do_not_count(app: ControlApp) -> None:
    def sign_up(handle: str, address: str, *, internal: bool = False) -> Any:
        headers = {"x-test-address": address}
        return app.ask("POST", "/v1/agents/signup", json={"agent_handle": handle}, headers=headers, internal=internal)

    app.signup("limit-taken")
    for _ in range(ADDRESS_HOUR_MAX + 1):
        assert sign_up("limit-taken", "203.0.113.7").status_code == 409
    assert [sign_up(f"limit-{n}", "203.0.113.7").status_code for n in range(5)] == [201] * 5
    late = sign_up("limit-5", "203.0.113.7")
    assert (late.status_code, late.json()["code"]) == (429, "rate_limited")
    assert 3000 < int(late.headers["retry-after"]) <= 3601
    assert sign_up("limit-5", "203.0.113.7", internal=True).status_code == 201
    assert [sign_up(f"local-{n}", "::1").status_code for n in range(6)] == [201] * 6


class SetClock(SystemClock):
    def __init__(self) -> None:
        self.at_s = 1000.0

    def monotonic_s(self) -> float:
        return self.at_s


def test_the_hour_and_the_day_pass() -> None:
    clock = SetClock()
    limits = SignUpLimits(clock)
    assert [limits.take("192.0.2.1") for _ in range(5)] == [None] * 5
    assert limits.take("192.0.2.1") == pytest.approx(3600)
    clock.at_s += 3600
    assert limits.take("192.0.2.1") is None
    for number in range(DAY_MAX - 6):
        assert limits.take(f"198.51.100.{number}") is None
    assert limits.take("192.0.2.9") == pytest.approx(82800)
    limits.give_back("198.51.100.0")
    assert limits.take("192.0.2.9") is None
    clock.at_s += 86400
    assert limits.take("192.0.2.10") is None


@pytest.mark.parametrize(
    ("mode", "internal", "status", "code"),
    [("internal", False, 401, "missing_api_key"), ("internal", True, 201, None), ("off", True, 403, "forbidden")],
)
def test_signup_modes(tmp_path: Path, mode: str, internal: bool, status: int, code: str | None) -> None:
    app = ControlApp(tmp_path, signup=mode, signup_grant_picousd=0)
    try:
        response = app.ask("POST", "/v1/agents/signup", json={"agent_handle": "modal"}, internal=internal)
        assert (response.status_code, response.json().get("code")) == (status, code)
        # Without a grant there is neither a transfer nor an event of one.
        assert app.rows("SELECT count(*) FROM transfers") == [(0,)]
        assert app.rows("SELECT count(*) FROM audit_events") == [(3 if status == 201 else 0,)]
    finally:
        app.close()
