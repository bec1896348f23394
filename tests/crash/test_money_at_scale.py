"""Money, many times over: wallets that pay for exactly k, usages against an oracle, keys that are used again.

``CRASH_WALLETS``, ``CRASH_USAGES`` and ``CRASH_KEYS`` in the environment ask for more of each.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import httpx
import pytest

from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.catalog.price import Prices, per_million
from ainfera_gateway.catalog.price import cost_picousd as billed
from tests.crash.report import note
from tests.crash.test_kill import SEED
from tests.evidence import problems, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import usd
from tests.integration.calls import Caller
from tests.integration.test_concurrency import at_once, body_of, codes, held_until, hold_of
from tests.simulator.process import Simulator

WALLETS = int(os.environ.get("CRASH_WALLETS", "8"))
USAGES = int(os.environ.get("CRASH_USAGES", "10000"))
KEYS = int(os.environ.get("CRASH_KEYS", "50"))
CALLERS = 64
REPEATS = 10


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as running:
        yield running


@pytest.fixture
def gateway(
    simulator: Simulator, tmp_path: Path, further_environment: Callable[[], dict[str, str]]
) -> Iterator[GatewayProcess]:
    environment = further_environment()
    if environment:
        environment["AINFERA_WORKERS"] = "2"
    environment |= provider_environment(simulator.base_url)
    environment |= {"AINFERA_SIGNUP_GRANT_USD": "0", "AINFERA_SPEND_KILLSWITCH_USD": "1000"}
    with GatewayProcess(tmp_path / "data", environment) as running:
        begun = len(simulator.seen())
        yield running
        wait_settled(running.database)
        assert simulator.wait_idle()
        assert problems(running.database, [one.begin["attempt"] for one in simulator.seen()[begun:]]) == []


def engine_of(gateway: GatewayProcess) -> str:
    return "PostgreSQL" if isinstance(gateway.database, str) else "SQLite"


@pytest.mark.timeout(3600)
def test_a_wallet_that_pays_for_k_admits_k(gateway: GatewayProcess, simulator: Simulator) -> None:
    dice = random.Random(SEED)
    owner = Caller(gateway, gateway.signup("exact"))
    body = body_of("go [[sim:hold]]")
    for number in range(WALLETS):
        paid_for = dice.randint(1, 30)
        agent = owner.with_balance(usd(paid_for * hold_of(body) + dice.randint(0, hold_of(body) - 1)), f"poor-{number}")
        before = simulator.count()
        let_go = held_until(simulator, CALLERS - paid_for)
        responses = asyncio.run(at_once(gateway.url, agent.key, [body] * CALLERS, meanwhile=let_go))
        assert codes(responses) == {(200, ""): paid_for, (402, "wallet_insufficient"): CALLERS - paid_for}
        assert simulator.count() - before == paid_for, "only what was admitted left"
    note(
        "64 calls at once, a wallet that pays for exactly k", engine_of(gateway), times=WALLETS, calls=simulator.count()
    )


@pytest.mark.timeout(3600)
def test_a_key_used_again_and_again_is_one_call(gateway: GatewayProcess, simulator: Simulator) -> None:
    dice = random.Random(SEED)
    agent = Caller(gateway, gateway.signup("keys")).with_balance("100")
    before = simulator.count()

    async def uses() -> None:
        wanted = [f"key-{number}" for number in range(KEYS) for _ in range(REPEATS)]
        dice.shuffle(wanted)
        headers = {"authorization": f"Bearer {agent.key}"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=100) as client:

            async def caller() -> None:
                while wanted:
                    key = wanted.pop()
                    body = {**body_of(f"say {key}"), "max_tokens": 32}
                    while True:
                        answer = await client.post("/v1/chat/completions", json=body, headers={"idempotency-key": key})
                        if answer.status_code == 200:
                            break
                        assert answer.status_code == 409, answer.text  # its first use still runs
                        await asyncio.sleep(0.01)

            await asyncio.gather(*(caller() for _ in range(16)))

    asyncio.run(uses())
    assert simulator.count() - before == KEYS
    note(f"an idempotency key, used {REPEATS} times", engine_of(gateway), times=KEYS, calls=simulator.count() - before)


LINES = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "audio_input", "reasoning", "audio_output")


def test_usages_cost_what_an_exact_oracle_says() -> None:
    """The oracle counts each token in the one class it belongs to, in fractions of a dollar."""
    dice = random.Random(SEED)
    for _ in range(USAGES):
        lists = {name: Fraction(dice.randint(1, 75_000_000), 1_000_000) for name in LINES}
        prices = Prices(**{f"{name}_picousd": per_million(f"{float(value):.6f}") for name, value in lists.items()})
        parts = {name: dice.choice((0, dice.randint(0, 2_000_000))) for name in LINES}
        usage = Usage(
            input_tokens=sum(
                parts[n] for n in ("input", "cached_input", "cache_write", "cache_write_1h", "audio_input")
            ),
            output_tokens=sum(parts[n] for n in ("output", "reasoning", "audio_output")),
            cached_input_tokens=parts["cached_input"],
            cache_write_tokens=parts["cache_write"] + parts["cache_write_1h"],
            cache_write_1h_tokens=parts["cache_write_1h"],
            audio_input_tokens=parts["audio_input"],
            reasoning_tokens=parts["reasoning"],
            audio_output_tokens=parts["audio_output"],
        )
        dollars = sum((lists[name] * parts[name] / 1_000_000 for name in LINES), Fraction())
        assert billed(usage, prices) == dollars * 10**12
    note("a random usage, against an exact oracle", "both", times=USAGES)
