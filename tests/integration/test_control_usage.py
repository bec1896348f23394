"""``GET /v1/usage``: what it answers as JSON and as CSV, and what it refuses."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.control_app import ControlApp, fields
from tests.integration.recorded_calls import record, refuse

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("usage"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(app: ControlApp) -> dict[str, Any]:
    made = app.signup("spender")
    record(app, made, at_us=START_US, tags=["a", 'say "b", c\nd'], baseline_picousd=10**9)
    record(app, made, at_us=START_US + DAY_US, outcome="failed_provider_error", cost_picousd=0)
    record(app, made, at_us=START_US + DAY_US, outcome="client_cancelled", model="gpt-5-5", provider="openai")
    refuse(app, made, at_us=START_US + 2 * DAY_US)
    return made


def read(app: ControlApp, owner: dict[str, Any], query: str) -> list[dict[str, str]]:
    answer = app.ask("GET", f"/v1/usage?format=csv&{query}", owner["api_key"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert 'filename="usage.csv"' in answer.headers["content-disposition"]
    assert answer.text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), strict=True))


def test_json(app: ControlApp, owner: dict[str, Any]) -> None:
    body = app.ask("GET", "/v1/usage?group_by=model&since=2024-10-04T00:00:00Z", owner["api_key"]).json()
    assert (body["group_by"], body["since"], body["until"]) == (["model"], "2024-10-04T00:00:00.000000Z", None)
    assert body["rows"][0] == {
        "model": "gpt-5-5", "calls": 1, "succeeded": 0, "failed": 0, "cancelled": 1, "rejected": 0,
        "input_tokens": 100, "output_tokens": 50, "cached_input_tokens": 40, "cache_write_tokens": 7,
        "reasoning_tokens": 11, "cost_usd": "0.000150", "baseline_cost_usd": "0.000000", "saved_usd": "0.000000",
    }  # fmt: skip
    assert [row["model"] for row in body["rows"]] == ["gpt-5-5", "mistral-large-3", None]
    assert body["rows"][1]["saved_usd"] == "0.000850"
    total = body["total"]
    assert [total[name] for name in ("calls", "succeeded", "failed", "cancelled", "rejected")] == [4, 1, 1, 1, 1]
    assert total["cost_usd"] == "0.000300"
    wallet = app.ask("GET", "/v1/wallets/spender", owner["api_key"]).json()
    assert Decimal(wallet["balance_usd"]) == 5 - Decimal(total["cost_usd"])


def test_groups_come_in_the_order_asked_for_by_either_spelling(app: ControlApp, owner: dict[str, Any]) -> None:
    for query in ("group_by=day,agent", "group_by=day&group_by=agent", "group_by=day, agent,"):
        body = app.ask("GET", f"/v1/usage?{query}", owner["api_key"]).json()
        assert body["group_by"] == ["day", "agent"]
        assert [list(row)[:3] for row in body["rows"]] == [["day", "agent_id", "agent_handle"]] * 3
        assert [row["day"] for row in body["rows"]] == ["2024-10-04", "2024-10-05", "2024-10-06"]
        assert {(row["agent_id"], row["agent_handle"]) for row in body["rows"]} == {(owner["agent_id"], "spender")}


@pytest.mark.parametrize("query", ["", "group_by=agent", "group_by=tag,day", "group_by=model&until=2024-10-05"])
def test_csv_has_the_same_figures(app: ControlApp, owner: dict[str, Any], query: str) -> None:
    body = app.ask("GET", f"/v1/usage?{query}", owner["api_key"]).json()
    rows = read(app, owner, query)
    assert rows == [{name: "" if value is None else str(value) for name, value in row.items()} for row in body["rows"]]


def test_csv_keeps_what_a_tag_holds_and_runs_nothing(app: ControlApp) -> None:
    made = app.signup("formula-writer")
    record(app, made, tags=[*FORMULAS, 'say "b", c\nd'], cost_picousd=10, baseline_picousd=3)
    rows = read(app, made, "group_by=tag")
    assert {row["tag"] for row in rows} == {*(f"'{formula}" for formula in FORMULAS), 'say "b", c\nd'}
    assert {row["saved_usd"] for row in rows} == {"-0.000000000007"}, "a negative figure stays a number"
    for row in rows:
        assert not row["tag"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_an_empty_csv_has_its_header(app: ControlApp) -> None:
    made = app.signup("idle-one")
    answer = app.ask("GET", "/v1/usage?format=csv&group_by=model", made["api_key"])
    assert answer.text.count("\r\n") == 1
    assert answer.text.startswith("model,calls,succeeded,failed,cancelled,rejected,input_tokens,")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=colour", "group_by"), ("group_by=day,day", "group_by"), ("group_by=day&group_by=day", "group_by"),
        ("format=xml", "format"), ("since=soon", "since"), ("until=2024-10-04&since=2024-10-04", "until"),
        ("groupby=day", "groupby"), ("from=2024-10-04", "from"), ("format=csv&format=json", "format"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused_by_name(app: ControlApp, owner: dict[str, Any], query: str, field: str) -> None:
    answer = app.ask("GET", f"/v1/usage?{query}", owner["api_key"])
    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]


def test_one_agent_of_the_tenant_and_nobody_elses(app: ControlApp, owner: dict[str, Any]) -> None:
    key = owner["api_key"]
    sister = app.ask("POST", "/v1/agents/register", key, json={"tenant_id": owner["tenant_id"], "name": "sister"})
    for reference, calls in (("spender", 4), (owner["agent_id"], 4), (sister.json()["id"], 0)):
        assert app.ask("GET", f"/v1/usage?agent_id={reference}", key).json()["total"]["calls"] == calls
    stranger = app.signup("usage-stranger")
    assert app.ask("GET", "/v1/usage?agent_id=spender", stranger["api_key"]).status_code == 404
    assert app.ask("GET", "/v1/usage", stranger["api_key"]).json()["total"]["calls"] == 0
    reader = app.ask("POST", "/v1/keys", key, json={"scope": "inference"}).json()
    assert app.ask("GET", "/v1/usage", reader["api_key"]).json()["total"]["calls"] == 4
