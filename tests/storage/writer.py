"""A process that makes calls until it is killed, and says on standard output what it was told is durable."""

from __future__ import annotations

import asyncio
import sys

from ainfera_gateway.audit.seal import seal
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.storage.engine import Database
from ainfera_gateway.storage.recorder import open_recorder
from bench.calls import OpenAgent, ending, facts, opening
from tests.storage.units import AGENTS

LANES = 24


async def _main(url: str) -> None:
    recorder = await open_recorder(Database(url), seal, SystemClock().now_us)
    for agent_id in AGENTS:
        await recorder.submit(OpenAgent(agent_id, 10**15, tenant_id=AGENTS[0], new_tenant=agent_id == AGENTS[0]))

    async def lane(number: int) -> None:
        while True:
            t1 = opening(facts(AGENTS[number % len(AGENTS)]))
            await recorder.submit(t1)
            print("reserved", t1.facts.inference_id, flush=True)
            await recorder.submit(ending(t1))
            print("settled", t1.facts.inference_id, flush=True)

    await asyncio.gather(*(lane(number) for number in range(LANES)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
