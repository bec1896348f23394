"""What this process tells the others on its database, and learns of them: that it lives, what they spent, switches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from sqlalchemy import Engine

from ainfera_gateway.clock import Clock, utc_day
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.leases import LEASE_S, RENEW_S, ReleaseLease, RenewLease
from ainfera_gateway.storage.house_state import read_house_state
from ainfera_gateway.storage.owner_file import OwnerFile
from ainfera_gateway.storage.recorder import Recorder

LEARN_S = 0.25
"""How often the spend of the others is read: by so much, and by what is held open, a threshold may be overshot."""

_log = logging.getLogger("ainfera.neighbours")


class Neighbours:
    """``begin`` before the first call, ``run`` meanwhile, ``end`` after the last. On SQLite there are no others."""

    def __init__(
        self, recorder: Recorder, reader: Engine, killswitch: KillSwitch, clock: Clock, *, owner: str, data_dir: Path
    ) -> None:
        self._recorder = recorder
        self._reader = reader
        self._killswitch = killswitch
        self._clock = clock
        self._owner = owner
        self._file = OwnerFile(data_dir, owner)
        self._alone = reader.dialect.name != "postgresql"
        self._steady_since_s = clock.monotonic_s()
        self._renewed_s = clock.monotonic_s()

    async def begin(self) -> None:
        """Take the lease, end those of the dead on this machine, read the switches.

        Raises what the recorder or the engine raises.
        """
        if not self._alone:
            await asyncio.to_thread(self._file.hold)
            await self._renew()
        await self._learn()

    async def run(self, stop: asyncio.Event) -> None:
        """Renew and learn until ``stop`` is set; what fails once is tried again the next time."""
        if self._alone:
            return
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LEARN_S)
            try:
                await self._learn()
                if self._clock.monotonic_s() - self._renewed_s >= RENEW_S:
                    await self._renew()
            except Exception:  # noqa: BLE001 - a database that is away now may be back the next time
                _log.warning("the database could not be asked", exc_info=True, extra={"event": "neighbours_failed"})

    async def end(self) -> None:
        """Give the lease back; without it, it runs out by itself."""
        if self._alone:
            return
        try:
            await self._recorder.submit(ReleaseLease(self._owner))
        except Exception:  # noqa: BLE001 - the process ends all the same
            _log.warning("the lease was not given back", exc_info=True, extra={"event": "lease_not_released"})
            return
        self._file.release()

    def steady(self) -> bool:
        """Whether the database has been there for as long as a lease holds.

        While it was away nobody could renew a lease, so at first one that has run out says nothing of its owner.
        """
        return self._clock.monotonic_s() - self._steady_since_s >= LEASE_S

    async def _renew(self) -> None:
        await self._recorder.submit(RenewLease(self._owner))
        now_s = self._clock.monotonic_s()
        if now_s - self._renewed_s > LEASE_S / 2:
            self._steady_since_s = now_s
        self._renewed_s = now_s
        for owner in await asyncio.to_thread(self._file.dead):
            await self._recorder.submit(ReleaseLease(owner))
            self._file.forget(owner)

    async def _learn(self) -> None:
        day = utc_day(self._clock.now_us())
        state = await asyncio.to_thread(read_house_state, self._reader, day, self._owner)
        self._killswitch.learn(
            day,
            state.others_picousd,
            by_hand=state.stopped_by_hand,
            threshold_picousd=state.threshold_picousd,
        )
