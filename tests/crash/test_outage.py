"""The database goes away while calls run: callers have their answers, nobody new is let in, all of it is in the books.

``CRASH_OUTAGES`` in the environment asks for more rounds.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ainfera_gateway.storage.engine import Database, migrate
from tests.crash.report import note
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.postgres import Postgres, running_postgres
from tests.simulator.process import Simulator

OUTAGES = int(os.environ.get("CRASH_OUTAGES", "5"))
CALLERS = 16
CHAT = "/v1/chat/completions"


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of this test's own, because it is stopped."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def gateway(simulator: Simulator, server: Postgres, tmp_path: Path) -> Iterator[GatewayProcess]:
    url = server.url(server.create())
    migrate(Database(url))
    environment = provider_environment(simulator.base_url) | {
        "AINFERA_DATABASE_URL": url,
        "AINFERA_WORKERS": "2",
        "AINFERA_SPEND_KILLSWITCH_USD": "1000",
    }
    with GatewayProcess(tmp_path / "data", environment) as running:
        yield running


class Held:
    """``CALLERS`` calls, half of them streams, which the provider answers when it is told."""

    def __init__(self, gateway: GatewayProcess, simulator: Simulator, key: str) -> None:
        self._gateway, self._simulator, self._key = gateway, simulator, key
        self._pool = ThreadPoolExecutor(CALLERS)
        self._known = {one["attempt"] for one in simulator.live()}
        self.answers: list[Future[httpx.Response]] = [self._pool.submit(self._call, n) for n in range(CALLERS)]
        end = time.monotonic() + 60
        while len(self._attempts()) < CALLERS:
            assert time.monotonic() < end, "not every call has reached the provider"
            time.sleep(0.01)

    def _attempts(self) -> list[str]:
        return [one["attempt"] for one in self._simulator.live() if one["attempt"] not in self._known]

    def _call(self, number: int) -> httpx.Response:
        body: dict[str, Any] = {
            "model": "gpt-5-5",
            "messages": [{"role": "user", "content": f"say {number} and more [[sim:hold]]"}],
            "max_tokens": 64,
        }
        if number % 2:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {"authorization": f"Bearer {self._key}"}
        return httpx.post(self._gateway.url + CHAT, json=body, headers=headers, timeout=100)

    def release(self) -> None:
        for attempt in self._attempts():
            self._simulator.ack_to_the_end(attempt)

    def abandon(self) -> None:
        """The gateway is dead: its callers have nothing, and the provider may end its answers."""
        self.release()
        assert all(isinstance(future.exception(100), httpx.TransportError) for future in self.answers)
        self._pool.shutdown()

    def costs(self) -> dict[str, str]:
        """What each caller was told its call did cost, by inference id; every answer must be whole."""
        told: dict[str, str] = {}
        for number, future in enumerate(self.answers):
            answer = future.result(100)
            assert answer.status_code == 200, answer.text
            if number % 2:
                assert answer.text.endswith("data: [DONE]\n\n")
                usage = [line for line in answer.text.splitlines() if '"cost_usd"' in line or '"usage"' in line]
                assert usage, answer.text
            else:
                assert json.loads(answer.content)["choices"][0]["finish_reason"] == "stop"
            told[answer.headers["x-ainfera-inference-id"]] = answer.headers.get("x-ainfera-cost-usd", "")
        self._pool.shutdown()
        return told


def refusal(gateway: GatewayProcess, key: str) -> httpx.Response:
    body = {"model": "gpt-5-5", "messages": [{"role": "user", "content": "now"}], "max_tokens": 8}
    return httpx.post(gateway.url + CHAT, json=body, headers={"authorization": f"Bearer {key}"}, timeout=100)


def eventually(happens: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 100
    while not happens():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def kept(gateway: GatewayProcess) -> int:
    folder = gateway.data_dir / "spool"
    return sum(path.suffix == ".json" for path in folder.iterdir()) if folder.exists() else 0


def check(gateway: GatewayProcess, simulator: Simulator, told: dict[str, str]) -> None:
    wait_settled(gateway.database)
    eventually(lambda: kept(gateway) == 0, "a settlement is still kept")
    assert problems(gateway.database, [one.begin["attempt"] for one in simulator.seen()], may_lack=True) == []
    outcomes = dict(rows(gateway.database, "SELECT inference_id, outcome_status FROM routing_outcomes"))
    assert {outcomes.get(name) for name in told} == {"succeeded"}


@pytest.mark.timeout(3600)
def test_the_server_is_stopped_at_once_and_started_again(
    gateway: GatewayProcess, simulator: Simulator, server: Postgres
) -> None:
    key = gateway.signup("outage")["api_key"]
    told: dict[str, str] = {}
    for _ in range(OUTAGES):
        held = Held(gateway, simulator, key)
        server.stop_at_once()
        refused = refusal(gateway, key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable"), refused.text
        assert refused.headers["retry-after"]
        held.release()
        told |= held.costs()
        assert kept(gateway) > 0
        server.start()
        eventually(lambda: refusal(gateway, key).status_code == 200, "the gateway is not back")
    check(gateway, simulator, told)
    assert gateway.stop() == 0
    note("server stopped at once and started", "PostgreSQL", times=OUTAGES, calls=len(simulator.seen()))


@pytest.mark.timeout(600)
def test_the_gateway_dies_before_the_server_is_back(
    gateway: GatewayProcess, simulator: Simulator, server: Postgres
) -> None:
    key = gateway.signup("outage")["api_key"]
    held = Held(gateway, simulator, key)
    server.stop_at_once()
    held.release()
    told = held.costs()
    eventually(lambda: kept(gateway) == CALLERS, "not every settlement is kept")
    gateway.kill()
    server.start()
    gateway.start()
    check(gateway, simulator, told)
    assert gateway.stop() == 0


@pytest.mark.timeout(600)
def test_a_server_that_hangs_holds_nobody_up(gateway: GatewayProcess, simulator: Simulator, server: Postgres) -> None:
    key = gateway.signup("outage")["api_key"]
    held = Held(gateway, simulator, key)
    server.suspend()
    resumed = threading.Event()
    try:
        refused = refusal(gateway, key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable"), refused.text
        held.release()
        told = held.costs()
        assert not resumed.is_set(), "answers came while the server hung"
    finally:
        server.resume()
        resumed.set()
    eventually(lambda: refusal(gateway, key).status_code == 200, "the gateway is not back")
    check(gateway, simulator, told)
    assert gateway.stop() == 0
