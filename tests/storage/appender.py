"""A process that appends so many events to one agent's chain, several at a time."""

from __future__ import annotations

import asyncio
import sys

from ainfera_gateway.audit.seal import seal
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.storage.engine import Database
from ainfera_gateway.storage.recorder import open_recorder
from tests.storage.units import AGENTS, Append, gather

AT_ONCE = 16


async def _main(url: str, count: int) -> None:
    recorder = await open_recorder(Database(url), seal, SystemClock().now_us)
    for begin in range(0, count, AT_ONCE):
        await gather(recorder, [Append(AGENTS[0]) for _ in range(min(AT_ONCE, count - begin))])
    await recorder.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
