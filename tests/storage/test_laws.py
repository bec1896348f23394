"""The law query: silent on a healthy ledger, and loud about each single way to break it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import text

from ainfera_gateway.audit.event_types import TERMINAL_EVENT_TYPES
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.settle import RecoverCall, RefuseCall
from ainfera_gateway.ledger.laws import TERMINAL_EVENTS, LawReport, check
from ainfera_gateway.storage.page import HoldRow
from bench.calls import OpenAgent, ending, facts, opening
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS

ALICE = AGENTS[0]
ENDED, OPEN, REFUSED, RECOVERED, UNKNOWN = (f"0193b000-0000-7000-8000-00000000000{n}" for n in range(5))
ENDED_US = 0x0193B0000000 * 1_000
LATER_US = 0x0193C0000000 * 1_000


async def healthy(store: Store) -> None:
    """One call of each kind: ended, open, refused, recovered."""
    async with store.recorder() as recorder:
        await recorder.submit(OpenAgent(ALICE, 10**14))
        ended = opening(facts(ALICE, inference_id=ENDED))
        await recorder.submit(ended)
        await recorder.submit(ending(ended))
        await recorder.submit(opening(facts(ALICE, inference_id=OPEN)))
        await recorder.submit(RefuseCall(facts(ALICE, inference_id=REFUSED), Outcome.REJECTED_CAP, "cap"))
        lost = opening(facts(ALICE, inference_id=RECOVERED))
        await recorder.submit(lost)
        (row,) = store.rows(
            "SELECT inference_id, agent_id, tenant_id, amount_picousd, attempt_id, ordinal, provider, model, owner,"
            " idempotency_hash, created_us FROM holds WHERE inference_id = :id",
            id=RECOVERED,
        )
        await recorder.submit(RecoverCall(lost.facts, HoldRow(*row)))


def _report(store: Store, **options: Any) -> LawReport:
    with store.reader().connect() as conn:
        return check(conn, **options)


def test_a_healthy_ledger_breaks_no_law(store: Store) -> None:
    assert _report(store).total == 0
    run(healthy(store))
    report = _report(store)
    assert report.broken == {}
    assert report.total == 0
    assert _report(store, since_us=ENDED_US).broken == {}


def test_the_laws_know_every_event_that_ends_a_call() -> None:
    assert set(TERMINAL_EVENTS) == TERMINAL_EVENT_TYPES


_EVENT = (
    "INSERT INTO audit_events (id, agent_id, seq, event_type, payload, previous_hash, event_hash, verifier_hash,"
    " created_us) VALUES ('0193d', '{agent}', 99, 'receipt.created', '{{\"inference_id\":\"{id}\"}}', '', '', '', 1)"
)
_DEBIT = (
    "INSERT INTO transfers (id, agent_id, inference_id, debit_account, credit_account, amount_picousd, kind,"
    " created_us) VALUES ('0193d', '{agent}', '{id}', 'agent:{agent}', 'house:revenue', {amount}, 'debit', 1)"
)
_HOLD = (
    "INSERT INTO holds (inference_id, agent_id, tenant_id, amount_picousd, attempt_id, ordinal, provider, model, owner,"
    " created_us) VALUES ('{id}', '{agent}', 't', 0, 'a', 0, 'p', 'm', 'o', 1)"
)
_ATTEMPT = (
    "INSERT INTO attempts (id, inference_id, ordinal, provider, model, outcome, latency_us, input_tokens,"
    " output_tokens, cost_picousd, usage_source, created_us)"
    " VALUES ('0193d', '{id}', 0, 'p', 'm', 'ok', 1, 1, 1, 1, 'provider', 1)"
)
_NOWHERE = (
    "INSERT INTO transfers (id, debit_account, credit_account, amount_picousd, kind, created_us)"
    " VALUES ('0193d', 'nowhere', 'house:revenue', 1, 'adjustment', 1)"
)
BELOW_ZERO = "UPDATE wallets SET balance_picousd = -1"

VIOLATIONS = [
    ("a hold was lost", f"DELETE FROM holds WHERE inference_id = '{OPEN}'",
     {"call_without_outcome", "held_unlike_holds"}),
    ("an outcome was lost", f"DELETE FROM routing_outcomes WHERE inference_id = '{ENDED}'",
     {"call_without_outcome", "debit_unlike_outcome", "terminal_event_without_outcome"}),
    ("a call was lost", f"DELETE FROM inferences WHERE id = '{ENDED}'",
     {"outcome_without_call", "attempt_without_call"}),
    ("something left without a call", _ATTEMPT.format(id=UNKNOWN), {"attempt_without_call"}),
    ("money came from nowhere", _NOWHERE, {"transfer_unbalanced"}),
    ("an open call was lost", f"DELETE FROM inferences WHERE id = '{OPEN}'", {"hold_without_call"}),
    ("a debit was lost", f"DELETE FROM transfers WHERE inference_id = '{ENDED}'",
     {"outcome_without_one_debit", "wallet_unlike_transfers"}),
    ("a debit was doubled", _DEBIT.format(agent=ALICE, id=ENDED, amount=4_000_000_000),
     {"outcome_without_one_debit", "wallet_unlike_transfers"}),
    ("a debit was changed", f"UPDATE transfers SET amount_picousd = 1 WHERE inference_id = '{ENDED}'",
     {"debit_unlike_outcome", "wallet_unlike_transfers"}),
    ("an outcome's cost was changed", f"UPDATE routing_outcomes SET cost_picousd = 1 WHERE inference_id = '{ENDED}'",
     {"debit_unlike_outcome"}),
    ("a refusal was charged", _DEBIT.format(agent=ALICE, id=REFUSED, amount=0), {"refusal_with_debit"}),
    ("a terminal event was lost",
     f"DELETE FROM audit_events WHERE event_type = 'receipt.created' AND payload LIKE '%{ENDED}%'",
     {"outcome_without_one_terminal_event"}),
    ("a terminal event was doubled", _EVENT.format(agent=ALICE, id=ENDED), {"outcome_without_one_terminal_event"}),
    ("an open call has a terminal event", _EVENT.format(agent=ALICE, id=OPEN), {"terminal_event_without_outcome"}),
    ("an attempt was lost", f"DELETE FROM attempts WHERE inference_id = '{ENDED}'", {"attempts_unlike_outcome"}),
    ("a hold outlived its call", _HOLD.format(agent=ALICE, id=ENDED), {"hold_of_ended_call"}),
    ("a balance was raised", "UPDATE wallets SET balance_picousd = balance_picousd + 1", {"wallet_unlike_transfers"}),
    ("a wallet was lost", "DELETE FROM wallets", {"account_without_wallet"}),
    ("a balance fell below zero", BELOW_ZERO, {"wallet_negative", "wallet_unlike_transfers"}),
    ("held money was forgotten", "UPDATE wallets SET held_picousd = 0", {"held_unlike_holds"}),
]  # fmt: skip


def tamper(store: Store, tampering: str) -> None:
    """Change what is stored past every guard."""
    store.drop_triggers()
    with store.tampering() as conn:
        conn.exec_driver_sql("DROP INDEX IF EXISTS uq_transfers_agent_debit")
        if tampering == BELOW_ZERO:
            if store.database.is_sqlite:
                conn.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            else:
                conn.exec_driver_sql(
                    "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_balance, DROP CONSTRAINT ck_wallets_held"
                )
        conn.execute(text(tampering))


@pytest.mark.parametrize(("story", "tampering", "broken"), VIOLATIONS, ids=[story for story, _, _ in VIOLATIONS])
def test_each_violation_is_counted_under_its_law(store: Store, story: str, tampering: str, broken: set[str]) -> None:
    run(healthy(store))
    tamper(store, tampering)
    report = _report(store)
    assert set(report.broken) == broken, story
    assert report.total == len(broken)
    assert _report(store, since_us=ENDED_US).broken == report.broken, "a window sees the same in it"


def test_every_law_has_a_violation_that_shows_it() -> None:
    shown = {law for _, _, laws in VIOLATIONS for law in laws}
    assert shown == {field.name for field in fields(LawReport)}


def test_a_window_leaves_out_calls_before_it(store: Store) -> None:
    run(healthy(store))
    tamper(store, f"DELETE FROM attempts WHERE inference_id = '{ENDED}'")
    assert set(_report(store, since_us=ENDED_US).broken) == {"attempts_unlike_outcome"}
    assert _report(store, since_us=LATER_US).broken == {}


def test_an_account_is_held_to_what_it_had_before_the_window(store: Store) -> None:
    """The balance before the window is taken from the last transfer before it, and no earlier one is asked."""
    run(healthy(store))
    since_us = SystemClock().now_us() + 1_000_000
    tamper(store, _GRANT.format(agent=ALICE, after=0))
    assert set(_report(store, since_us=since_us).broken) == {"wallet_unlike_transfers"}
    with store.tampering() as conn:
        conn.exec_driver_sql("UPDATE wallets SET balance_picousd = balance_picousd + 1")
    assert _report(store, since_us=since_us).broken == {}
    with store.tampering() as conn:
        conn.exec_driver_sql("UPDATE transfers SET balance_after_picousd = 7 WHERE id < '0fff'")
    assert _report(store, since_us=since_us).broken == {}, "a crossing at the edge is no violation: the sum decides"


_GRANT = (
    "INSERT INTO transfers (id, agent_id, debit_account, credit_account, amount_picousd, kind, balance_after_picousd,"
    " created_us) VALUES ('ffff', '{agent}', 'house:grants', 'agent:{agent}', 1, 'grant', {after}, 1)"
)
