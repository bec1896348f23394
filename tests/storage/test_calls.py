"""The real T1 and T2 on both engines: money is reserved once, paid once, and the laws hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.settle import AlreadySettledError
from ainfera_gateway.ledger.laws import check
from bench.calls import OpenAgent, ending, facts, opening
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, chain, gather

ALICE, BOB = AGENTS[:2]
HOLD_PICOUSD = 8_000_000_000
COST_PICOUSD = 4_000_000_000


def wallet(store: Store, agent_id: str) -> tuple[Any, ...]:
    (row,) = store.rows(
        "SELECT balance_picousd, held_picousd, calls, day_spent_picousd FROM wallets WHERE agent_id = :a", a=agent_id
    )
    return row


def test_a_call_is_reserved_paid_and_proved(store: Store) -> None:
    call = facts(ALICE)

    async def scenario() -> Any:
        async with store.recorder() as recorder:
            await recorder.submit(OpenAgent(ALICE, 10 * HOLD_PICOUSD))
            t1 = opening(call)
            granted = await recorder.submit(t1)
            assert wallet(store, ALICE) == (10 * HOLD_PICOUSD, HOLD_PICOUSD, 0, 0)
            assert store.rows("SELECT inference_id, amount_picousd FROM holds") == [(call.inference_id, HOLD_PICOUSD)]
            return granted, await recorder.submit(ending(t1, charged_picousd=COST_PICOUSD))

    granted, settled = run(scenario())
    assert (granted.amount_picousd, granted.output_tokens) == (HOLD_PICOUSD, 1_000)
    assert (settled.paid_picousd, settled.balance_after_picousd) == (COST_PICOUSD, 10 * HOLD_PICOUSD - COST_PICOUSD)
    assert wallet(store, ALICE) == (10 * HOLD_PICOUSD - COST_PICOUSD, 0, 1, COST_PICOUSD)
    assert store.rows("SELECT id, amount_picousd FROM transfers WHERE kind = 'debit'") == [
        (settled.ledger_entry_id, COST_PICOUSD)
    ]
    assert store.value("SELECT COUNT(*) FROM holds") == 0
    assert [event["event_type"] for event in chain(store, ALICE)] == [
        "agent.registered",
        "inference.routed",
        "provider.responded",
        "receipt.created",
    ]
    with store.reader().connect() as conn:
        assert check(conn).broken == {}


def test_a_wallet_that_pays_for_exactly_k_admits_exactly_k_of_two_hundred(store: Store) -> None:
    k = 37

    async def scenario() -> list[Any]:
        async with store.recorder() as one, store.recorder() as two:
            await one.submit(OpenAgent(ALICE, k * HOLD_PICOUSD + HOLD_PICOUSD - 1))
            calls = [opening(facts(ALICE)) for _ in range(200)]
            halves = await asyncio.gather(gather(one, calls[:100]), gather(two, calls[100:]))
            return [*halves[0], *halves[1]]

    results = run(scenario())
    refused = [result for result in results if isinstance(result, Exception)]
    assert len(results) - len(refused) == k
    assert {(error.status, error.code) for error in refused} == {(402, "wallet_insufficient")}
    assert all(isinstance(error, GatewayError) for error in refused)
    assert wallet(store, ALICE)[:2] == (k * HOLD_PICOUSD + HOLD_PICOUSD - 1, k * HOLD_PICOUSD)
    assert store.value("SELECT COUNT(*) FROM holds") == k == store.value("SELECT COUNT(*) FROM inferences")
    assert len(chain(store, ALICE)) == k + 1
    with store.reader().connect() as conn:
        assert check(conn).broken == {}


def test_a_call_that_two_settle_at_once_is_settled_once(store: Store) -> None:
    async def scenario() -> list[Any]:
        async with store.recorder() as one, store.recorder() as two:
            await one.submit(OpenAgent(ALICE, HOLD_PICOUSD))
            t1 = opening(facts(ALICE))
            await one.submit(t1)
            t2 = ending(t1, charged_picousd=COST_PICOUSD)
            return [*await asyncio.gather(gather(one, [t2, t2]), gather(two, [t2, t2]))]

    results = [result for half in run(scenario()) for result in half]
    assert sum(isinstance(result, AlreadySettledError) for result in results) == 3
    assert wallet(store, ALICE) == (HOLD_PICOUSD - COST_PICOUSD, 0, 1, COST_PICOUSD)
    with store.reader().connect() as conn:
        assert check(conn).broken == {}


def test_a_provider_that_bills_above_the_hold_is_paid_the_hold(store: Store) -> None:
    async def scenario() -> Any:
        async with store.recorder() as recorder:
            await recorder.submit(OpenAgent(ALICE, HOLD_PICOUSD))
            t1 = opening(facts(ALICE))
            await recorder.submit(t1)
            return await recorder.submit(ending(t1, charged_picousd=HOLD_PICOUSD + 5))

    settled = run(scenario())
    assert (settled.paid_picousd, settled.beyond_hold_picousd) == (HOLD_PICOUSD, 5)
    assert wallet(store, ALICE)[:2] == (0, 0)
    assert store.rows("SELECT debit_account, amount_picousd FROM transfers WHERE kind = 'unreconciled'") == [
        ("house:unreconciled", 5)
    ]


def test_many_calls_of_many_agents_at_once_keep_every_law(store: Store) -> None:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            for agent_id in AGENTS:
                await recorder.submit(
                    OpenAgent(agent_id, 100 * HOLD_PICOUSD, tenant_id=AGENTS[0], new_tenant=agent_id == AGENTS[0])
                )

            async def call(number: int) -> None:
                t1 = opening(replace(facts(AGENTS[number % 16]), idempotency_hash=f"key-{number}"))
                await recorder.submit(t1)
                outcome = Outcome.SUCCEEDED if number % 3 else Outcome.FAILED_PROVIDER_ERROR
                paid = COST_PICOUSD + number if number % 3 else 0
                await recorder.submit(ending(t1, outcome=outcome, charged_picousd=paid))

            await asyncio.gather(*(call(number) for number in range(300)))

    run(scenario())
    with store.reader().connect() as conn:
        assert check(conn).broken == {}
    assert store.value("SELECT COUNT(*) FROM routing_outcomes") == 300
    paid = sum(COST_PICOUSD + number for number in range(300) if number % 3)
    assert store.value("SELECT SUM(balance_picousd) FROM wallets") == 16 * 100 * HOLD_PICOUSD - paid
    for agent_id in AGENTS:
        chain(store, agent_id)
