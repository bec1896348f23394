"""A fault at every step of the way, for every kind of call: nothing is lost, nothing is doubled.

Which of the many combinations run is chosen by ``CRASH_SEED``; ``CRASH_FAULTS`` says how many (0: all of them).
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.report import note
from tests.crash.test_kill import SEED
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator

FAULTS = int(os.environ.get("CRASH_FAULTS", "60"))
CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stream": {"stream": True},
    "fallback": {"sim": "500 times=1"},
    "tools": {"stream": True, "tools": [TOOL]},
}
COMMON = ("open.before", "open.after", "attempt.before", "attempt.after", "settle.before", "settle.after", "finish")
PLACES = {
    "plain": (*COMMON[:-1], "answer", "commit.1", "commit.2"),
    "stream": (*COMMON, "head", "write", "commit.1", "commit.2"),
    "fallback": (*COMMON[:-1], "next.before", "next.after", "answer", "commit.1", "commit.2", "commit.3"),
    "tools": (*COMMON, "head", "write"),
}
ACTIONS = ("kill", "raise", "cancel", "hang", "cut")


def combinations(engine: str) -> list[tuple[str, str, str]]:
    """Kind, place and action; a chosen share of them. Kills at commits are always there."""
    actions = ACTIONS if engine == "postgres" else ACTIONS[:-1]
    found = [(kind, place, action) for kind in KINDS for place, action in itertools.product(PLACES[kind], actions)]
    if FAULTS == 0:
        return found
    always = [one for one in found if one[0] == "plain" and one[1].startswith("commit.") and one[2] == "kill"]
    rest = [one for one in found if one not in always]
    return always + random.Random(f"{SEED}-{engine}").sample(rest, FAULTS - len(always))


class House:
    """The gateway with its places to fail at, and the provider; started again after a kill."""

    def __init__(self, folder: Path, simulator: Simulator, environment: dict[str, str]) -> None:
        self.simulator = simulator
        self.fault = folder / "fault"
        environment = (
            environment
            | provider_environment(simulator.base_url)
            | {
                "AINFERA_WORKERS": "1",
                "AINFERA_SPEND_KILLSWITCH_USD": "1000",
            }
        )
        self.gateway = GatewayProcess(folder / "data", environment, faults=self.fault).start()
        self.key = self.gateway.signup("faults")["api_key"]
        self.answered: list[str] = []

    def call(self, kind: str, number: int) -> None:
        body = dict(KINDS[kind])
        sim = body.pop("sim", "")
        body |= {"model": "gpt-5-5", "max_tokens": 64}
        body["messages"] = [{"role": "user", "content": f"case {number} [[sim:{sim}]]"}]
        headers = {"authorization": f"Bearer {self.key}"}
        try:
            answer = httpx.post(self.gateway.url + CHAT, json=body, headers=headers, timeout=60)
        except httpx.TransportError:
            return
        whole = not body.get("stream") or answer.text.endswith("data: [DONE]\n\n")
        if answer.status_code == 200 and whole and '"error"' not in answer.text:
            self.answered.append(answer.headers["x-ainfera-inference-id"])


@pytest.fixture
def house(tmp_path: Path, engine_environment: dict[str, str]) -> Iterator[House]:
    with Simulator(tmp_path) as simulator:
        made = House(tmp_path, simulator, engine_environment)
        try:
            yield made
        finally:
            made.gateway.kill()


@pytest.mark.timeout(3600)
def test_a_fault_at_every_step(house: House, engine_environment: dict[str, str]) -> None:
    engine = "postgres" if engine_environment else "sqlite"
    missed = []
    chosen = combinations(engine)
    for number, (kind, place, action) in enumerate(chosen):
        house.simulator.clear_script()
        house.fault.write_text(f"{place} {action}")
        house.call(kind, number)
        if house.fault.exists():
            missed.append((kind, place, action))
            house.fault.unlink()
        if action == "kill":
            house.gateway.kill()
            house.gateway.start()
    assert missed == [], "the fault was never met"
    assert house.simulator.wait_idle()
    wait_settled(house.gateway.database)
    attempts = [one.begin["attempt"] for one in house.simulator.seen()]
    assert problems(house.gateway.database, attempts, may_lack=True) == []
    outcomes = dict(rows(house.gateway.database, "SELECT inference_id, outcome_status FROM routing_outcomes"))
    assert {outcomes.get(name) for name in house.answered} == {"succeeded"}, "an answer that was given is kept"
    house.call("plain", -1)
    assert house.answered[-1] not in outcomes, "the gateway serves on"
    engine = {"postgres": "PostgreSQL", "sqlite": "SQLite"}[engine]
    note("fault at a step of the way (kill, raise, cancel, hang, cut)", engine, times=len(chosen), calls=len(attempts))
