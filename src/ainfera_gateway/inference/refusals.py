"""Refusals from the kill switch on are evidence too: an outcome row and an event each, folded past ten a minute."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from ainfera_gateway.clock import Clock
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.records import CallFacts
from ainfera_gateway.inference.settle import RefuseCall
from ainfera_gateway.storage.recorder import Recorder

PER_MINUTE_MAX = 10
_WINDOW_S = 60.0
_AGENTS_MAX = 50_000

_OUTCOMES = {
    "cost_killswitch_engaged": Outcome.REJECTED_KILLSWITCH,
    "spend_policy_exceeded": Outcome.REJECTED_CAP,
    "wallet_insufficient": Outcome.REJECTED_FUNDS,
    "no_candidate_clears_floor": Outcome.REJECTED_NO_CANDIDATE,
    "no_candidate_enrolled": Outcome.REJECTED_NO_CANDIDATE,
    # What the decision says of a model that was named: the code beside the outcome tells which.
    "brand_not_allowed": Outcome.REJECTED_NO_CANDIDATE,
    "model_unavailable": Outcome.REJECTED_NO_CANDIDATE,
    "tools_not_supported_by_backend": Outcome.REJECTED_NO_CANDIDATE,
    "unsupported_content": Outcome.REJECTED_NO_CANDIDATE,
}

_log = logging.getLogger("ainfera.refusals")


@dataclass(slots=True)
class _Window:
    since_s: float
    written: int = 0
    folded: int = 0
    last: RefuseCall | None = None


class Refusals:
    """Writes refusals through the recorder; what is folded is written when its minute is over or at ``flush``."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    async def note(self, facts: CallFacts, error: GatewayError) -> None:
        """Record one refusal if it is of a kind that is recorded. Never changes the answer to the caller."""
        outcome = _OUTCOMES.get(error.code)
        if outcome is None:
            return
        reason = error.detail.get("reason")
        unit = RefuseCall(facts, outcome, error.code, str(reason) if reason is not None else None)
        window = self._windows.get(facts.agent_id)
        now_s = self._clock.monotonic_s()
        if window is None or now_s - window.since_s >= _WINDOW_S:
            await self._close(window)
            if len(self._windows) >= _AGENTS_MAX:
                await self.flush()
            window = self._windows[facts.agent_id] = _Window(now_s)
        if window.written < PER_MINUTE_MAX:
            window.written += 1
            await self._write(unit)
            return
        window.folded += 1
        window.last = unit

    async def tend(self) -> None:
        """Write what windows that are over have folded."""
        now_s = self._clock.monotonic_s()
        over = [agent_id for agent_id, window in self._windows.items() if now_s - window.since_s >= _WINDOW_S]
        for agent_id in over:
            await self._close(self._windows.pop(agent_id))

    async def flush(self) -> None:
        """Write everything that is folded, before the recorder stops."""
        windows = list(self._windows.values())
        self._windows.clear()
        await asyncio.gather(*(self._close(window) for window in windows))

    async def _close(self, window: _Window | None) -> None:
        if window is not None and window.last is not None and window.folded:
            last = window.last
            window.last = None
            await self._write(RefuseCall(last.facts, last.outcome, last.code, last.reason, window.folded))

    async def _write(self, unit: RefuseCall) -> None:
        try:
            await self._recorder.submit(unit)
        except Exception:  # noqa: BLE001 - the refusal itself stands
            _log.exception("a refusal could not be recorded", extra={"event": "refusal_not_recorded"})
