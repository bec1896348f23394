"""Many callers at once: a wallet, a cap and an idempotency key are exact, however many ask in the same moment."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.evidence import problems, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import Books, cost_of, estimated_input, eventually, usd
from tests.integration.calls import Caller
from tests.simulator.process import Simulator

CHAT = "/v1/chat/completions"
MODEL = "gpt-5-5"
CALLS = 200
PAID_FOR = 10
OUTPUT_TOKENS = 1000


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    simulator.clear_script()  # another engine may have counted there already
    environment = engine_environment | provider_environment(simulator.base_url) | {"AINFERA_SIGNUP_GRANT_USD": "0"}
    with GatewayProcess(tmp_path_factory.mktemp("concurrency"), environment) as running:
        begun = len(simulator.seen())
        yield running
        wait_settled(running.database)
        assert simulator.wait_idle()
        assert problems(running.database, [one.begin["attempt"] for one in simulator.seen()[begun:]]) == []


@pytest.fixture
def owner(gateway: GatewayProcess, new_agent: Callable[..., dict[str, Any]]) -> Caller:
    """The first agent of a new tenant, whose wallet is empty."""
    return Caller(gateway, new_agent())


def body_of(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": OUTPUT_TOKENS, **more}


def hold_of(body: dict[str, Any]) -> int:
    """Pico-USD that the documented rule sets aside for this call."""
    return cost_of(MODEL, estimated_input(encoded(body["messages"]), len(body["messages"])), body["max_tokens"])


def encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


async def at_once(
    url: str,
    key: str,
    bodies: list[dict[str, Any]],
    *,
    meanwhile: Callable[[int], None] = lambda _done: None,
    **headers: str,
) -> list[httpx.Response]:
    """All calls in one moment, each on a connection of its own.

    ``meanwhile`` is called again and again, with the number of calls that are answered, until all are.
    """
    limits = httpx.Limits(max_connections=len(bodies))
    head = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    async with httpx.AsyncClient(base_url=url, timeout=100, limits=limits, headers=head) as client:
        calls = [asyncio.ensure_future(client.post(CHAT, content=encoded(body))) for body in bodies]
        while not all(call.done() for call in calls):
            await asyncio.to_thread(meanwhile, sum(call.done() for call in calls))
            await asyncio.wait(calls, timeout=0.02)
        return [call.result() for call in calls]


def held_until(
    simulator: Simulator, refused: int, condition: Callable[[], bool] = lambda: True
) -> Callable[[int], None]:
    """Lets the provider answer what it holds once so many calls were refused, and ``condition`` was true then."""

    def meanwhile(done: int) -> None:
        if done >= refused and condition():
            for live in simulator.live():
                simulator.ack(live["attempt"])

    return meanwhile


@contextmanager
def watched(books: Books, agent_id: str) -> Iterator[list[tuple[int, int, int]]]:
    """(holds, held, balance) of the agent, read again and again while the block runs, all in one snapshot each."""
    seen: list[tuple[int, int, int]] = []
    stopped = threading.Event()
    sql = (
        "SELECT (SELECT COUNT(*) FROM holds h WHERE h.agent_id = w.agent_id) AS n, held_picousd, balance_picousd"
        " FROM wallets w WHERE agent_id = ?"
    )

    def watch() -> None:
        while not stopped.is_set():
            (row,) = books.rows(sql, agent_id)
            seen.append((row["n"], row["held_picousd"], row["balance_picousd"]))
            stopped.wait(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stopped.set()
        thread.join()


def codes(responses: list[httpx.Response]) -> Counter[tuple[int, str]]:
    found: Counter[tuple[int, str]] = Counter()
    for response in responses:
        found[response.status_code, "" if response.status_code == 200 else response.json()["error"]["code"]] += 1
    return found


def test_a_wallet_that_pays_for_ten_admits_ten_of_two_hundred(
    gateway: GatewayProcess, simulator: Simulator, owner: Caller
) -> None:
    body = body_of("go [[sim:hold]]")
    hold = hold_of(body)
    agent = owner.with_balance(usd(PAID_FOR * hold + hold - 1))
    before = simulator.count()
    with watched(agent.books, agent.agent_id) as seen:
        let_go = held_until(simulator, CALLS - PAID_FOR, lambda: PAID_FOR in {count for count, _, _ in seen})
        responses = asyncio.run(at_once(gateway.url, agent.key, [body] * CALLS, meanwhile=let_go))
    assert codes(responses) == {(200, ""): PAID_FOR, (402, "wallet_insufficient"): CALLS - PAID_FOR}
    assert simulator.count() - before == PAID_FOR, "only what was admitted left"
    assert max(count for count, _, _ in seen) == PAID_FOR
    assert all(0 <= held <= balance for _, held, balance in seen)
    assert {held for count, held, _ in seen if count == PAID_FOR} == {PAID_FOR * hold}
    assert all(response.headers["x-should-retry"] == "false" for response in responses if response.status_code == 402)
    assert agent.books.wallet(agent.agent_id)["held_picousd"] == 0


def test_one_picousd_less_admits_one_less(gateway: GatewayProcess, simulator: Simulator, owner: Caller) -> None:
    body = body_of("go [[sim:hold]]")
    agent = owner.with_balance(usd(PAID_FOR * hold_of(body) - 1))
    let_go = held_until(simulator, 40 - PAID_FOR + 1)
    responses = asyncio.run(at_once(gateway.url, agent.key, [body] * 40, meanwhile=let_go))
    assert codes(responses)[200, ""] == PAID_FOR - 1


def test_a_wallet_is_emptied_to_the_last_call_and_never_below(gateway: GatewayProcess, owner: Caller) -> None:
    body = body_of("go [[sim:big=1000]]")
    agent = owner.with_balance(usd(PAID_FOR * hold_of(body)))
    with watched(agent.books, agent.agent_id) as seen:
        for _ in range(4):
            responses = asyncio.run(at_once(gateway.url, agent.key, [body] * 30))
            assert set(codes(responses)) <= {(200, ""), (402, "wallet_insufficient")}
    assert codes(responses) == {(402, "wallet_insufficient"): 30}
    assert min(balance for _, _, balance in seen) >= 0
    assert 0 <= agent.balance < hold_of(body)


@pytest.mark.parametrize(
    ("cap", "reason"),
    [("daily_cap_usd", "daily_cap_exceeded"), ("monthly_cap_usd", "monthly_cap_exceeded")],
)
def test_a_cap_is_exact_under_concurrency(
    cap: str, reason: str, gateway: GatewayProcess, simulator: Simulator, owner: Caller
) -> None:
    body = body_of("go [[sim:hold]]")
    hold = hold_of(body)
    agent = owner.with_balance("20")
    owner_of_it = Caller(gateway, {"agent_id": agent.agent_id, "tenant_id": owner.tenant_id, "api_key": owner.key})
    owner_of_it.set_policy(**{cap: usd(PAID_FOR * hold)})
    before = simulator.count()
    with watched(agent.books, agent.agent_id) as seen:
        let_go = held_until(simulator, 100 - PAID_FOR, lambda: PAID_FOR in {count for count, _, _ in seen})
        responses = asyncio.run(at_once(gateway.url, agent.key, [body] * 100, meanwhile=let_go))
    assert codes(responses) == {(200, ""): PAID_FOR, (403, "spend_policy_exceeded"): 100 - PAID_FOR}
    refused = next(response for response in responses if response.status_code == 403)
    assert reason in refused.text
    assert simulator.count() - before == PAID_FOR
    assert max(held for _, held, _ in seen) == PAID_FOR * hold


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_one_idempotency_key_used_fifty_times_at_once_is_one_call(
    stream: bool, gateway: GatewayProcess, simulator: Simulator, owner: Caller
) -> None:
    agent = owner.with_balance("5")
    body = body_of("once [[sim:slow=300]]", stream=stream)
    before = simulator.count()
    responses = asyncio.run(at_once(gateway.url, agent.key, [body] * 50, **{"idempotency-key": "the one"}))
    found = codes(responses)
    assert set(found) <= {(200, ""), (409, "idempotency_in_flight")}
    assert found[200, ""] >= 1
    assert simulator.count() - before == 1
    (outcome,) = agent.books.outcomes(agent.agent_id)
    assert outcome["outcome_status"] == "succeeded"
    assert len([r for r in agent.books.transfers(outcome["inference_id"]) if r["kind"] == "debit"]) == 1
    assert agent.balance == 5 * 10**12 - outcome["cost_picousd"]
    again = asyncio.run(at_once(gateway.url, agent.key, [body] * 50, **{"idempotency-key": "the one"}))
    assert codes(again) == {(200, ""): 50}
    first = next(response for response in responses if response.status_code == 200)
    assert {response.content for response in again} == {first.content}
    assert {response.headers["x-ainfera-inference-id"] for response in again} == {outcome["inference_id"]}
    assert simulator.count() - before == 1
    assert agent.balance == 5 * 10**12 - outcome["cost_picousd"]


def test_an_agent_that_is_suspended_while_it_calls_finishes_what_was_admitted_and_nothing_more(
    gateway: GatewayProcess, simulator: Simulator, owner: Caller
) -> None:
    agent = owner.with_balance("5")
    before = simulator.count()

    async def scenario() -> tuple[list[httpx.Response], list[httpx.Response]]:
        running = asyncio.create_task(at_once(gateway.url, agent.key, [body_of("go [[sim:hold]]")] * 5))
        await asyncio.to_thread(eventually, lambda: simulator.count() == before + 5)
        head = {"authorization": f"Bearer {owner.key}"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=head, timeout=60) as client:
            assert (await client.post(f"/v1/agents/{agent.agent_id}/suspend")).status_code == 200
        late = await at_once(gateway.url, agent.key, [body_of("late")] * 20)
        for live in await asyncio.to_thread(simulator.live):
            await asyncio.to_thread(simulator.ack, live["attempt"])
        return await running, late

    admitted, late = asyncio.run(scenario())
    assert codes(admitted) == {(200, ""): 5}
    assert codes(late) == {(409, "agent_not_active"): 20}
    assert simulator.count() - before == 5
