"""kill -9 in the middle of many calls, again and again on the same data: nothing is lost, nothing is doubled.

``CRASH_SEED`` and ``CRASH_ROUNDS`` in the environment choose other moments and more of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.report import note
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator
from tests.stored import Stored

SEED = int(os.environ.get("CRASH_SEED", "20261123"))
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "13"))
CALLERS = 24
IN_FLIGHT_AT_LEAST = 16
# How many answers are waited for, at least and at most, before the gateway is killed.
ANSWERED = (5, 30)
CHAT = "/v1/chat/completions"
DIRECTIVES = (
    "pace=15",
    "slow=60",
    "slow=250",
    "pace=5",
    "500 times=1",
    "500 on=mistral-*",
    "reset on=mistral-*",
    "stall",
    "",
)


@dataclass
class Round:
    """What the callers of one life of the gateway know when it is killed."""

    answered: dict[str, str] = field(default_factory=dict)
    """Inference id by idempotency key of calls whose whole answer arrived."""
    cut: set[str] = field(default_factory=set)
    """Keys of calls that were open when the gateway died."""
    keys: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0


def body_of(dice: random.Random, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": dice.choice(("ainfera-inference", "gpt-5-5", "mistral-large-3")),
        "messages": [{"role": "user", "content": f"{name} says one two three [[sim:{dice.choice(DIRECTIVES)}]]"}],
        "max_tokens": 64,
    }
    return body | ({"stream": True} if dice.random() < 0.5 else {})


async def call(client: httpx.AsyncClient, key: str, name: str, body: dict[str, Any], seen: Round) -> None:
    """One call to its end, or to the end of the gateway."""
    seen.in_flight += 1
    seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
    seen.cut.add(name)
    seen.bodies[name], seen.keys[name] = body, key
    headers = {"authorization": f"Bearer {key}", "idempotency-key": name}
    response = await client.post(CHAT, json=body, headers=headers)
    whole = not body.get("stream") or response.content.endswith(b"data: [DONE]\n\n")
    if response.status_code == 200 and whole:
        seen.answered[name] = response.headers["x-ainfera-inference-id"]
    seen.cut.discard(name)
    seen.in_flight -= 1


async def load_until_killed(gateway: GatewayProcess, keys: list[str], dice: random.Random, number: int) -> Round:
    """Keep ``CALLERS`` calls open, then kill the gateway at a moment of the seed's choice."""
    seen = Round()
    names = iter(range(1_000_000))
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:

        async def caller() -> None:
            while True:
                name = f"round-{number}-{next(names)}"
                await call(client, dice.choice(keys), name, body_of(dice, name), seen)

        tasks = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        wanted = dice.randint(*ANSWERED)
        while len(seen.answered) < wanted and not any(task.done() for task in tasks):
            await asyncio.sleep(0.001)
        assert seen.in_flight >= IN_FLIGHT_AT_LEAST
        await asyncio.to_thread(gateway.kill)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, httpx.TransportError) for end in ends), ends
    return seen


@dataclass(frozen=True)
class House:
    """The parts that outlive the gateway."""

    simulator: Simulator
    data_dir: Path
    environment: dict[str, str]

    @property
    def engine(self) -> str:
        return "PostgreSQL" if "AINFERA_DATABASE_URL" in self.environment else "SQLite"

    def gateway(self) -> GatewayProcess:
        environment = (
            self.environment | provider_environment(self.simulator.base_url) | {"AINFERA_SPEND_KILLSWITCH_USD": "1000"}
        )
        return GatewayProcess(self.data_dir, environment | {"AINFERA_ATTEMPT_TIMEOUT_S": "15"})


@pytest.fixture
def house(tmp_path: Path, engine_environment: dict[str, str]) -> Iterator[House]:
    with Simulator(tmp_path) as simulator:
        yield House(simulator, tmp_path / "data", engine_environment | {"AINFERA_WORKERS": "1"})


def ready_again(house: House) -> GatewayProcess:
    """The gateway started anew on what the last one left."""
    gateway = house.gateway().start()
    assert httpx.get(f"{gateway.url}/readyz", timeout=60).status_code == 200
    return gateway


def check(house: House, database: Stored, seen: Round, *also: str) -> None:
    """After the restart, which settles what was left open. ``also`` are further outcomes."""
    wait_settled(database)
    assert house.simulator.wait_idle()
    attempts = [one.begin["attempt"] for one in house.simulator.seen()]
    assert problems(database, attempts, may_lack=True) == []
    outcomes = dict(rows(database, "SELECT inference_id, outcome_status FROM routing_outcomes"))
    assert {outcomes.get(name) for name in seen.answered.values()} <= {"succeeded"}, "an answer that was given is kept"
    assert set(outcomes.values()) <= {"succeeded", "indeterminate", "failed_provider_error", *also}


def check_keys(gateway: GatewayProcess, house: House, seen: Round, dice: random.Random) -> None:
    """A call that was answered is answered the same; one that died with the gateway may be made again."""
    with httpx.Client(base_url=gateway.url, timeout=60) as client:

        def again(name: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {seen.keys[name]}", "idempotency-key": name}
            return client.post(CHAT, json=seen.bodies[name], headers=headers)

        before = house.simulator.count()
        for name in dice.sample(sorted(seen.answered), min(3, len(seen.answered))):
            repeated = again(name)
            assert repeated.status_code == 200
            assert repeated.headers["idempotent-replayed"] == "true"
            assert repeated.headers["x-ainfera-inference-id"] == seen.answered[name]
        assert house.simulator.count() == before
        for name in [name for name in seen.cut if "[[sim:slow=60]]" in json.dumps(seen.bodies[name])][:2]:
            assert again(name).status_code == 200


@pytest.mark.timeout(7200)
def test_calls_survive_the_death_of_the_gateway(house: House) -> None:
    dice = random.Random(SEED)
    gateway = house.gateway().start()
    keys = [gateway.signup(f"crash-{number}")["api_key"] for number in range(4)]
    for number in range(ROUNDS):
        seen = asyncio.run(load_until_killed(gateway, keys, dice, number))
        assert seen.most_in_flight >= IN_FLIGHT_AT_LEAST
        gateway = ready_again(house)
        try:
            check(house, gateway.database, seen)
            check_keys(gateway, house, seen, dice)
        except BaseException:
            gateway.kill()
            raise
    assert gateway.stop() == 0
    died = Counter(row[0] for row in rows(gateway.database, "SELECT outcome_status FROM routing_outcomes"))
    assert died["indeterminate"] >= ROUNDS * 5, "calls were open each time"
    assert died["succeeded"] >= ROUNDS * 5, "and others had ended"
    note("kill -9 with 16 or more calls open", house.engine, times=ROUNDS, calls=house.simulator.count())
