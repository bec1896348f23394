"""Bad input to inference: a clear error that names the field, in the dialect of the route; nothing changed, nothing sent.

Each body goes to both dialects: 400 ``invalid_request`` in the OpenAI shape, 422 ``validation_error`` in the native one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ainfera_gateway.agents.keys import mint
from ainfera_gateway.ids import new_id
from tests.gateway_process import GatewayProcess
from tests.integration.bad_bodies import BODIES, DEPTH_MAX, with_
from tests.integration.calls import NATIVE, OPENAI
from tests.integration.unchanged import check_native, check_refusal, unchanged
from tests.simulator.process import Simulator

MIB_10 = 10 * 1024 * 1024
JSON = {"content-type": "application/json"}

both_dialects = pytest.mark.parametrize("path", [OPENAI, NATIVE, "/openai" + OPENAI])
two_dialects = pytest.mark.parametrize("path", [OPENAI, NATIVE])


@pytest.fixture(scope="module")
def tenant(gateway: GatewayProcess) -> dict[str, Any]:
    return gateway.signup("bad-input")


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess, tenant: dict[str, Any]) -> Iterator[httpx.Client]:
    with gateway.client(tenant["api_key"]) as shared:
        yield shared


@pytest.mark.parametrize("name", BODIES)
@both_dialects
def test_a_bad_body_is_refused_by_its_field(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, name: str, path: str
) -> None:
    body, field = BODIES[name]
    with unchanged(gateway, simulator):
        response = client.post(path, content=body, headers=JSON)
    status, code = (422, "validation_error") if path == NATIVE else (400, "invalid_request")
    check_refusal(response, path, status, code, field)
    assert "Traceback" not in response.text
    assert response.headers["cache-control"] == "no-store"


def test_the_deepest_body_that_is_let_in(client: httpx.Client) -> None:
    schema: dict[str, Any] = {"type": "object"}
    levels = DEPTH_MAX - 4  # the body, the list of tools, the tool, its function
    for _ in range((levels - 1) // 2):
        schema = {"type": "object", "properties": {"a": schema}}
    body = with_(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    assert client.post(OPENAI, content=body, headers=JSON).status_code == 200
    deeper = {"type": "object", "properties": {"a": {"type": "object", "properties": {"a": schema}}}}
    body = with_(tools=[{"type": "function", "function": {"name": "f", "parameters": deeper}}])
    assert client.post(OPENAI, content=body, headers=JSON).status_code == 400


# ---- size and form of the request ----


@both_dialects
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_past_ten_mebibytes(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str, chunked: bool
) -> None:
    filler = MIB_10 + 1 - len(with_(user=""))
    body = with_(user="x" * filler)
    assert len(body) == MIB_10 + 1
    pieces = (body[start : start + 2**20] for start in range(0, len(body), 2**20))
    with unchanged(gateway, simulator):
        response = client.post(path, content=pieces if chunked else body, headers=JSON)
    check_refusal(response, path, 413, "body_too_large")


@two_dialects
def test_a_body_of_ten_mebibytes_is_read(client: httpx.Client, path: str) -> None:
    filler = MIB_10 - len(with_(messages=[{"role": "user", "content": ""}]))
    body = with_(messages=[{"role": "user", "content": "x" * filler}])
    assert len(body) == MIB_10
    response = client.post(path, content=body, headers=JSON)
    check_refusal(response, path, 402, "wallet_insufficient")


@both_dialects
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
def test_a_body_of_another_type(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    with unchanged(gateway, simulator):
        response = client.post(path, content=with_(), headers=headers)
    check_refusal(response, path, 415, "unsupported_media_type")


@both_dialects
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_method_that_the_path_has_not(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str, method: str
) -> None:
    with unchanged(gateway, simulator):
        response = client.request(method, path)
    check_refusal(response, path, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path",
    [
        OPENAI + "/", NATIVE + "/", "//v1/inference", "/v1", "/v1/", "/v2/inference", "/v1/Inference", "/v1/unknown",
        "/v1/chat", "/v1/chat/completions/x", "/v1/agents/", "/v1/wallets/", "/openai/v1/inference", "/%2e%2e/v1/inference",
        "/v1/inference%00", "/v1/inference%2f", "/health/", "/metrics/", "/admin", "/v1/models/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_not_there(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str, method: str
) -> None:
    with unchanged(gateway, simulator):
        content = with_() if method == "POST" else None
        response = client.request(method, gateway.url + path, content=content, headers=JSON)
    check_native(response, 404, "not_found")


# ---- who asks, and for whom ----


@both_dialects
def test_no_key(gateway: GatewayProcess, simulator: Simulator, path: str) -> None:
    with unchanged(gateway, simulator):
        response = httpx.post(gateway.url + path, content=with_(), headers=JSON, timeout=60)
    check_refusal(response, path, 401, "missing_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


def _mistyped(key: str) -> str:
    return key[:20] + ("A" if key[20] != "A" else "B") + key[21:]


WRONG_KEYS: dict[str, Callable[[str], dict[str, str]]] = {
    "unknown": lambda _: {"authorization": f"Bearer {mint().secret}"},
    "unknown in the other header": lambda _: {"x-api-key": mint().secret},
    "mistyped": lambda key: {"authorization": f"Bearer {_mistyped(key)}"},
    "cut off": lambda key: {"authorization": f"Bearer {key[:-1]}"},
    "with a blank in it": lambda key: {"authorization": f"Bearer {key[:30]} {key[30:]}"},
    "another maker's": lambda _: {"authorization": "Bearer sk-proj-0123456789abcdef0123456789abcdef"},
    "not ASCII": lambda _: {"x-api-key": "caf\xe9"},
}


@pytest.mark.parametrize("name", WRONG_KEYS)
@both_dialects
def test_a_wrong_key(
    gateway: GatewayProcess, simulator: Simulator, tenant: dict[str, Any], name: str, path: str
) -> None:
    shown = {name: value.encode("latin-1") for name, value in WRONG_KEYS[name](tenant["api_key"]).items()}
    with unchanged(gateway, simulator):
        response = httpx.post(gateway.url + path, content=with_(), headers={**JSON, **shown}, timeout=60)
    check_refusal(response, path, 401, "invalid_api_key")


@both_dialects
def test_a_key_under_another_scheme_is_no_key(
    gateway: GatewayProcess, simulator: Simulator, tenant: dict[str, Any], path: str
) -> None:
    with unchanged(gateway, simulator):
        response = httpx.post(
            gateway.url + path,
            content=with_(),
            headers={**JSON, "authorization": f"Basic {tenant['api_key']}"},
            timeout=60,
        )
    check_refusal(response, path, 401, "missing_api_key")


@both_dialects
def test_a_revoked_key(gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str) -> None:
    made = client.post("/v1/keys", json={"scope": "inference"}).json()
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 200
    with unchanged(gateway, simulator), gateway.client(made["api_key"]) as revoked:
        check_refusal(revoked.post(path, content=with_(), headers=JSON), path, 401, "invalid_api_key")


@both_dialects
def test_another_tenant_s_agent_answers_as_an_unknown_one(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, new_agent: Any, path: str
) -> None:
    stranger = new_agent()
    with unchanged(gateway, simulator):
        responses = [
            client.post(path, content=with_(agent_id=agent_id), headers=JSON)
            for agent_id in (
                stranger["agent_id"],
                new_id(),
                stranger["agent_handle"],
                "nobody",
                "../x",
                stranger["tenant_id"],
            )
        ]
    said = set()
    for response in responses:
        check_refusal(response, path, 403, "forbidden", "agent_id")
        document = response.json()
        said.add(document["message"] if path == NATIVE else document["error"]["message"])
        assert response.headers["x-should-retry"] == "false"
        assert "x-ainfera-agent-id" not in response.headers
    assert len(said) == 1


@both_dialects
def test_a_key_bound_to_no_agent_must_name_one(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str
) -> None:
    key = client.post("/v1/keys", json={"scope": "inference"}).json()["api_key"]
    with gateway.client(key) as unbound, unchanged(gateway, simulator):
        check_refusal(unbound.post(path, content=with_(), headers=JSON), path, 422, "validation_error", "agent_id")


@both_dialects
@pytest.mark.parametrize(
    "model",
    [
        "gpt-99",
        "anthropic/gpt-5-5",
        "ainfera-inference-2",
        "AINFERA-INFERENCE",
        "/",
        "openai/",
        " gpt-5-5",
        "gpt-5-5/",
        "é",
    ],
)
def test_an_unknown_model(
    gateway: GatewayProcess, simulator: Simulator, client: httpx.Client, path: str, model: str
) -> None:
    with unchanged(gateway, simulator):
        response = client.post(path, content=with_(model=model), headers=JSON)
    check_refusal(response, path, 422, "model_unavailable", "model")
    document = response.json()
    said = document if path == NATIVE else document["error"]
    assert said["model"] == model
    assert "provider" in said


@both_dialects
def test_an_error_carries_the_caller_s_own_trace(client: httpx.Client, path: str) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    for headers in (
        {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
        {"x-ainfera-trace-id": trace_id},
    ):
        response = client.post(path, content=b"{", headers={**JSON, **headers})
        assert response.headers["x-ainfera-trace-id"] == trace_id
        assert response.headers["traceresponse"].startswith(f"00-{trace_id}-")
