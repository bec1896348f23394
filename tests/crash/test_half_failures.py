"""Callers who hang up and providers that fail half-way, many at once: each call is paid and recorded once.

``CRASH_SEED``, ``CRASH_LEAVES`` and ``CRASH_HALF_FAILURES`` in the environment choose others and more of them.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.report import note
from tests.crash.test_kill import SEED
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.mixed_load import Wish, make_calls
from tests.simulator.process import Simulator

LEAVES = int(os.environ.get("CRASH_LEAVES", "200"))
HALF_FAILURES = int(os.environ.get("CRASH_HALF_FAILURES", "30"))
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
DONE = len(b"data: [DONE]\n\n")
MODELS = ("ainfera-inference", "gpt-5-5", "mistral-large-3")
# What a stream and what a plain answer is told.
KINDS = (
    ("500", "500"),
    ("429 retry_after=1", "429 retry_after=1"),
    ("reset", "reset"),
    ("close", "close"),
    ("garbage=http", "garbage=http"),
    ("stall", "stall"),
    ("stall_after=3", "stall_after=40"),
    ("reset_after=2", "reset_after=40"),
    ("error_after=3", "503"),
    ("truncate=3", "truncate=10"),
    ("truncate=no_finish", "truncate"),
    ("truncate=in_json", "garbage=body"),
    ("garbage=data", "garbage=utf8"),
    ("usage=missing", "usage=negative"),
    ("truncate=3 end=chunked", "empty=body"),
)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as running:
        yield running


class House:
    """A gateway whose provider calls are counted from its start."""

    def __init__(self, gateway: GatewayProcess, simulator: Simulator, engine: str) -> None:
        self.gateway, self.simulator, self.engine = gateway, simulator, engine
        self.keys = [gateway.signup(f"half-{number}")["api_key"] for number in range(4)]
        self._begun = len(simulator.seen())

    def check(self) -> tuple[int, Counter[str]]:
        """How many calls the provider saw, and the outcomes."""
        assert self.simulator.wait_idle(60)
        wait_settled(self.gateway.database)
        attempts = [one.begin["attempt"] for one in self.simulator.seen()[self._begun :]]
        assert problems(self.gateway.database, attempts) == []
        outcomes = rows(self.gateway.database, "SELECT outcome_status FROM routing_outcomes")
        return len(attempts), Counter(row[0] for row in outcomes)


@pytest.fixture
def house(
    simulator: Simulator,
    tmp_path: Path,
    engine_environment: dict[str, str],
    further_environment: Callable[[], dict[str, str]],
) -> Iterator[House]:
    environment = further_environment() | provider_environment(simulator.base_url)
    environment |= {"AINFERA_SPEND_KILLSWITCH_USD": "1000", "AINFERA_DISCONNECT_DRAIN_S": "0.1"}
    if engine_environment:
        environment["AINFERA_WORKERS"] = "2"
    with GatewayProcess(tmp_path / "data", environment | {"AINFERA_ATTEMPT_TIMEOUT_S": "0.7"}) as gateway:
        yield House(gateway, simulator, "PostgreSQL" if engine_environment else "SQLite")


def body_of(number: int, model: str, directive: str, *, stream: bool) -> dict[str, Any]:
    text = f"call {number:06d} says one two three [[sim:{directive}]]"
    body: dict[str, Any] = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    return body | ({"stream": True} if stream else {})


def leaving(dice: random.Random, number: int, whole: int) -> Wish:
    """A caller who hangs up before the first byte, somewhere in the stream, in its last event, or after its end."""
    agent, kind = number % 4, number // 4 % 4
    if kind == 0:
        body = body_of(number, "gpt-5-5", dice.choice(("slow=60000", "stall")), stream=number % 3 != 0)
        return Wish(number, agent, CHAT, body, "before", leave_within_s=dice.uniform(0.01, 0.3))
    body = body_of(number, "gpt-5-5", f"pace={dice.choice((1, 5, 20))}", stream=True)
    after = {1: dice.randint(1, whole - DONE), 2: whole - dice.randint(1, DONE), 3: None}[kind]
    return Wish(number, agent, CHAT, body, ("", "within", "last", "after")[kind], leave_after=after)


@pytest.mark.timeout(3600)
def test_callers_hang_up(house: House) -> None:
    dice = random.Random(SEED)
    body = body_of(0, "gpt-5-5", "pace=1", stream=True)
    headers = {"authorization": f"Bearer {house.keys[0]}"}
    whole = len(httpx.post(house.gateway.url + CHAT, json=body, headers=headers, timeout=60).content)
    tally = asyncio.run(make_calls(house.gateway.url, house.keys, [leaving(dice, n, whole) for n in range(LEAVES)]))
    calls, outcomes = house.check()
    assert sum(tally.kinds.values()) == LEAVES
    assert set(outcomes) <= {"succeeded", "client_cancelled"}, "no provider failed"
    assert outcomes["client_cancelled"] >= LEAVES // 4, "callers were missed while the provider worked"
    assert outcomes["succeeded"] >= LEAVES // 4, "those who left after the end, at least"
    note("caller hangs up", house.engine, times=LEAVES, calls=calls)


@pytest.mark.timeout(3600)
def test_providers_fail_half_way(house: House) -> None:
    dice = random.Random(SEED)
    load = []
    for number in range(HALF_FAILURES):
        kind, stream = KINDS[number // 2 % len(KINDS)], number % 2 == 0
        body = body_of(number, dice.choice(MODELS), kind[0] if stream else kind[1], stream=stream)
        path = dice.choice((CHAT, MESSAGES))
        load.append(Wish(number, number % 4, path, body, "fault"))
    tally = asyncio.run(make_calls(house.gateway.url, house.keys, load))
    calls, outcomes = house.check()
    assert tally.answers == HALF_FAILURES, "each caller was told how it ended"
    assert sum(outcomes.values()) == HALF_FAILURES
    assert set(outcomes) <= {"succeeded", "failed_provider_error"}
    note("provider fails half-way, 15 kinds, plain and streamed", house.engine, times=HALF_FAILURES, calls=calls)
