"""A call that is cancelled, or left by its caller, at any of its await points is settled once and holds nothing."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.api.calls import CallHandler
from ainfera_gateway.api.context import RequestContext
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference import run as run_module
from ainfera_gateway.inference.plan import CallPlan
from ainfera_gateway.inference.run import CallRun
from ainfera_gateway.inference.supervisor import Supervisor
from ainfera_gateway.ledger.laws import check
from ainfera_gateway.wire.openai_chat.request import parse
from tests.unit.call_house import AGENT_ID, Answer, Provider, Rooms, Sink, plain_answer, plan, rooms, stream_answer

STEPS_MAX = 400


@dataclass(frozen=True)
class Scenario:
    name: str
    stream: bool
    answers: tuple[Answer, ...]
    failing_t2: int = 0


SCENARIOS = (
    Scenario("plain", False, (plain_answer(),)),
    Scenario("stream", True, (stream_answer(),)),
    Scenario("retry and fallback", False, (Answer(500), Answer(503), plain_answer())),
    Scenario("stream breaks off", True, (stream_answer(breaks=True),)),
    Scenario("every attempt fails", True, (Answer(500), Answer(500), Answer(500), Answer(500))),
    Scenario("settlement fails twice", False, (plain_answer(),), failing_t2=2),
)


@types.coroutine
def stepping(work: Any, at_suspension: Callable[[int], None]) -> Generator[Any, Any, Any]:
    """Run ``work``; ``at_suspension`` is told the number of each suspension before the loop sees it."""
    step, thrown = 0, None
    while True:
        try:
            waited = work.throw(thrown) if thrown is not None else work.send(None)
        except StopIteration as stop:
            return stop.value
        at_suspension(step)
        step, thrown = step + 1, None
        try:
            yield waited
        except BaseException as exc:
            thrown = exc


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_BACKOFF_S", 0.001)


@asynccontextmanager
async def bounded_rooms(directory: Path) -> AsyncIterator[Rooms]:
    async with asyncio.timeout(100), rooms(directory) as made:
        yield made


async def judged(made: Rooms, call: CallPlan, provider: Provider) -> str:
    """The one outcome of ``call``; asserts that nothing else is left of it."""
    inference_id = call.facts.inference_id
    assert made.rows("SELECT 1 FROM holds WHERE inference_id = :i", i=inference_id) == []
    assert made.rows("SELECT held_picousd FROM wallets WHERE agent_id = :a", a=AGENT_ID) == [(0,)]
    accepted = made.rows("SELECT 1 FROM inferences WHERE id = :i", i=inference_id)
    outcomes = made.rows(
        "SELECT outcome_status, attempts FROM routing_outcomes WHERE inference_id = :i", i=inference_id
    )
    assert len(outcomes) == len(accepted)
    rows = made.rows(
        "SELECT id, reason, outcome FROM attempts WHERE inference_id = :i ORDER BY ordinal", i=inference_id
    )
    left = [row[0] for row in rows if row[1] != "not_sent"]
    assert left == provider.sent, "each request that left has its row, in order, and no row tells of one that did not"
    if not outcomes:
        return "never accepted"
    assert outcomes[0][1] == len(rows)
    return str(outcomes[0][0])


async def cancelled_at(made: Rooms, scenario: Scenario, places: frozenset[int], *, leave: bool) -> tuple[str, bool]:
    """Run the scenario and cancel (or leave) it at the suspensions named; the outcome and whether it got that far."""
    provider, call = Provider(list(scenario.answers)), plan(stream=scenario.stream, key=True)
    run = CallRun(made.house(provider, failing_t2=scenario.failing_t2), call, Sink())
    reached = False

    def act(step: int) -> None:
        nonlocal reached
        if step not in places:
            return
        reached = True
        if leave:
            run.leave()
        else:
            task.cancel()

    async def work() -> None:
        await stepping(run.run().__await__(), act)

    task = asyncio.ensure_future(work())
    with suppress(GatewayError, asyncio.CancelledError):
        await task
    return await judged(made, call, provider), reached


async def at_every_point(made: Rooms, scenario: Scenario, *, leave: bool, twice: bool = False) -> list[str]:
    seen: list[str] = []
    for step in range(STEPS_MAX):
        places = frozenset({step, step + 1}) if twice else frozenset({step})
        outcome, reached = await cancelled_at(made, scenario, places, leave=leave)
        if not reached:
            assert step >= 5, "the call was stepped through"
            return seen
        seen.append(outcome)
    raise AssertionError("the call never came to its end")


def lawful(made: Rooms) -> None:
    with made.reader.connect() as connection:
        assert check(connection).broken == {}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_a_run_cancelled_at_any_await_point_settles_once(scenario: Scenario, twice: bool, tmp_path: Path) -> None:
    async def go() -> None:
        async with bounded_rooms(tmp_path) as made:
            outcomes = await at_every_point(made, scenario, leave=False, twice=twice)
            assert set(outcomes) <= {"failed_other", "succeeded", "failed_provider_error"}
            assert "failed_other" in outcomes
            lawful(made)

    asyncio.run(go())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_a_caller_who_leaves_at_any_await_point_is_settled_once(scenario: Scenario, tmp_path: Path) -> None:
    async def go() -> None:
        async with bounded_rooms(tmp_path) as made:
            outcomes = await at_every_point(made, scenario, leave=True)
            assert "client_cancelled" in outcomes
            assert set(outcomes) <= {"client_cancelled", "succeeded", "failed_provider_error"}
            lawful(made)

    asyncio.run(go())


def test_a_caller_who_left_before_anything_was_sent_pays_nothing_and_nothing_is_sent(tmp_path: Path) -> None:
    async def go() -> None:
        async with bounded_rooms(tmp_path) as made:
            provider, call = Provider([plain_answer()]), plan(stream=False)
            run = CallRun(made.house(provider), call, Sink())
            run.leave()
            await run.run()
            assert await judged(made, call, provider) == "client_cancelled"
            assert provider.sent == []
            assert made.rows("SELECT cost_picousd FROM routing_outcomes") == [(0,)]

    asyncio.run(go())


class _Planner:
    def __init__(self, call: CallPlan) -> None:
        self._call = call

    async def plan(self, _origin: object, _asked: object, _headers: dict[str, str]) -> CallPlan:
        await asyncio.sleep(0)
        return self._call


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_a_request_task_cancelled_at_any_await_point_leaves_the_run_to_settle(
    scenario: Scenario, tmp_path: Path
) -> None:
    async def once(made: Rooms, place: int) -> tuple[str, bool]:
        provider, call = Provider(list(scenario.answers)), plan(stream=scenario.stream)
        supervisor = Supervisor()
        handler = CallHandler(
            planner=_Planner(call),  # type: ignore[arg-type]
            house=made.house(provider, failing_t2=scenario.failing_t2),
            supervisor=supervisor,
            read=partial(parse, flat=False),
            flat=False,
        )
        context = RequestContext("0" * 32, "0" * 16, "", "/v1/chat/completions", "openai")
        context.caller = Caller("key", call.facts.tenant_id, AGENT_ID, "owner", "hash")
        messages = [{"type": "http.request", "body": call.parsed.body, "more_body": False}]
        never = asyncio.Event()
        reached = False

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await never.wait()
            return {"type": "http.disconnect"}

        async def send(_message: Any) -> None:
            await asyncio.sleep(0)

        def act(step: int) -> None:
            nonlocal reached
            if step == place:
                reached = True
                task.cancel()

        async def request() -> None:
            await stepping(handler({"headers": [], "ainfera": context}, receive, send).__await__(), act)

        task = asyncio.ensure_future(request())
        with suppress(GatewayError, asyncio.CancelledError):
            await task
        assert await supervisor.drain(20) == 0
        return await judged(made, call, provider), reached

    async def go() -> None:
        async with bounded_rooms(tmp_path) as made:
            seen: list[str] = []
            for place in range(STEPS_MAX):
                outcome, reached = await once(made, place)
                if not reached:
                    break
                seen.append(outcome)
            assert seen[0] == "never accepted", "cancelled while it was planned"
            assert "client_cancelled" in seen
            lawful(made)

    asyncio.run(go())
