"""Bad input to the control plane: 422 with the field (or the refusal that fits), and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ainfera_gateway.ids import new_id
from tests.gateway_process import INTERNAL_KEY, GatewayProcess
from tests.integration.unchanged import check_native, unchanged
from tests.simulator.process import Simulator

JSON = {"content-type": "application/json"}
INTERNAL = {"x-ainfera-internal-key": INTERNAL_KEY}


@pytest.fixture(scope="module")
def tenant(gateway: GatewayProcess) -> dict[str, Any]:
    return gateway.signup("bad-input-control")


@pytest.fixture(scope="module")
def stranger(gateway: GatewayProcess) -> dict[str, Any]:
    """Another tenant, with a call, a receipt and a key of its own."""
    bundle = gateway.signup("stranger")
    with gateway.client(bundle["api_key"]) as client:
        body = {"model": "gpt-5-5", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
        called = client.post("/v1/inference", json=body)
        assert called.status_code == 200
        key = client.post("/v1/keys", json={"scope": "inference"}).json()
    answer = called.json()
    return {
        **bundle, "key_id": key["id"], "inference_id": answer["inference_id"], "receipt_id": answer["receipt_id"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess, tenant: dict[str, Any]) -> Iterator[httpx.Client]:
    with gateway.client(tenant["api_key"]) as shared:
        yield shared


# Every route that takes a body, with a body that it would take. AGENT stands for the caller's own agent.
ROUTES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "signup": ("POST", "/v1/agents/signup", {"agent_handle": "never-made"}),
    "register": ("POST", "/v1/agents/register", {"tenant_id": "TENANT", "name": "never-made"}),
    "topup": ("POST", "/v1/wallets/topup", {"agent_id": "AGENT", "amount_usd": "1"}),
    "policy": ("PATCH", "/v1/agents/AGENT/spend-policy", {"per_call_cap_usd": "1"}),
    "replace": ("POST", "/v1/agents/AGENT/spend-policy", {"per_call_cap_usd": "1"}),
    "keys": ("POST", "/v1/keys", {"scope": "inference"}),
    "cards": ("POST", "/v1/agents/cards/verify", {"jws": "a.b.c"}),
    "killswitch": ("PUT", "/admin/killswitch", {"engaged": False}),
    "verdict": ("POST", "/admin/verdicts", {"brand": "never-judged", "verdict": "PASS", "decided_by": "tests"}),
    "explain": ("POST", "/admin/verdicts/explain", {"brand": "never-judged"}),
}

MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "cut off": b'{"a": ',
    "trailing comma": b'{"a": 1,}',
    "an array": b"[]",
    "a string": b'"hi"',
    "null": b"null",
    "two documents": b"{}{}",
    "too deep": b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
    "far too deep": b"[" * 100_000,
    "byte order mark": b"\xef\xbb\xbf{}",
    "latin-1": b'{"name": "caf\xe9"}',
}


def sent(client: httpx.Client, tenant: dict[str, Any], route: str, body: bytes, **headers: str) -> httpx.Response:
    method, path, _ = ROUTES[route]
    path = path.replace("AGENT", tenant["agent_id"])
    body = body.replace(b"AGENT", tenant["agent_id"].encode()).replace(b"TENANT", tenant["tenant_id"].encode())
    extra = INTERNAL if path.startswith("/admin") else {}
    return client.request(method, path, content=body, headers={**JSON, **extra, **headers})


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("route", ROUTES)
def test_a_malformed_body(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], route: str, name: str
) -> None:
    with unchanged(gateway, simulator):
        response = sent(client, tenant, route, MALFORMED[name])
    check_native(response, 422, "validation_error")
    assert response.json()["detail"]["fields"][0]["field"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", ["unknown", "twice", "nul", "surrogate"])
def test_a_member_that_does_not_belong(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], route: str, fault: str
) -> None:
    good = ROUTES[route][2]
    name = next(iter(good))
    encoded = json.dumps(good)[:-1]
    more, field = {
        "unknown": ('"per_cal_cap_usd": 1', "per_cal_cap_usd"),
        "twice": (f'"{name}": {json.dumps(good[name])}', name),
        "nul": ('"metadata": "a\\u0000"', "metadata"),
        "surrogate": ('"metadata": {"x": "\\ud800"}', "metadata.x"),
    }[fault]
    with unchanged(gateway, simulator):
        response = sent(client, tenant, route, f"{encoded}, {more}}}".encode())
    check_native(response, 422, "validation_error", field)


@pytest.mark.parametrize("route", ROUTES)
def test_the_wrong_type_and_size_of_a_body(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], route: str
) -> None:
    good = json.dumps(ROUTES[route][2]).encode()
    with unchanged(gateway, simulator):
        check_native(sent(client, tenant, route, good, **{"content-type": "text/plain"}), 415, "unsupported_media_type")
        check_native(sent(client, tenant, route, good[:-1] + b" " * 300_000 + b"}"), 413, "body_too_large")
        check_native(sent(client, tenant, route, b" " * (10 * 2**20 + 1)), 413, "body_too_large")


AMOUNTS = [
    "-1", "0", "0.001", "500.01", "1e400", "NaN", "Infinity", "", " ", "five", "1,5", "0x1", "9" * 70,
    "0.0000000000001", "١",
]  # fmt: skip
RAW_AMOUNTS = ["NaN", "Infinity", "-Infinity", "-0.01", "0", "1e400", "1" * 5_000, "true", "null", "[]", "{}", "501"]


@pytest.mark.parametrize("raw", [json.dumps(text) for text in AMOUNTS] + RAW_AMOUNTS)
def test_an_amount_that_is_none(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], raw: str
) -> None:
    body = f'{{"agent_id": "{tenant["agent_id"]}", "amount_usd": {raw}}}'
    with unchanged(gateway, simulator):
        response = sent(client, tenant, "topup", body.encode())
    check_native(response, 422, "validation_error", "amount_usd")
    assert len(response.content) < 2_000, "the value is not echoed"


@pytest.mark.parametrize("field", ["per_call_cap_usd", "daily_cap_usd", "monthly_cap_usd"])
@pytest.mark.parametrize("raw", ['"-1"', "0", '"NaN"', "NaN", '"1e99"', "true", "[]", '"much"'])
@pytest.mark.parametrize("route", ["policy", "replace"])
def test_a_cap_that_is_none(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], route: str, field: str,
    raw: str,
) -> None:  # fmt: skip
    with unchanged(gateway, simulator):
        response = sent(client, tenant, route, f'{{"{field}": {raw}}}'.encode())
    check_native(response, 422, "validation_error", field)


SIGNUPS: list[tuple[str, Any]] = [
    ("agent_handle", "ab"), ("agent_handle", "a" * 41), ("agent_handle", "Upper"), ("agent_handle", "a b c"),
    ("agent_handle", "ünder"), ("agent_handle", 5), ("agent_handle", None), ("agent_handle", "a/../b"),
    ("per_call_cap_usd", "0.0001"), ("per_call_cap_usd", 101), ("daily_cap_usd", "0"), ("daily_cap_usd", "10001"),
    ("wallet_address", "0x12"), ("wallet_address", "1" * 42), ("metadata", []), ("metadata", {"x": "y" * 9_000}),
    ("owner_source", "twitter"), ("owner_contact", ""), ("owner_contact", "x" * 255), ("owner_handle", "A B"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), SIGNUPS)
def test_a_signup_that_is_none(gateway: GatewayProcess, simulator: Simulator, field: str, value: Any) -> None:
    body = {"agent_handle": "never-made", field: value}
    with unchanged(gateway, simulator):
        response = httpx.post(f"{gateway.url}/v1/agents/signup", json=body, timeout=60)
    check_native(response, 422, "validation_error", field)


def test_a_signup_without_a_handle(gateway: GatewayProcess, simulator: Simulator) -> None:
    with unchanged(gateway, simulator):
        response = httpx.post(f"{gateway.url}/v1/agents/signup", json={"metadata": {}}, timeout=60)
    check_native(response, 422, "validation_error", "agent_handle")


@pytest.mark.parametrize("claim", [{"owner_handle": "somebody"}, {"owner_source": "github_user"}])
def test_a_stranger_claims_no_owner(gateway: GatewayProcess, simulator: Simulator, claim: dict[str, str]) -> None:
    with unchanged(gateway, simulator):
        response = httpx.post(
            f"{gateway.url}/v1/agents/signup", json={"agent_handle": "never-made", **claim}, timeout=60
        )
    check_native(response, 403, "forbidden", next(iter(claim)))


def test_a_handle_is_taken_once(gateway: GatewayProcess, simulator: Simulator, tenant: dict[str, Any]) -> None:
    with unchanged(gateway, simulator):
        response = httpx.post(
            f"{gateway.url}/v1/agents/signup", json={"agent_handle": tenant["agent_handle"]}, timeout=60
        )
    check_native(response, 409, "handle_taken", "agent_handle")


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("register", {"tenant_id": "TENANT", "name": ""}, "name"),
        ("register", {"tenant_id": "TENANT", "name": "x" * 101}, "name"),
        ("register", {"tenant_id": 5, "name": "x"}, "tenant_id"),
        ("register", {"name": "x"}, "tenant_id"),
        ("keys", {"scope": "admin"}, "scope"),
        ("keys", {"scope": None}, "scope"),
        ("keys", {"agent_id": 5}, "agent_id"),
        ("policy", {"allowed_brands": "openai"}, "allowed_brands"),
        ("policy", {"allowed_brands": ["OpenAI!"]}, "allowed_brands[0]"),
        ("policy", {"preset": "fastest"}, "preset"),
        ("cards", {"jws": 5}, "jws"),
        ("cards", {"jws": ""}, "jws"),
        ("cards", {}, "jws"),
        ("killswitch", {"engaged": "yes"}, "engaged"),
        ("killswitch", {"threshold_usd": "0"}, "threshold_usd"),
        ("killswitch", {"threshold_usd": -5}, "threshold_usd"),
        ("killswitch", {}, "engaged"),
        ("verdict", {"brand": "Bad Name", "verdict": "PASS", "decided_by": "tests"}, "brand"),
        ("verdict", {"brand": "b", "verdict": "MAYBE", "decided_by": "tests"}, "verdict"),
        ("verdict", {"brand": "b", "verdict": "PASS", "decided_by": ""}, "decided_by"),
        ("verdict", {"brand": "b", "verdict": "PASS", "decided_by": "t", "condition": {"eq": ["x", 1]}}, "condition"),
        ("verdict", {"brand": "b", "verdict": "CONDITIONAL", "decided_by": "t"}, "condition"),
        ("verdict", {"brand": "b", "verdict": "CONDITIONAL", "decided_by": "t", "condition": {"a": 1}}, "condition"),
        ("explain", {"brand": "b", "context": 5}, "context"),
        ("topup", {"amount_usd": "1"}, "agent_id"),
    ],
)
def test_a_member_of_the_wrong_kind(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], route: str,
    body: dict[str, Any], field: str,
) -> None:  # fmt: skip
    with unchanged(gateway, simulator):
        response = sent(client, tenant, route, json.dumps(body).encode())
    check_native(response, 422, "validation_error", field)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/ledger/AGENT?limit=0", "limit"), ("/v1/ledger/AGENT?limit=-1", "limit"),
        ("/v1/ledger/AGENT?limit=x", "limit"), ("/v1/ledger/AGENT?limit=99999999999999999999", "limit"),
        ("/v1/agents?limit=NaN", "limit"), ("/v1/inferences?limit=1.5", "limit"),
        ("/v1/audit/AGENT?since_seq=x", "since_seq"), ("/v1/audit/AGENT?limit=501", "limit"),
        ("/v1/audit/AGENT?order=sideways", "order"), ("/v1/agents/AGENT/audit-chain?after_seq=x", "after_seq"),
    ],
)  # fmt: skip
def test_a_query_that_is_none(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], path: str, field: str
) -> None:
    with unchanged(gateway, simulator):
        response = client.get(path.replace("AGENT", tenant["agent_id"]))
    check_native(response, 422, "validation_error", field)


FOREIGN = [
    ("GET", "/v1/agents/{agent_id}", None),
    ("POST", "/v1/agents/{agent_id}/suspend", None),
    ("POST", "/v1/agents/{agent_id}/activate", None),
    ("GET", "/v1/agents/{agent_id}/card", None),
    ("POST", "/v1/agents/{agent_id}/card", None),
    ("PATCH", "/v1/agents/{agent_id}/spend-policy", {"per_call_cap_usd": "1"}),
    ("POST", "/v1/agents/{agent_id}/spend-policy", {"per_call_cap_usd": "1"}),
    ("DELETE", "/v1/keys/{key_id}", None),
    ("GET", "/v1/wallets/{agent_id}", None),
    ("GET", "/v1/ledger/{agent_id}", None),
    ("GET", "/v1/inferences?agent_id={agent_id}", None),
    ("GET", "/v1/inferences/{inference_id}", None),
    ("GET", "/v1/inferences/{inference_id}/decision", None),
    ("GET", "/v1/receipts/{receipt_id}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
def test_a_foreign_id_in_the_path_answers_as_an_unknown_one(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, stranger: dict[str, Any], method: str, path: str,
    body: Any,
) -> None:  # fmt: skip
    unknown = {name: new_id() for name in ("agent_id", "key_id", "inference_id", "receipt_id")}
    with unchanged(gateway, simulator):
        answers = [client.request(method, path.format(**ids), json=body) for ids in (stranger, unknown)]
    for answer in answers:
        check_native(answer, 404, "not_found")
    documents = [{**answer.json(), "request_id": ""} for answer in answers]
    assert documents[0] == documents[1]
    for text in ("x", "a'--", "%00", "..", "é", "0" * 36, "x" * 5_000):
        path_of = path.format(**dict.fromkeys(unknown, text))
        assert client.request(method, path_of, json=body).status_code in {404, 414, 422}


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        ("topup", {"agent_id": "FOREIGN", "amount_usd": "1"}, 403, "forbidden"),
        ("keys", {"agent_id": "FOREIGN"}, 403, "forbidden"),
        ("register", {"tenant_id": "FOREIGN", "name": "x"}, 404, "not_found"),
    ],
)
def test_a_foreign_id_in_the_body_answers_as_an_unknown_one(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], stranger: dict[str, Any],
    route: str, body: dict[str, str], status: int, code: str,
) -> None:  # fmt: skip
    foreign = stranger["tenant_id" if route == "register" else "agent_id"]
    encoded = json.dumps(body).encode()
    with unchanged(gateway, simulator):
        answers = [
            sent(client, tenant, route, encoded.replace(b"FOREIGN", one.encode())) for one in (foreign, new_id())
        ]
    for answer in answers:
        check_native(answer, status, code)
    assert len({answer.json()["message"] for answer in answers}) == 1


@pytest.mark.parametrize("route", ["register", "topup", "policy", "replace", "keys"])
def test_a_key_for_inference_may_not_change_the_house(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, tenant: dict[str, Any], route: str
) -> None:
    made = client.post("/v1/keys", json={"scope": "inference", "agent_id": tenant["agent_id"]}).json()
    with gateway.client(made["api_key"]) as limited, unchanged(gateway, simulator):
        check_native(sent(limited, tenant, route, json.dumps(ROUTES[route][2]).encode()), 403, "forbidden")
        for method, path in (
            ("POST", f"/v1/agents/{tenant['agent_id']}/suspend"), ("POST", f"/v1/agents/{tenant['agent_id']}/activate"),
            ("GET", "/v1/keys"), ("DELETE", f"/v1/keys/{made['id']}"),
        ):  # fmt: skip
            check_native(limited.request(method, path), 403, "forbidden")
        assert limited.get(f"/v1/wallets/{tenant['agent_id']}").status_code == 200


@pytest.mark.parametrize("path", ["/admin/killswitch", "/metrics"])
def test_an_owner_is_no_operator(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str
) -> None:
    with unchanged(gateway, simulator):
        check_native(client.get(path), 401, "invalid_api_key")
        check_native(httpx.get(gateway.url + path, timeout=60), 401, "missing_api_key")
        check_native(
            httpx.get(gateway.url + path, headers={"x-ainfera-internal-key": INTERNAL_KEY + "x"}, timeout=60),
            401,
            "missing_api_key",
        )


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/agents", "GET"), ("GET", "/v1/agents/signup", None), ("PUT", "/v1/wallets/topup", None),
        ("POST", "/v1/models", "GET"), ("POST", "/health", "GET, HEAD"), ("DELETE", "/admin/killswitch", "GET, PUT"),
        ("POST", "/v1/audit/public", "GET"), ("PATCH", "/v1/keys", "GET, POST"),
    ],
)  # fmt: skip
def test_a_method_that_the_path_has_not(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, method: str, path: str, allowed: str | None
) -> None:
    with unchanged(gateway, simulator):
        response = client.request(method, path)
    check_native(response, 405, "method_not_allowed")
    assert response.headers["allow"] == (allowed or "POST")
