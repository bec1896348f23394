"""1,000 calls of every kind and dialect: what the provider saw, what was paid and what was proved are the same calls, each once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, family_environment
from tests.integration.mixed_load import LATE_REPEATS, Tally, make_calls, wishes
from tests.simulator.process import Simulator

# The load of this module is made by its first test.
pytestmark = pytest.mark.timeout(600)
CALLS = 1000
AGENTS = 5
SEED = 20261123


@dataclass(frozen=True)
class Aftermath:
    """What is left when every call has ended: a copy of the database, the provider's file, what callers saw."""

    database: Path
    seen: list[str | None]
    tally: Tally


@pytest.fixture(scope="module")
def aftermath(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    environment = family_environment(simulator.base_url)
    environment |= {"LOCAL_BASE_URL": simulator.base_url, "AINFERA_ATTEMPT_TIMEOUT_S": "0.7"}
    environment |= {"AINFERA_DISCONNECT_DRAIN_S": "0.3", "AINFERA_SPEND_KILLSWITCH_USD": "1000"}
    with GatewayProcess(tmp_path_factory.mktemp("mixed"), environment) as gateway:
        keys = [gateway.signup(f"mixed-{number}")["api_key"] for number in range(AGENTS)]
        tally = asyncio.run(make_calls(gateway.url, keys, wishes(CALLS, AGENTS, SEED)))
        wait_settled(gateway.database)
        assert simulator.wait_idle(60)
        assert gateway.stop() == 0
    seen = [one.begin["attempt"] for one in simulator.seen()]
    return Aftermath(gateway.database, seen, tally)


def test_every_call_is_seen_paid_and_proved_once(aftermath: Aftermath) -> None:
    assert problems(aftermath.database, aftermath.seen) == []


def test_calls_are_neither_lost_nor_made_up(aftermath: Aftermath) -> None:
    tally = aftermath.tally
    assert sum(tally.kinds.values()) == CALLS
    accepted = {row[0] for row in rows(aftermath.database, "SELECT id FROM inferences")}
    refused = {
        row[0]
        for row in rows(
            aftermath.database, "SELECT inference_id FROM routing_outcomes WHERE outcome_status LIKE 'rejected%'"
        )
    }
    assert refused == set(), "nothing in this load is refused before it leaves"
    assert tally.inference_ids <= accepted
    unnamed = len(accepted) - len(tally.inference_ids)
    assert 0 <= unnamed <= tally.unsure
    expected = CALLS - tally.replayed - tally.refused_as_in_flight
    assert expected - tally.unsure <= len(accepted) <= expected


def test_the_load_was_as_mixed_as_it_claims(aftermath: Aftermath) -> None:
    tally = aftermath.tally
    assert set(tally.kinds) == {"plain", "stream", "tools", "fault", "disconnect", "idempotent", "embeddings"}
    assert min(tally.kinds.values()) >= 20
    assert tally.replayed >= LATE_REPEATS - 2, "but for those whose first use still ran"
    assert tally.left >= 30
    outcomes = Counter(row[0] for row in rows(aftermath.database, "SELECT outcome_status FROM routing_outcomes"))
    assert outcomes["succeeded"] >= 250
    assert outcomes["client_cancelled"] >= 20
    assert outcomes["failed_provider_error"] >= 40
    assert set(outcomes) == {"succeeded", "client_cancelled", "failed_provider_error"}, "nothing broke on our side"
    results = {row[0] for row in rows(aftermath.database, "SELECT DISTINCT outcome FROM attempts")}
    assert results >= {"ok", "client_error", "rate_limited", "server_error", "timeout", "cancelled", "invalid"}
    tried = {row[0] for row in rows(aftermath.database, "SELECT DISTINCT attempts FROM routing_outcomes")}
    assert tried >= {1, 2, 3}, "some calls were tried again, and some fell back"
    crossed = rows(
        aftermath.database,
        "SELECT DISTINCT dialect, provider FROM routing_outcomes WHERE outcome_status = 'succeeded'",
    )
    providers = {"anthropic", "openai", "gemini", "xai", "mistral"}
    assert {(dialect, provider) for dialect in ("openai", "anthropic", "native") for provider in providers} <= set(
        crossed
    )
    beyond = rows(aftermath.database, "SELECT COUNT(*) FROM transfers WHERE kind = 'unreconciled'")
    assert beyond[0][0] > 0, "some provider billed beyond the hold"


def _tampered(database: Path, directory: Path) -> sqlite3.Connection:
    """A copy of the database without the triggers and the unique index that would refuse the tampering."""
    copy = sqlite3.connect(directory / "copy.db")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source:
        source.backup(copy)
    for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        copy.execute(f"DROP TRIGGER {name}")
    copy.execute("DROP INDEX uq_transfers_agent_debit")
    return copy


_SOME_CALL = "(SELECT inference_id FROM routing_outcomes WHERE cost_picousd > 0 LIMIT 1)"
_COLUMNS = "agent_id, inference_id, debit_account, credit_account, amount_picousd, kind, memo, balance_after_picousd"
FAULTS: dict[str, tuple[str, str]] = {
    "an outcome is removed": (f"DELETE FROM routing_outcomes WHERE inference_id = {_SOME_CALL}", "0 outcomes"),
    "a transfer is doubled": (
        (
            f"INSERT INTO transfers SELECT 'doubled', {_COLUMNS}, created_us FROM transfers"
            f" WHERE kind = 'debit' AND inference_id = {_SOME_CALL}"
        ),
        "2 agent transfers",
    ),
    "a transfer is missing": (
        f"DELETE FROM transfers WHERE kind = 'debit' AND inference_id = {_SOME_CALL}",
        "0 agent transfers",
    ),
    "an attempt is missing": (f"DELETE FROM attempts WHERE inference_id = {_SOME_CALL}", "left and is not stored"),
    "an attempt is made up": (
        (
            "INSERT INTO attempts SELECT 'made-up', inference_id, 99, provider, model, 'ok', upstream_status, NULL,"
            " ttft_us, latency_us, input_tokens, output_tokens, cost_picousd, usage_source, created_us FROM attempts"
            " LIMIT 1"
        ),
        "the provider never saw it",
    ),
    "a terminal event is missing": (
        "DELETE FROM audit_events WHERE id = (SELECT id FROM audit_events WHERE event_type = 'receipt.created' LIMIT 1)",
        "0 terminal events",
    ),
    "an event is altered": (
        (
            'UPDATE audit_events SET payload = replace(payload, \'"outcome_status":"succeeded"\','
            " '\"outcome_status\":\"SUCCEEDED\"') WHERE event_type = 'receipt.created'"
        ),
        "the published SDK rejects the chain",
    ),
    "a balance is raised": ("UPDATE wallets SET balance_picousd = balance_picousd + 1", "its transfers say"),
    "a hold is left": (
        "INSERT INTO holds SELECT id, agent_id, tenant_id, 5, 'a', 0, 'p', 'm', 'o', NULL, 1 FROM inferences LIMIT 1",
        "1 holds are left",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_check_finds_a_seeded_fault(fault: str, aftermath: Aftermath, tmp_path: Path) -> None:
    sql, named = FAULTS[fault]
    with closing(_tampered(aftermath.database, tmp_path)) as copy:
        assert copy.execute(sql).rowcount >= 1
        copy.commit()
    assert any(named in problem for problem in problems(tmp_path / "copy.db", aftermath.seen))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda seen: [*seen, seen[0]], "2 times"),
        (lambda seen: seen[1:], "the provider never saw it"),
        (lambda seen: [*seen, "unknown"], "left and is not stored"),
    ],
    ids=["twice", "lost", "unknown"],
)
def test_the_same_check_finds_a_fault_in_the_providers_file(
    change: Callable[[list[str | None]], list[str | None]], named: str, aftermath: Aftermath
) -> None:
    assert any(named in problem for problem in problems(aftermath.database, change(aftermath.seen)))
