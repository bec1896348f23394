"""Waiting for a commit: not for ever, and not less because the waiter is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ainfera_gateway.clock import Clock
from ainfera_gateway.storage.page import Unit
from ainfera_gateway.storage.recorder import Recorder

LEDGER_WAIT_S = 1.5
"""How long a call waits for the ledger: before anything is sent, then it is 503; after its end, then it is spooled."""

T = TypeVar("T")


class CommitWait:
    """One call's waits. ``cancelled`` once a cancellation came meanwhile, which is the call's own to act on."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self.cancelled = False

    async def commit(self, unit: Unit) -> Any:
        """Raises what the commit raises, or ``TimeoutError``: then it may be made later, or never."""
        return await self.to_its_end(self._recorder.submit(unit), within_s=LEDGER_WAIT_S)

    async def to_its_end(self, coroutine: Coroutine[Any, Any, T], within_s: float | None = None) -> T:
        """Wait for what is under way either way, even while this task is being cancelled."""
        work = asyncio.ensure_future(coroutine)
        until_s = None if within_s is None else self._clock.monotonic_s() + within_s
        while not work.done():
            left_s = None if until_s is None else max(0.0, until_s - self._clock.monotonic_s())
            try:
                await asyncio.wait((work,), timeout=left_s)
            except asyncio.CancelledError:
                self.cancelled = True
                continue
            if not work.done():
                work.add_done_callback(_seen)
                raise TimeoutError
        return work.result()


def _seen(work: asyncio.Future[Any]) -> None:
    """Nobody waits for its result any more; an error in it surprises nobody."""
    if not work.cancelled():
        work.exception()
