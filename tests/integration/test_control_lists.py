"""Lists of a tenant: agents and ended calls by filters and cursors, each over an index and refusing what it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from ainfera_gateway.control import list_inferences
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.tables import metadata
from tests.integration.control_app import ControlApp, fields
from tests.integration.recorded_calls import record, refuse


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlApp]:
    running = ControlApp(tmp_path_factory.mktemp("lists"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(app: ControlApp) -> dict[str, Any]:
    made = app.signup("lister")
    sister = register(app, made, "lister two")
    app.ask("POST", "/v1/wallets/topup", made["api_key"], json={"agent_id": sister, "amount_usd": 1})
    return {**made, "sister": sister}


@pytest.fixture(scope="module")
def calls(app: ControlApp, owner: dict[str, Any]) -> dict[str, str]:
    """Name to inference id, in the order in which they ended."""
    sister = {**owner, "agent_id": owner["sister"]}
    return {
        "plain": record(app, owner, tags=["a", "b"], at_us=1_000),
        "claude": record(app, owner, dialect="anthropic", model="claude-opus-4-7", provider="anthropic", at_us=2_000),
        "streamed": record(app, owner, streamed=True, tags=["b"], at_us=3_000),
        "sisters": record(app, sister, trace_id="5e" * 16, at_us=3_000),
        "failed": record(app, owner, outcome="failed_provider_error", cost_picousd=0, at_us=4_000),
        "refused": refuse(app, owner, at_us=5_000),
    }


def register(app: ControlApp, owner: dict[str, Any], name: str) -> str:
    body = {"tenant_id": owner["tenant_id"], "name": name}
    agent_id: str = app.ask("POST", "/v1/agents/register", owner["api_key"], json=body).json()["id"]
    return agent_id


def listed(app: ControlApp, owner: dict[str, Any], calls: dict[str, str], query: str) -> list[str]:
    answer = app.ask("GET", f"/v1/inferences?{query}", owner["api_key"])
    assert answer.status_code == 200, answer.text
    names = {inference_id: name for name, inference_id in calls.items()}
    return [names[row["inference_id"]] for row in answer.json()["inferences"]]


FILTERS = {
    "": ["refused", "failed", "sisters", "streamed", "claude", "plain"],
    "agent_id=lister": ["refused", "failed", "streamed", "claude", "plain"],
    "agent_id=lister-two": ["sisters"],
    "model=claude-opus-4-7": ["claude"],
    "provider=mistral": ["failed", "sisters", "streamed", "plain"],
    "outcome_status=succeeded": ["sisters", "streamed", "claude", "plain"],
    "outcome_status=rejected_cap_violation": ["refused"],
    "dialect=anthropic": ["claude"],
    "tag=b": ["streamed", "plain"],
    "tag=a": ["plain"],
    "tag=c": [],
    "streamed=true": ["streamed"],
    "streamed=false": ["failed", "sisters", "claude", "plain"],
    f"trace_id={'5e' * 16}": ["sisters"],
    "since=1970-01-01T00:00:00.003Z": ["refused", "failed", "sisters", "streamed"],
    "until=1970-01-01T00:00:00.003Z": ["claude", "plain"],
    "since=1970-01-01T01:00:00.002%2B01:00&until=1970-01-01T00:00:00.004": ["sisters", "streamed", "claude"],
    "since=1970-01-01T01:00:00.004+01:00": ["refused", "failed"],
    "since=1000000000": [],
    "until=1000000000.5&tag=b&streamed=0": ["plain"],
    "model=claude-opus-4-7&provider=mistral": [],
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters(app: ControlApp, owner: dict[str, Any], calls: dict[str, str], query: str) -> None:
    assert listed(app, owner, calls, query) == FILTERS[query]


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("narrowing", ["", "&agent_id=lister", "&streamed=false", "&tag=b"])
def test_pages_join_without_a_gap_in_both_directions(
    app: ControlApp, owner: dict[str, Any], calls: dict[str, str], limit: int, narrowing: str
) -> None:
    whole = app.ask("GET", f"/v1/inferences?limit=200{narrowing}", owner["api_key"]).json()
    wanted = [row["inference_id"] for row in whole["inferences"]]
    assert len(wanted) >= 2
    assert (whole["has_more"], whole["next_before"]) == (False, None)
    assert whole["next_after"] == wanted[0]
    walked: list[str] = []
    cursor = ""
    while True:
        page = app.ask("GET", f"/v1/inferences?limit={limit}{narrowing}{cursor}", owner["api_key"]).json()
        walked += [row["inference_id"] for row in page["inferences"]]
        assert len(page["inferences"]) <= limit
        if not page["has_more"]:
            break
        cursor = f"&before={page['next_before']}"
    assert walked == wanted
    upwards = [wanted[-1]]
    while True:
        page = app.ask("GET", f"/v1/inferences?limit={limit}{narrowing}&after={upwards[-1]}", owner["api_key"]).json()
        upwards += [row["inference_id"] for row in reversed(page["inferences"])]
        assert page["next_after"] == upwards[-1]
        if not page["has_more"]:
            break
    assert upwards == wanted[::-1]


def test_a_call_that_ends_late_is_not_missed_by_a_walk_upwards(app: ControlApp) -> None:
    made = app.signup("late-ender")
    early_id, late_id = new_id(), new_id()
    record(app, made, inference_id=late_id, at_us=1_000)
    page = app.ask("GET", "/v1/inferences", made["api_key"]).json()
    # Accepted first, ended last.
    record(app, made, inference_id=early_id, at_us=2_000)
    more = app.ask("GET", f"/v1/inferences?after={page['next_after']}", made["api_key"]).json()
    assert [row["inference_id"] for row in more["inferences"]] == [early_id]


def test_a_page_with_filters_looks_at_so_many_rows_and_says_where_to_go_on(
    app: ControlApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = app.signup("sparse")
    needle = record(app, made, tags=["needle"], at_us=1)
    others = [record(app, made, at_us=10 + number) for number in range(7)]
    monkeypatch.setattr(list_inferences, "SCANNED_MAX", 3)
    seen, cursor, pages = [], "", 0
    while True:
        page = app.ask("GET", f"/v1/inferences?tag=needle{cursor}", made["api_key"]).json()
        seen += [row["inference_id"] for row in page["inferences"]]
        pages += 1
        if not page["has_more"]:
            break
        cursor = f"&before={page['next_before']}"
    assert (seen, pages) == ([needle], 3)
    up = app.ask("GET", f"/v1/inferences?tag=needle&after={needle}", made["api_key"]).json()
    assert (up["inferences"], up["has_more"], up["next_after"]) == ([], True, others[2])


def test_a_row_shows_what_a_single_read_shows(app: ControlApp, owner: dict[str, Any], calls: dict[str, str]) -> None:
    rows = app.ask("GET", "/v1/inferences", owner["api_key"]).json()["inferences"]
    for row in rows:
        one = app.ask("GET", f"/v1/inferences/{row['inference_id']}", owner["api_key"]).json()
        assert {name: one.get(name) for name in row} == row
    refused = next(row for row in rows if row["inference_id"] == calls["refused"])
    assert (refused["receipt_id"], refused["stream"], refused["model"]) == (None, None, None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=", "limit"), ("modle=gpt-5-5", "modle"),
        ("outcome=succeeded", "outcome"), ("outcome_status=ok", "outcome_status"), ("dialect=latin", "dialect"),
        ("streamed=perhaps", "streamed"), ("trace_id=xyz", "trace_id"), ("trace_id=" + "5E" * 16, "trace_id"),
        ("since=yesterday", "since"), ("since=1700000000000", "since"), ("since=2026", "since"), ("until=", "until"),
        ("since=2026-13-01", "since"), ("until=" + "9" * 300, "until"),
        ("since=2026-01-02&until=2026-01-01", "until"), ("tag=", "tag"), ("tag=%00", "tag"), ("model=%0A", "model"),
        ("provider=" + "x" * 129, "provider"), ("before=x", "before"), ("after=x", "after"),
        ("before=01890a5d-ac96-774b-bcce-b302099a8057", "before"), ("after=01890a5d-ac96-774b-bcce-b302099a8057", "after"),
        ("before=01890a5d-ac96-774b-bcce-b302099a8057&after=01890a5d-ac96-774b-bcce-b302099a8057", "after"),
        ("tag=a&tag=b", "tag"), ("limit=1&limit=2", "limit"), ("agent_id=" + "a" * 65, "agent_id"),
    ],
    ids=lambda text: str(text)[:24],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused_by_name(
    app: ControlApp, owner: dict[str, Any], query: str, field: str
) -> None:
    answer = app.ask("GET", f"/v1/inferences?{query}", owner["api_key"])
    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]


def test_another_tenants_calls_are_no_cursor_and_no_result(
    app: ControlApp, owner: dict[str, Any], calls: dict[str, str]
) -> None:
    stranger = app.signup("list-stranger")
    assert app.ask("GET", "/v1/inferences", stranger["api_key"]).json()["inferences"] == []
    assert fields(app.ask("GET", f"/v1/inferences?before={calls['plain']}", stranger["api_key"])) == ["before"]
    assert app.ask("GET", "/v1/inferences?agent_id=lister", stranger["api_key"]).status_code == 404
    assert app.ask("GET", f"/v1/inferences?trace_id={'5e' * 16}", stranger["api_key"]).json()["inferences"] == []


# Agents


def test_agents_are_listed_by_page_status_and_handle(app: ControlApp) -> None:
    made = app.signup("fleet-1")
    ids = [made["agent_id"], *(register(app, made, f"fleet {number}") for number in (2, 3, 4, 5))]
    key = made["api_key"]
    app.ask("POST", f"/v1/agents/{ids[2]}/suspend", key)
    walked: list[str] = []
    cursor = ""
    while True:
        page = app.ask("GET", f"/v1/agents?limit=2{cursor}", key).json()
        walked += [agent["id"] for agent in page["agents"]]
        if not page["has_more"]:
            break
        cursor = f"&after={page['next_after']}"
    assert walked == ids
    assert page["next_after"] is None

    def ask(query: str) -> list[str]:
        return [agent["id"] for agent in app.ask("GET", f"/v1/agents?{query}", key).json()["agents"]]

    assert ask("status=suspended") == [ids[2]]
    assert ask("status=active") == [ids[0], ids[1], ids[3], ids[4]]
    assert ask(f"status=active&after={ids[1]}&limit=1") == [ids[3]]
    assert ask("handle=fleet-3") == [ids[2]]
    assert ask("handle=fleet-9") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=501", "limit"), ("limit=0", "limit"), ("status=asleep", "status"), ("handle=A", "handle"),
        ("after=x", "after"), ("state=active", "state"), ("status=active&status=active", "status"),
    ],
)  # fmt: skip
def test_a_wrong_question_about_agents_is_refused_by_name(
    app: ControlApp, owner: dict[str, Any], query: str, field: str
) -> None:
    answer = app.ask("GET", f"/v1/agents?{query}", owner["api_key"])
    assert answer.status_code == 422
    assert fields(answer) == [field]


# What it costs


@contextmanager
def statements(app: ControlApp) -> Iterator[list[tuple[str, Any]]]:
    """What the control plane reads with, with the values."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        seen.append((sql, parameters))

    event.listen(app.reader, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(app.reader, "before_cursor_execute", note)


def scanned_tables(app: ControlApp, sql: str, parameters: Any) -> list[str]:
    """Tables that SQLite would read from one end to the other, or sort."""
    plan = [row[3] for row in app.rows(f"EXPLAIN QUERY PLAN {sql}", *parameters)]
    assert plan
    scans = [match[1] for line in plan if (match := re.match(r"SCAN (\w+)", line))]
    return [name for name in scans if name in metadata.tables]


@pytest.mark.parametrize(
    "path",
    [
        *(f"/v1/inferences?{query}" for query in FILTERS), "/v1/inferences?before=CURSOR", "/v1/inferences?after=CURSOR",
        "/v1/inferences?agent_id=lister&before=CURSOR&tag=b", "/v1/agents", "/v1/agents?status=active&limit=1",
        "/v1/agents?handle=lister", "/v1/usage", "/v1/usage?group_by=agent,model,day,tag",
        "/v1/usage?group_by=day&agent_id=lister&since=2020-01-01&until=2030-01-01", "/v1/routing-policy",
    ],
    ids=lambda path: str(path)[:60],
)  # fmt: skip
def test_no_list_reads_a_whole_table(app: ControlApp, owner: dict[str, Any], calls: dict[str, str], path: str) -> None:
    with statements(app) as seen:
        answer = app.ask("GET", path.replace("CURSOR", calls["claude"]), owner["api_key"])
    assert answer.status_code == 200, answer.text
    assert 1 <= len(seen) <= 4, "the number of statements does not grow with the rows"
    assert [scanned_tables(app, sql, parameters) for sql, parameters in seen] == [[] for _ in seen]


def test_the_test_of_plans_sees_a_scan(app: ControlApp) -> None:
    assert scanned_tables(app, "SELECT * FROM routing_outcomes WHERE model = ?", ("x",)) == ["routing_outcomes"]


def test_a_page_without_filters_walks_its_index_in_order(
    app: ControlApp, owner: dict[str, Any], calls: dict[str, str]
) -> None:
    with statements(app) as seen:
        app.ask("GET", f"/v1/inferences?limit=2&before={calls['failed']}", owner["api_key"])
    sql, parameters = seen[-1]
    plan = " ".join(row[3] for row in app.rows(f"EXPLAIN QUERY PLAN {sql}", *parameters))
    assert (
        "ix_routing_outcomes_tenant_id_created_us_inference_id (tenant_id=? AND (created_us,inference_id)<(?,?))"
        in plan
    )
