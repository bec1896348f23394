"""The kill switch by spend, on two workers under load: how far past its threshold the spend goes, and that it stops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.crash.report import note
from tests.evidence import problems, rows, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator

ROUNDS = int(os.environ.get("CRASH_OVERSHOOTS", "1"))
CALLERS = 32
CHAT = "/v1/chat/completions"
THRESHOLD_PICOUSD = 10**11


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as running:
        yield running


async def spend_until_stopped(url: str, key: str) -> int:
    """Each caller calls until it is refused; the calls that were answered."""
    answered = 0
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=0)  # each call may meet either worker
    async with httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=100, limits=limits
    ) as client:

        async def caller() -> None:
            nonlocal answered
            while True:
                body = {"model": "gpt-5-5", "max_tokens": 200}
                body["messages"] = [{"role": "user", "content": "spend [[sim:big=200]]"}]
                answer = await client.post(CHAT, json=body)
                if answer.status_code != 200:
                    assert answer.json()["error"]["code"] == "cost_killswitch_engaged", answer.text
                    return
                answered += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return answered


@pytest.mark.timeout(3600)
def test_spend_stops_soon_after_the_threshold(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> None:
    worst = 0
    for number in range(ROUNDS):
        environment = further_environment() | provider_environment(simulator.base_url)
        environment["AINFERA_SPEND_KILLSWITCH_USD"] = "0.1"
        if "AINFERA_DATABASE_URL" in environment:
            environment["AINFERA_WORKERS"] = "2"
        begun = len(simulator.seen())
        with GatewayProcess(tmp_path / f"data-{number}", environment) as gateway:
            answered = asyncio.run(spend_until_stopped(gateway.url, gateway.signup("spender")["api_key"]))
            wait_settled(gateway.database)
            seen = [one.begin["attempt"] for one in simulator.seen()[begun:]]
            assert problems(gateway.database, seen) == []
            assert len(seen) == answered, "what was refused never left"
            ((spent,),) = rows(gateway.database, "SELECT SUM(amount_picousd) FROM transfers WHERE kind = 'debit'")
            assert gateway.stop() == 0
        assert spent >= THRESHOLD_PICOUSD, "nobody is stopped before"
        worst = max(worst, int(spent) - THRESHOLD_PICOUSD)
    engine = "PostgreSQL" if "AINFERA_DATABASE_URL" in environment else "SQLite"
    cents = worst / 10**10
    note("kill switch by spend, 32 callers", engine, times=ROUNDS, more=f"at most {cents:.2f} cents past 10 cents")
