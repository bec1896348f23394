"""The route table: what is served is what is listed, and nobody passes a door that is not his.

The door is driven as the ASGI app it is, over a database that counts its readers and a body that counts its reads.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from ainfera_gateway.agents.keys import MintedKey, mint
from ainfera_gateway.api.context import context_of
from ainfera_gateway.api.control_plane import build
from ainfera_gateway.api.door import Door
from ainfera_gateway.api.routes import ROUTES, Auth, Route, RouteTable
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.control.context import Control
from ainfera_gateway.inference.facts import Facts
from ainfera_gateway.metrics.registry import Registry
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.settings import Settings

INTERNAL_KEY = "internal-key-of-this-test"

PUBLIC = {
    "/", "/health", "/v1/health", "/healthz", "/readyz", "/openapi.json", "/docs", "/.well-known/agent-card.json",
    "/.well-known/ainfera-public-key.json", "/.well-known/mcp.json", "/llms.txt", "/api/audit-ticker", "/v1/models",
    "/v1/models/{slug:path}", "/openai/v1/models", "/openai/v1/models/{slug:path}", "/anthropic/v1/models",
    "/anthropic/v1/models/{slug:path}", "/v1/providers", "/v1/audit/public", "/v1/audit/height",
    "/log/checkpoint", "/log/tile/{level}/{tile:path}",
}  # fmt: skip
BY_VISIBILITY = {
    "/v1/audit/{agent_id}", "/v1/audit/{agent_id}/verify", "/v1/audit/{agent_id}/annex-iv", "/v1/audit/{agent_id}/proof",
    "/v1/agents/{agent_id}/audit-chain", "/v1/agents/{agent_id}/audit-chain/{seq}",
}  # fmt: skip
OWNER = {
    ("POST", "/v1/agents/register"), ("POST", "/v1/agents/{agent_id}/suspend"), ("POST", "/v1/agents/{agent_id}/activate"),
    ("POST", "/v1/keys"), ("GET", "/v1/keys"), ("DELETE", "/v1/keys/{key_id}"),
    ("PATCH", "/v1/agents/{agent_id}/spend-policy"), ("POST", "/v1/agents/{agent_id}/spend-policy"),
    ("PUT", "/v1/routing-policy"),
}  # fmt: skip
OPERATOR = {
    ("GET", "/metrics"), ("GET", "/admin/killswitch"), ("PUT", "/admin/killswitch"), ("GET", "/admin/verdicts"),
    ("POST", "/admin/verdicts"), ("POST", "/admin/verdicts/explain"),
}  # fmt: skip


def pairs(routes: tuple[Route, ...] = ROUTES) -> Iterator[tuple[str, Route]]:
    """Every method of every route."""
    for route in routes:
        for method in sorted(route.methods):
            yield method, route


def served(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of everything that the framework would answer, routers within routers included."""
    return {(method, context.path) for context in iter_route_contexts(app.routes) for method in context.methods or ()}


def control_app() -> FastAPI:
    return build(cast("Control", SimpleNamespace(clock=SystemClock())))


def test_the_control_plane_serves_exactly_what_the_table_lists() -> None:
    listed = {(method, route.template) for method, route in pairs() if route.handler == "control"}
    answered = served(control_app())
    assert answered - listed == set(), "served, but not behind a row of the table"
    assert listed - answered == set(), "in the table, but nobody answers"


def test_no_route_stands_twice() -> None:
    listed = [(method, route.template) for method, route in pairs()]
    assert len(listed) == len(set(listed))


def test_each_row_has_the_auth_that_the_contract_gives_it() -> None:
    by_auth: dict[Auth, set[tuple[str, str]]] = {auth: set() for auth in Auth}
    for method, route in pairs():
        by_auth[route.auth].add((method, route.template))
    assert {template for _, template in by_auth[Auth.PUBLIC]} == PUBLIC
    assert {template for _, template in by_auth[Auth.OPTIONAL]} == BY_VISIBILITY
    assert by_auth[Auth.SIGNUP] == {("POST", "/v1/agents/signup")}
    assert by_auth[Auth.OWNER] == OWNER
    assert by_auth[Auth.OWNER_OR_INTERNAL] == {("POST", "/v1/wallets/topup")}
    assert by_auth[Auth.INTERNAL] == OPERATOR
    assert all(method in {"GET", "HEAD"} for method, _ in by_auth[Auth.PUBLIC]), "a public route changes nothing"


# ---- the door ----


class CountingReader:
    """A database whose only key is ``known``; counts how often it is asked."""

    def __init__(self, known: tuple[MintedKey, str]) -> None:
        self._known = known
        self.reads = 0

    def connect(self) -> Self:
        self.reads += 1
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, statement: Any) -> Self:
        asked = set(statement.compile().params.values())
        minted, scope = self._known
        self._row = ("key", "tenant", "agent", scope, minted.key_hash) if minted.key_hash in asked else None
        return self

    def one_or_none(self) -> Any:
        return self._row


class StoppedClock(SystemClock):
    """No token comes back while a test goes on, however long it is held up."""

    def monotonic_s(self) -> float:
        return 1000.0


class Visit:
    """One request at a door of its own, whose handlers do nothing but say that they were reached."""

    def __init__(self, scope: str = "owner") -> None:
        self.key = mint()
        self.reader = CountingReader((self.key, scope))
        self.body_reads = 0
        self.reached = False
        self.caller: Any = None
        clock = StoppedClock()
        handlers = dict.fromkeys({route.handler for route in ROUTES}, self._handler)
        settings = Settings(internal_key=INTERNAL_KEY)
        series = Series(Registry(), clock, version="0", providers=("openai",))
        facts = Facts(cast("Any", self.reader), clock)
        self.door = Door(
            table=RouteTable(), handlers=handlers, facts=facts, settings=settings, series=series, clock=clock
        )

    async def _handler(self, scope: Any, _receive: Any, send: Any) -> None:
        self.reached = True
        self.caller = context_of(scope).caller
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def _receive(self) -> dict[str, Any]:
        self.body_reads += 1
        return {"type": "http.request", "body": b"{}", "more_body": False}

    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], *, body_bytes: int = 2
    ) -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        given = {"content-type": "application/json", "content-length": str(body_bytes), **headers}
        scope = {
            "type": "http", "method": method, "path": path, "client": ("127.0.0.1", 1), "query_string": b"",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }  # fmt: skip
        asyncio.run(self.door(scope, self._receive, send))
        head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:])


def path_of(route: Route) -> str:
    return re.sub(r"\{[^}]+\}", "01890a5d-ac96-774b-bcce-b302099a8057", route.template)


def named(rows: list[tuple[str, Route]]) -> Any:
    return pytest.mark.parametrize(
        ("method", "route"), rows, ids=[f"{method} {route.template}" for method, route in rows]
    )


CLOSED = [(method, route) for method, route in pairs() if route.auth not in {Auth.PUBLIC, Auth.OPTIONAL, Auth.SIGNUP}]
OPEN = [(method, route) for method, route in pairs() if route.auth in {Auth.PUBLIC, Auth.OPTIONAL, Auth.SIGNUP}]

MALFORMED: dict[str, dict[str, str]] = {
    "another maker's": {"authorization": "Bearer sk-0123456789abcdef0123456789abcdef"},
    "too short": {"authorization": "Bearer ainfera_x"},
    "wrong checksum": {"authorization": "Bearer ainfera_" + "A" * 49},
    "endless": {"x-api-key": "ainfera_" + "A" * 8_000},
    "not ASCII": {"x-api-key": "ainfera_caf\xe9" + "A" * 45},
}


def check_error(status: int, head: dict[str, str], body: bytes, route: Route, code: str) -> None:
    document = json.loads(body)
    assert head["cache-control"] == "no-store"
    assert len(head["x-ainfera-trace-id"]) == 32
    if route.dialect == "openai":
        assert document["error"]["code"] == code
        assert document["error"]["type"] == {401: "authentication_error", 403: "permission_error"}[status]
    elif route.dialect == "anthropic":
        assert document["type"] == "error"
        assert document["error"]["details"]["code"] == code
        assert document["error"]["type"] == {401: "authentication_error", 403: "permission_error"}[status]
        assert document["request_id"] == head["x-ainfera-trace-id"]
    else:
        assert document["code"] == document["error"] == document["detail"]["code"] == code
        assert document["request_id"] == head["x-ainfera-trace-id"]


@named(CLOSED)
def test_without_a_key_nothing_is_touched(method: str, route: Route) -> None:
    visit = Visit()
    status, head, body = visit(method, path_of(route), {})
    assert (status, visit.reached, visit.reader.reads, visit.body_reads) == (401, False, 0, 0)
    check_error(status, head, body, route, "missing_api_key")


@pytest.mark.parametrize("name", MALFORMED)
@named(CLOSED)
def test_with_a_malformed_key_nothing_is_touched(method: str, route: Route, name: str) -> None:
    visit = Visit()
    status, head, body = visit(method, path_of(route), MALFORMED[name])
    assert (status, visit.reached, visit.reader.reads, visit.body_reads) == (401, False, 0, 0)
    operator_only = route.auth is Auth.INTERNAL
    check_error(status, head, body, route, "invalid_api_key")
    assert "www-authenticate" not in head or operator_only


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@named(CLOSED)
def test_an_unknown_key_costs_one_read_at_most(method: str, route: Route, header: str) -> None:
    visit = Visit()
    secret = mint().secret
    shown = {header: f"Bearer {secret}" if header == "authorization" else secret}
    status, head, body = visit(method, path_of(route), shown)
    assert (status, visit.reached, visit.body_reads) == (401, False, 0)
    assert visit.reader.reads == (0 if route.auth is Auth.INTERNAL else 1)
    check_error(status, head, body, route, "invalid_api_key")


@named([(method, route) for method, route in CLOSED if route.auth in {Auth.OWNER, Auth.OWNER_OR_INTERNAL}])
def test_a_key_of_the_wrong_scope_is_refused(method: str, route: Route) -> None:
    visit = Visit(scope="inference")
    status, head, body = visit(method, path_of(route), {"authorization": f"Bearer {visit.key.secret}"})
    assert (status, visit.reached, visit.body_reads) == (403, False, 0)
    assert visit.reader.reads == 1
    check_error(status, head, body, route, "forbidden")
    assert head["x-should-retry"] == "false"


@named([(method, route) for method, route in CLOSED if route.auth is Auth.INTERNAL])
@pytest.mark.parametrize("scope", ["owner", "inference"])
def test_no_tenant_s_key_opens_the_operator_s_routes(method: str, route: Route, scope: str) -> None:
    visit = Visit(scope=scope)
    status, _, _ = visit(method, path_of(route), {"authorization": f"Bearer {visit.key.secret}"})
    assert (status, visit.reached, visit.reader.reads, visit.body_reads) == (401, False, 0, 0)


@named(CLOSED)
def test_the_key_that_belongs_there_opens_it(method: str, route: Route) -> None:
    scopes = ["owner"] if route.auth in {Auth.OWNER, Auth.OWNER_OR_INTERNAL} else ["owner", "inference"]
    for scope in [] if route.auth is Auth.INTERNAL else scopes:
        for header in ("authorization", "x-api-key"):
            visit = Visit(scope=scope)
            shown = f"Bearer {visit.key.secret}" if header == "authorization" else visit.key.secret
            assert visit(method, path_of(route), {header: shown})[0] == 200
            assert visit.caller.tenant_id == "tenant"
            assert visit.body_reads == 0, "the door itself reads no body"
    for shown in ({"x-ainfera-internal-key": INTERNAL_KEY}, {"authorization": f"Bearer {INTERNAL_KEY}"}):
        visit = Visit()
        opened = route.auth in {Auth.INTERNAL, Auth.OWNER_OR_INTERNAL}
        assert (visit(method, path_of(route), shown)[0] == 200) is opened
        assert visit.reader.reads == 0


@named(OPEN)
def test_open_routes_ask_nobody(method: str, route: Route) -> None:
    for shown in ({}, *MALFORMED.values()):
        visit = Visit()
        assert visit(method, path_of(route), shown)[0] == 200
        assert (visit.reached, visit.reader.reads, visit.caller) == (True, 0, None)


@named([(method, route) for method, route in OPEN if route.auth is Auth.OPTIONAL])
def test_a_valid_key_shows_more_and_an_unknown_one_no_more_than_none(method: str, route: Route) -> None:
    visit = Visit()
    assert visit(method, path_of(route), {"authorization": f"Bearer {visit.key.secret}"})[0] == 200
    assert visit.caller.tenant_id == "tenant"
    stranger = Visit()
    assert stranger(method, path_of(route), {"authorization": f"Bearer {mint().secret}"})[0] == 200
    assert stranger.caller is None


def test_unknown_keys_are_limited_per_address_and_known_ones_are_not() -> None:
    visit = Visit()
    statuses = [visit("GET", "/v1/agents", {"x-api-key": mint().secret})[0] for _ in range(60)]
    assert statuses[0] == 401
    assert set(statuses) == {401, 429}
    reads = visit.reader.reads
    assert reads < 60
    status, head, _ = visit("GET", "/v1/agents", {"x-api-key": mint().secret})
    assert status == 429
    assert int(head["retry-after"]) >= 1
    assert visit.reader.reads == reads, "a refused guess is not looked up"


def test_an_unset_internal_key_opens_nothing() -> None:
    visit = Visit()
    visit.door._settings = Settings(internal_key="")
    for shown in ({}, {"x-ainfera-internal-key": ""}, {"authorization": "Bearer "}, {"x-ainfera-internal-key": "x"}):
        assert visit("GET", "/metrics", shown)[0] == 401
    assert not visit.reached


@named([(method, route) for method, route in CLOSED if method in {"POST", "PUT", "PATCH"}])
def test_a_body_too_large_is_refused_before_anything_is_touched(method: str, route: Route) -> None:
    visit = Visit()
    shown = {"authorization": f"Bearer {visit.key.secret}"}
    status, _, _ = visit(method, path_of(route), shown, body_bytes=10 * 1024 * 1024 + 1)
    assert (status, visit.reached, visit.reader.reads, visit.body_reads) == (413, False, 0, 0)


def test_what_is_in_no_row_is_not_found() -> None:
    for path in ("/nowhere", "/v1/agents/", "/v1/inference/", "/v1//inference", "/V1/inference", ""):
        visit = Visit()
        status, _, body = visit("GET", path, {"authorization": f"Bearer {visit.key.secret}"})
        assert (status, json.loads(body)["code"]) == (404, "not_found")
        assert (visit.reached, visit.reader.reads) == (False, 0)
