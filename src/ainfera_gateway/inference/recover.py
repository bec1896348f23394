"""Recovery: every hold whose process is gone is settled as ``indeterminate``, at start and on a timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import Engine, select

from ainfera_gateway.inference.leases import known, living
from ainfera_gateway.inference.records import CallFacts
from ainfera_gateway.inference.settle import AlreadySettledError, RecoverCall
from ainfera_gateway.storage.page import HoldRow
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import holds, inferences

_BATCH = 500

_log = logging.getLogger("ainfera.recover")


class Recovery:
    """``live`` are the inference ids that this process is still working on; ``owner`` names this process."""

    def __init__(
        self,
        recorder: Recorder,
        reader: Engine,
        *,
        owner: str,
        live: set[str],
        may_judge: Callable[[], bool] = lambda: True,
    ) -> None:
        self._recorder = recorder
        self._reader = reader
        self._owner = owner
        self._live = live
        self._may_judge = may_judge
        self._busy = False
        self._ended = False

    async def begin(self, within_s: float) -> asyncio.Task[int]:
        """The first turn, of as many holds as there are: over when this returns, or going on after ``within_s`` seconds.

        Raises what a turn raises that ended in that time.
        """
        first = asyncio.create_task(self.run_once(), name="recovery")
        await asyncio.wait({first}, timeout=within_s)
        if first.done():
            first.result()
        return first

    def end(self) -> None:
        """A turn that goes on leaves the rest to the next start."""
        self._ended = True

    async def run_once(self, *, older_than_us: int | None = None) -> int:
        """Settle abandoned holds; returns how many.

        Another owner's holds are abandoned when its lease was given back or has run out; whether it has is judged only
        while ``may_judge`` says so. Our own are only when no task works on them and
        they are older than ``older_than_us`` (microseconds since the epoch). While another turn goes on, none are.
        """
        if self._busy:
            return 0
        self._busy = True
        try:
            return await self._turn(older_than_us)
        finally:
            self._busy = False

    async def _turn(self, older_than_us: int | None) -> int:
        recovered = 0
        after = ""
        while True:
            batch = await asyncio.to_thread(self._read, after)
            if not batch or self._ended:
                return recovered
            after = batch[-1][0].inference_id
            # Read after the holds: whoever opened one of them had its lease before.
            spared = await asyncio.to_thread(living if self._may_judge() else known, self._reader)
            units = [RecoverCall(facts, hold) for hold, facts in batch if self._abandoned(hold, spared, older_than_us)]
            results = await asyncio.gather(*(self._settle(unit) for unit in units))
            recovered += sum(results)

    def _abandoned(self, hold: HoldRow, spared: frozenset[str], older_than_us: int | None) -> bool:
        if hold.owner != self._owner:
            return hold.owner not in spared and hold.inference_id not in self._live
        return hold.inference_id not in self._live and older_than_us is not None and hold.created_us < older_than_us

    async def _settle(self, unit: RecoverCall) -> int:
        try:
            await self._recorder.submit(unit)
        except AlreadySettledError:
            return 0
        facts = unit.facts
        _log.warning(
            "call recovered as indeterminate",
            extra={"event": "recovered", "inference_id": facts.inference_id, "trace_id": facts.trace_id},
        )
        return 1

    def _read(self, after: str) -> list[tuple[HoldRow, CallFacts]]:
        statement = (
            select(holds, inferences)
            .join(inferences, inferences.c.id == holds.c.inference_id)
            .where(holds.c.inference_id > after)
            .order_by(holds.c.inference_id)
            .limit(_BATCH)
        )
        with self._reader.connect() as connection:
            rows = connection.execute(statement).all()
        return [(_hold(row._mapping), _facts(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def _hold(row: object) -> HoldRow:
    values = {column.name: row[column] for column in holds.columns}  # type: ignore[index]
    return HoldRow(**values)


def _facts(row: object) -> CallFacts:
    """What the inference row still knows; the rest of the outcome row is told from the decision it kept."""
    from_row = {column.name: row[column] for column in inferences.columns}  # type: ignore[index]
    return CallFacts(
        inference_id=from_row["id"],
        receipt_id=from_row["receipt_id"],
        tenant_id=from_row["tenant_id"],
        agent_id=from_row["agent_id"],
        trace_id=from_row["trace_id"],
        span_id=from_row["span_id"],
        dialect=from_row["dialect"],
        streamed=bool(from_row["streamed"]),
        requested_model=from_row["requested_model"],
        task_type=None,
        task_type_source=None,
        policy_name="",
        policy_semver="",
        ruleset_hash="",
        decision_rule="recovered",
        decision_type="deterministic",
        router="",
        decision=from_row["decision"],
        verdict_versions="{}",
        decision_hash=from_row["decision_hash"],
        request_hash=from_row["request_hash"],
        hash_salt=from_row["hash_salt"],
        projected_picousd=from_row["projected_picousd"],
        tags=None,
    )
