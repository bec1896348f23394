"""The ledger against a model of it, step by step: whatever happens, wallets are what the simplest arithmetic says.

``CRASH_SEED`` and ``CRASH_STEPS`` in the environment choose other steps and more of them.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.reserve import OpenCall
from ainfera_gateway.inference.settle import AlreadySettledError
from ainfera_gateway.ledger.hold import OUTPUT_USEFUL_TOKENS, Ask
from ainfera_gateway.ledger.laws import check
from bench.calls import OpenAgent, ending, facts, open_gate
from tests.crash.report import note
from tests.crash.test_kill import SEED
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS

STEPS = int(os.environ.get("CRASH_STEPS", "2000"))


@dataclass
class Model:
    """What a wallet must be, kept by the simplest arithmetic there is."""

    balance: int
    open: dict[str, tuple[OpenCall, int]] = field(default_factory=dict)
    ended: list[OpenCall] = field(default_factory=list)

    @property
    def held(self) -> int:
        return sum(amount for _, amount in self.open.values())


def ask_of(dice: random.Random) -> Ask:
    output = dice.choice((1, 500, 4_000, 16_384))
    useful = min(output, OUTPUT_USEFUL_TOKENS)
    return Ask(dice.randint(1, 50_000), output, useful, dice.randint(1, 15) * 10**6, dice.randint(1, 75) * 10**6)


@pytest.mark.timeout(3600)
def test_the_ledger_is_what_its_model_says(store: Store) -> None:
    dice = random.Random(SEED)
    models = {agent: Model(dice.randint(0, 3) * 10**12 + dice.randint(0, 10**11)) for agent in AGENTS[:6]}

    async def open_one(recorder: Any, agent: str, model: Model) -> None:
        wanted = ask_of(dice)
        call = facts(agent, tenant_id=agent)
        unit = OpenCall(call, wanted, call.receipt_id, "mistral", "mistral-large-3", "model", open_gate)
        free = model.balance - model.held
        whole = wanted.projected_picousd
        least = wanted.input_picousd + wanted.output_useful_tokens * wanted.output_price_picousd
        if free < least:
            with pytest.raises(GatewayError) as refused:
                await recorder.submit(unit)
            assert refused.value.code == "wallet_insufficient"
            return
        granted = await recorder.submit(unit)
        output = min(wanted.output_tokens, (free - wanted.input_picousd) // wanted.output_price_picousd)
        assert granted.output_tokens == output
        assert granted.amount_picousd == wanted.input_picousd + output * wanted.output_price_picousd <= min(free, whole)
        model.open[call.inference_id] = (unit, granted.amount_picousd)

    async def settle_one(recorder: Any, model: Model) -> None:
        opened, held = model.open.pop(dice.choice(sorted(model.open)))
        charged = dice.choice((0, dice.randint(0, held), held, held + dice.randint(1, 10**12)))
        settled = await recorder.submit(ending(opened, charged_picousd=charged))
        assert settled.paid_picousd == min(charged, held)
        assert settled.beyond_hold_picousd == charged - settled.paid_picousd
        model.balance -= settled.paid_picousd
        model.ended.append(opened)

    async def scenario() -> None:
        async with store.recorder(owner="model") as recorder:
            for agent, model in models.items():
                await recorder.submit(OpenAgent(agent, model.balance, tenant_id=agent))
            for _ in range(STEPS):
                agent, model = dice.choice(list(models.items()))
                act = dice.random()
                if act < 0.5 or not model.open:
                    await open_one(recorder, agent, model)
                elif act < 0.95 or not model.ended:
                    await settle_one(recorder, model)
                else:
                    with pytest.raises(AlreadySettledError):
                        await recorder.submit(ending(dice.choice(model.ended), charged_picousd=1))

    run(scenario())
    stored = {row[0]: row[1:] for row in store.rows("SELECT agent_id, balance_picousd, held_picousd FROM wallets")}
    assert stored == {agent: (model.balance, model.held) for agent, model in models.items()}
    with store.reader().connect() as connection:
        assert check(connection).broken == {}
    engine = "SQLite" if store.database.is_sqlite else "PostgreSQL"
    note("a step of the ledger against its model", engine, times=STEPS)
