"""``/v1/routing-policy``: versions that stay, aliases that lead somewhere, and what the way of a call reads of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from ainfera_gateway.control.routing_policy import StorePolicy
from ainfera_gateway.routing.store import newest_policy, tenant_aliases
from tests.integration.control_app import ControlApp

PATH = "/v1/routing-policy"
ALIASES = {"gpt-4o": "ainfera-inference", "fast": "mistral-large-3", "très vite": "mistral/mistral-large-3"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("policy"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(app: ControlApp) -> dict[str, Any]:
    return app.signup("planner")


def put(app: ControlApp, key: str, document: Any) -> Any:
    return app.ask("PUT", PATH, key, content=document if isinstance(document, bytes) else json.dumps(document).encode())


def aliases(app: ControlApp, tenant: dict[str, Any]) -> dict[str, str]:
    with app.reader.connect() as connection:
        return dict(tenant_aliases(connection, tenant["tenant_id"]))


def versions(app: ControlApp, tenant: dict[str, Any]) -> list[tuple[int, dict[str, Any], str]]:
    rows = app.rows(
        "SELECT version, document, created_by FROM routing_policies WHERE tenant_id = ? ORDER BY version",
        tenant["tenant_id"],
    )
    return [(version, json.loads(document), by) for version, document, by in rows]


def test_versions_are_kept_and_the_newest_is_in_force(app: ControlApp) -> None:
    made = app.signup("versioned")
    key = made["api_key"]
    first = app.ask("GET", PATH, key).json()
    assert (first["version"], first["document"], first["created_at"]) == (0, {"model_aliases": {}}, None)
    assert aliases(app, made) == {}
    app.changed.clear()
    one = put(app, key, {"model_aliases": ALIASES}).json()
    assert app.changed == [made["tenant_id"]], "the hot path forgets what it knew"
    assert (one["tenant_id"], one["version"], one["document"]) == (made["tenant_id"], 1, {"model_aliases": ALIASES})
    assert one["created_at"].endswith("Z")
    assert aliases(app, made) == ALIASES
    assert put(app, key, {"model_aliases": dict(reversed(ALIASES.items()))}).json() == one, (
        "the same again is no change"
    )
    two = put(app, key, {"model_aliases": {"fast": "ainfera-inference"}}).json()
    assert two["version"] == 2
    assert app.ask("GET", PATH, key).json() == two
    assert aliases(app, made) == {"fast": "ainfera-inference"}
    assert put(app, key, {}).json()["document"] == {"model_aliases": {}}
    assert aliases(app, made) == {}
    (owner_key,) = (row["id"] for row in app.ask("GET", "/v1/keys", key).json()["keys"])
    assert versions(app, made) == [
        (1, {"model_aliases": ALIASES}, owner_key),
        (2, {"model_aliases": {"fast": "ainfera-inference"}}, owner_key),
        (3, {"model_aliases": {}}, owner_key),
    ]
    for change in ("UPDATE routing_policies SET version = 9", "DELETE FROM routing_policies"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            app.rows(change)


def test_a_tenant_sees_and_changes_its_own_only(app: ControlApp, owner: dict[str, Any]) -> None:
    stranger = app.signup("policy-stranger")
    put(app, owner["api_key"], {"model_aliases": ALIASES})
    assert app.ask("GET", PATH, stranger["api_key"]).json()["version"] == 0
    assert aliases(app, stranger) == {}
    reader = app.ask("POST", "/v1/keys", owner["api_key"], json={"scope": "inference"}).json()["api_key"]
    assert app.ask("GET", PATH, reader).json()["document"] == {"model_aliases": ALIASES}
    assert put(app, reader, {}).status_code == 403
    assert aliases(app, owner) == ALIASES


def test_two_changes_at_once_both_stand_in_their_order(app: ControlApp, monkeypatch: pytest.MonkeyPatch) -> None:
    made = app.signup("raced")
    from ainfera_gateway.control import routing_policy

    rival = StorePolicy(made["tenant_id"], 1, '{"model_aliases": {"rival": "gpt-5-5"}}', "rival-key")

    def late(connection: Any, tenant_id: str) -> Any:
        """What was read is old by the time it is used: the rival commits in between, once."""
        found = newest_policy(connection, tenant_id)
        if found is None:
            app.run(app.recorder.submit(rival))
        return found

    monkeypatch.setattr(routing_policy, "newest_policy", late)
    assert put(app, made["api_key"], {"model_aliases": {"mine": "gpt-5-5"}}).json()["version"] == 2
    assert [(version, list(document["model_aliases"])) for version, document, _ in versions(app, made)] == [
        (1, ["rival"]), (2, ["mine"]),
    ]  # fmt: skip


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "body"),
    "nothing": (b"", "body"),
    "a list": ([], "body"),
    "a member unknown": ({"weights": {}}, "weights"),
    "a member twice": (b'{"model_aliases": {"a": "gpt-5-5", "a": "grok-4"}}', "a"),
    "no object": ({"model_aliases": []}, "model_aliases"),
    "null": ({"model_aliases": None}, "model_aliases"),
    "no text": ({"model_aliases": {"fast": 5}}, "model_aliases.fast"),
    "an empty target": ({"model_aliases": {"fast": ""}}, "model_aliases.fast"),
    "no such model": ({"model_aliases": {"fast": "gpt-99"}}, "model_aliases.fast"),
    "another provider's": ({"model_aliases": {"fast": "openai/grok-4-x"}}, "model_aliases.fast"),
    "an alias": ({"model_aliases": {"fast": "faster", "faster": "gpt-5-5"}}, "model_aliases.fast"),
    "itself": ({"model_aliases": {"gpt-5-5": "gpt-5-5"}}, "model_aliases.gpt-5-5"),
    "an old name as target": ({"model_aliases": {"fast": "ainfera-auto"}}, "model_aliases.fast"),
    "too many": ({"model_aliases": {f"a{number}": "gpt-5-5" for number in range(257)}}, "model_aliases"),
    "no name": ({"model_aliases": {"": "gpt-5-5"}}, "model_aliases"),
    "a long name": ({"model_aliases": {"x" * 129: "gpt-5-5"}}, "model_aliases"),
    "a line break": ({"model_aliases": {"a\nb": "gpt-5-5"}}, "model_aliases"),
    "a space at its end": ({"model_aliases": {"fast ": "gpt-5-5"}}, "model_aliases"),
    "a long target": ({"model_aliases": {"fast": "x" * 300}}, "model_aliases.fast"),
}
RESERVED = ["ainfera-inference", "ainfera-mithril", "ainfera-auto", "ainfera/auto"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_is_400_by_field_and_changes_nothing(app: ControlApp, owner: dict[str, Any], name: str) -> None:
    document, field = BAD[name]
    before = versions(app, owner)
    answer = put(app, owner["api_key"], document)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["code"] == body["error"] == body["detail"]["code"] == "invalid_request"
    assert body["detail"]["fields"][0]["field"] == field
    assert body["message"].startswith(f"{field}: ")
    assert "gpt-99" not in answer.text, "a value is not echoed"
    assert versions(app, owner) == before


@pytest.mark.parametrize("prefix", ["", "openai/"])
@pytest.mark.parametrize("name", RESERVED)
def test_the_routers_names_keep_their_meaning(app: ControlApp, owner: dict[str, Any], name: str, prefix: str) -> None:
    answer = put(app, owner["api_key"], {"model_aliases": {prefix + name: "gpt-5-5"}})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_as_many_aliases_as_allowed(app: ControlApp) -> None:
    made = app.signup("wordy")
    document = {"model_aliases": {f"{number:0128d}": "ainfera-inference" for number in range(256)}}
    assert put(app, made["api_key"], document).json()["document"] == document
    assert len(aliases(app, made)) == 256
