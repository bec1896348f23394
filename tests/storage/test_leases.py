"""Who may settle another process's open calls: nobody while it lives, anybody once its lease has run out."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ainfera_gateway.audit.keys import KeyFileError, load_or_create_keys
from ainfera_gateway.clock import SystemClock, utc_day
from ainfera_gateway.control.claim_keys import claim_keys
from ainfera_gateway.control.killswitch import ChangeKillSwitch
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.leases import LEASE_S, ReleaseLease, RenewLease, living
from ainfera_gateway.inference.neighbours import Neighbours
from ainfera_gateway.inference.recover import Recovery
from ainfera_gateway.ledger.laws import check
from ainfera_gateway.storage.house_state import read_house_state
from ainfera_gateway.storage.owner_file import OwnerFile
from bench.calls import OpenAgent, ending, facts, opening
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS

ALICE = AGENTS[0]
HOLD_PICOUSD = 8_000_000_000
COST_PICOUSD = 4_000_000_000
DIES_HOLDING = (
    "import os, sys, pathlib; from ainfera_gateway.storage.owner_file import OwnerFile;"
    "OwnerFile(pathlib.Path(sys.argv[1]), 'third').hold(); os.kill(os.getpid(), 9)"
)
only_postgres = pytest.mark.parametrize("engine_name", ["postgres"], indirect=True)


def outcomes(store: Store) -> list[Any]:
    return [row[0] for row in store.rows("SELECT outcome_status FROM routing_outcomes")]


def age_leases(store: Store, seconds: float) -> None:
    with store.tampering() as conn:
        conn.execute(text("UPDATE worker_leases SET seen_us = seen_us - :us"), {"us": int(seconds * 1_000_000)})


@only_postgres
def test_a_living_process_keeps_its_calls_and_a_dead_one_does_not(store: Store) -> None:
    t1 = replace(opening(facts(ALICE)), owner="theirs")

    async def scenario() -> None:
        async with store.recorder() as recorder:
            await recorder.submit(OpenAgent(ALICE, 10 * HOLD_PICOUSD))
            await recorder.submit(RenewLease("theirs"))
            await recorder.submit(t1)
            recovery = Recovery(recorder, store.reader(), owner="ours", live=set())
            assert await recovery.run_once() == 0
            # Together more than a lease, and what is left of one outlasts whatever holds this test up.
            for _ in range(3):
                age_leases(store, LEASE_S * 0.4)
                assert await recovery.run_once() == 0
                await recorder.submit(RenewLease("theirs"))
            age_leases(store, LEASE_S)
            assert living(store.reader()) == frozenset()
            assert await recovery.run_once() == 1

    run(scenario())
    assert outcomes(store) == ["indeterminate"]


@only_postgres
def test_two_who_recover_at_once_settle_each_call_once(store: Store) -> None:
    calls = [replace(opening(facts(ALICE)), owner="dead") for _ in range(40)]

    async def scenario() -> int:
        async with store.recorder() as one, store.recorder() as two:
            await one.submit(OpenAgent(ALICE, 100 * HOLD_PICOUSD))
            await asyncio.gather(*(one.submit(call) for call in calls))
            both = [Recovery(recorder, store.reader(), owner="ours", live=set()) for recorder in (one, two)]
            return sum(await asyncio.gather(*(recovery.run_once() for recovery in both)))

    assert run(scenario()) == 40
    assert outcomes(store) == ["indeterminate"] * 40
    with store.reader().connect() as conn:
        assert check(conn).broken == {}


@only_postgres
def test_a_lease_that_is_given_back_or_old_is_gone(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            for owner in ("one", "two"):
                await recorder.submit(RenewLease(owner))
            assert living(store.reader()) == {"one", "two"}
            await recorder.submit(ReleaseLease("one"))
            assert living(store.reader()) == {"two"}
            age_leases(store, 4 * 24 * 3600)
            await recorder.submit(RenewLease("three"))

    run(scenario())
    assert store.rows("SELECT owner FROM worker_leases") == [("three",)]


def test_what_every_process_spent_is_summed_by_day_exactly(store: Store) -> None:
    async def paid(recorder: Any, count: int) -> None:
        for _ in range(count):
            t1 = opening(facts(ALICE))
            await recorder.submit(t1)
            await recorder.submit(ending(t1, charged_picousd=COST_PICOUSD))

    async def scenario() -> None:
        async with store.recorder(owner="one") as recorder:
            await recorder.submit(OpenAgent(ALICE, 10 * HOLD_PICOUSD))
            await paid(recorder, 2)
        async with store.recorder(owner="two") as recorder:
            await paid(recorder, 3)

    day = utc_day(SystemClock().now_us())
    run(scenario())
    assert dict(store.rows("SELECT owner, spent_picousd FROM day_spend WHERE day = :day", day=day)) == {
        "before": 0,
        "one": 2 * COST_PICOUSD,
        "two": 3 * COST_PICOUSD,
    }
    assert read_house_state(store.reader(), day, "one").others_picousd == 3 * COST_PICOUSD
    assert read_house_state(store.reader(), day, "").others_picousd == 5 * COST_PICOUSD
    assert store.value("SELECT SUM(day_spent_picousd) FROM wallets") == 5 * COST_PICOUSD


def test_a_switch_by_hand_binds_the_next_transaction_of_every_process(store: Store, tmp_path: Path) -> None:
    clock = SystemClock()
    mine = KillSwitch(clock, threshold_picousd=10**15, enabled=True, pinned=True)
    t1 = replace(opening(facts(ALICE)), gate=lambda by_hand: mine.refusal(pinned=False, by_hand=by_hand))

    async def scenario() -> None:
        async with store.recorder() as recorder, store.recorder() as elsewhere:
            await recorder.submit(OpenAgent(ALICE, 10 * HOLD_PICOUSD))
            await elsewhere.submit(ChangeKillSwitch(engaged=True, threshold_picousd=None))
            assert not mine.engaged, "this process has not heard of it"
            with pytest.raises(GatewayError, match="kill switch"):
                await recorder.submit(t1)
            await elsewhere.submit(ChangeKillSwitch(engaged=False, threshold_picousd=7 * 10**12))
            await recorder.submit(t1)
            await Neighbours(recorder, store.reader(), mine, clock, owner="me", data_dir=tmp_path).begin()

    run(scenario())
    assert mine.figures() == (False, 0, 7 * 10**12)


def test_calls_a_minute_are_exact_whoever_admits_them(store: Store) -> None:
    """Ten a minute, asked of two processes in turn over a clock that stands still, then moves."""
    now = [SystemClock().now_us()]

    refused: list[GatewayError] = []

    async def scenario() -> list[int]:
        admitted = []
        async with store.recorder(lambda: now[0]) as one, store.recorder(lambda: now[0]) as two:
            await one.submit(OpenAgent(ALICE, 1_000 * HOLD_PICOUSD))
            for passed_s in (0, 6, 5, 1, 600):
                now[0] += passed_s * 1_000_000
                count = 0
                for turn in range(14):
                    t1 = replace(opening(facts(ALICE)), rate_limit_rpm=10)
                    try:
                        await (one, two)[turn % 2].submit(t1)
                        count += 1
                    except GatewayError as error:
                        refused.append(error)
                admitted.append(count)
        return admitted

    assert run(scenario()) == [10, 1, 0, 1, 10]
    assert {(error.status, error.code) for error in refused} == {(429, "rate_limited")}
    assert min(int(error.headers["retry-after"]) for error in refused) >= 1


def test_a_process_that_died_on_this_machine_is_known_at_once(tmp_path: Path) -> None:
    mine, other = OwnerFile(tmp_path, "mine"), OwnerFile(tmp_path, "other")
    mine.hold()
    other.hold()
    assert mine.dead() == other.dead() == []
    died = subprocess.run([sys.executable, "-c", DIES_HOLDING, str(tmp_path)], check=False, timeout=100)
    assert died.returncode == -signal.SIGKILL
    assert mine.dead() == other.dead() == ["third"]
    mine.forget("third")
    assert other.dead() == []
    other.release()
    assert mine.dead() == []
    mine.release()
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_gateway_with_other_keys_does_not_serve_the_database(store: Store, tmp_path: Path) -> None:
    first, other = (load_or_create_keys(tmp_path / name) for name in ("first", "other"))

    async def scenario() -> None:
        async with store.recorder() as recorder:
            for _ in range(2):
                await claim_keys(recorder, store.reader(), first)
            with pytest.raises(KeyFileError, match=r"chain_hmac\.key"):
                await claim_keys(recorder, store.reader(), other)
            with pytest.raises(KeyFileError, match="AINFERA_DATA_KEY"):
                await claim_keys(recorder, store.reader(), replace(first, data_key=other.data_key))
            with pytest.raises(KeyFileError, match=r"checkpoint_ed25519\.pem"):
                await claim_keys(recorder, store.reader(), replace(first, checkpoint_key=other.checkpoint_key))

    run(scenario())
    stored = str(store.rows("SELECT name, value FROM house_state"))
    assert first.data_key.hex() not in stored
