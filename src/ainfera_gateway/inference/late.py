"""Settlements that come late: T2 again until the ledger has it, or a correction when recovery was faster."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from sqlalchemy import Engine, select

from ainfera_gateway.errors import LedgerLocked, LedgerUnavailable, not_found
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.records import CallEnd, CallFacts, Settled
from ainfera_gateway.inference.settle import UPPER_BOUND, AlreadySettledError, SettleCall, post_house
from ainfera_gateway.inference.spool import Owed, Spool
from ainfera_gateway.ledger import accounts
from ainfera_gateway.ledger.hold import settle
from ainfera_gateway.storage.page import Keys, Page, Refused
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import routing_outcomes, settlement_corrections

LATE = "late_settlement"
_UNWRITTEN_MAX = 8192

_log = logging.getLogger("ainfera.late")


@dataclass(frozen=True, slots=True)
class CorrectCall:
    """What a call did cost that recovery has ended as ``indeterminate``: a transfer and a row beside its outcome.

    The outcome stays. ``upper_bound_picousd`` is what was held for the call; the agent pays no more than that, and
    never more than it has free now. ``submit`` returns what it paid; a second one fails by the row's id.
    """

    facts: CallFacts
    end: CallEnd
    upper_bound_picousd: int

    def keys(self) -> Keys:
        return Keys(agents=(self.facts.agent_id,))

    def apply(self, page: Page) -> int:
        facts, end = self.facts, self.end
        wallet = page.wallets.get(facts.agent_id)
        if wallet is None:
            raise Refused(not_found())
        payable = min(self.upper_bound_picousd, wallet.available_picousd)
        wallet.held_picousd += payable
        paid, beyond = settle(wallet, payable, end.charged_picousd, page.now_us)
        if paid:
            page.spend(wallet.day, paid)
            page.insert(
                "transfers",
                accounts.transfer(
                    debit=accounts.agent_account(facts.agent_id),
                    credit=accounts.REVENUE,
                    amount_picousd=paid,
                    kind="adjustment",
                    now_us=page.now_us,
                    agent_id=facts.agent_id,
                    inference_id=facts.inference_id,
                    balance_after_picousd=wallet.balance_picousd,
                    memo=f"{end.attempt.provider}/{end.attempt.model}, settled late",
                ),
            )
        post_house(page, facts, accounts.UNRECONCILED, beyond, "unreconciled")
        post_house(page, facts, accounts.FAILED_ATTEMPTS, end.failed_attempts_picousd, "failed_attempts")
        page.insert(
            "settlement_corrections",
            {
                "id": end.attempt.attempt_id,
                "inference_id": facts.inference_id,
                "kind": LATE,
                "amount_picousd": end.charged_picousd,
                "reason": "recovered_first",
                "created_us": page.now_us,
            },
        )
        return paid


class LateSettlements:
    """``keep`` what could not be settled, ``run_once`` until it is. ``live`` are the calls no recovery may touch."""

    def __init__(
        self, recorder: Recorder, reader: Engine, spool: Spool, killswitch: KillSwitch, *, live: set[str]
    ) -> None:
        self._recorder = recorder
        self._reader = reader
        self._spool = spool
        self._killswitch = killswitch
        self._live = live
        self._unwritten: dict[str, Owed] = {}
        self._kept: dict[str, str] = {}
        self._said: set[str] = set()

    def __len__(self) -> int:
        """How many of this process's own calls are not in the ledger yet."""
        return len(self._kept)

    async def keep(self, facts: CallFacts, end: CallEnd) -> None:
        """Durable when it returns, or else held in memory and said so in the log. Never raises ``OSError``."""
        owed = Owed(facts, end)
        self.note(owed)
        try:
            await asyncio.to_thread(self._spool.put, owed)
        except OSError:
            _log.exception("a settlement could not be kept on disk", extra=_ids(owed, "spool_failed"))
            return
        self._unwritten.pop(owed.name, None)
        _log.error("the ledger is away: the settlement is kept on disk", extra=_ids(owed, "settlement_kept"))

    def note(self, owed: Owed) -> None:
        """Try it later, from memory alone: for what recovery would end in the same way. Bounded; the rest it does."""
        if len(self._unwritten) < _UNWRITTEN_MAX:
            self._kept[owed.name] = owed.facts.inference_id
            self._unwritten[owed.name] = owed
            self._live.add(owed.facts.inference_id)

    async def run_once(self) -> int:
        """Settle what is kept, by this process or by one that shares its folder; returns how many the ledger took."""
        names = await asyncio.to_thread(self._spool.names)
        for name in self._kept.keys() - names - self._unwritten.keys():
            self._forget(name)  # another process was faster
        taken = 0
        for name in sorted(names | self._unwritten.keys()):
            owed = self._unwritten.get(name) or await asyncio.to_thread(self._spool.read, name)
            if owed is None:
                continue
            try:
                await self._settle(owed)
            except Exception as exc:  # noqa: BLE001 - it stays, and is tried again the next time
                if isinstance(exc, LedgerUnavailable):
                    if isinstance(exc, LedgerLocked):
                        continue
                    return taken
                if name not in self._said:
                    self._said.add(name)
                    _log.exception("a late settlement failed", extra=_ids(owed, "late_settlement_failed"))
                continue
            await asyncio.to_thread(self._spool.drop, name)
            self._forget(name)
            taken += 1
        return taken

    async def _settle(self, owed: Owed) -> None:
        facts, end = owed.facts, owed.end
        try:
            settled: Settled = await self._recorder.submit(SettleCall(facts, end))
        except AlreadySettledError:
            await self._correct(owed)
            return
        self._killswitch.spent(settled.paid_picousd)
        _log.warning("settled late", extra=_ids(owed, "settled_late"))

    async def _correct(self, owed: Owed) -> None:
        upper_bound = await asyncio.to_thread(self._recovered, owed.facts.inference_id)
        if upper_bound is None:
            return  # an earlier commit did happen and only its answer was lost, or T1 never did
        paid: int = await self._recorder.submit(CorrectCall(owed.facts, owed.end, upper_bound))
        self._killswitch.spent(paid)
        _log.warning("corrected a call that was recovered first", extra=_ids(owed, "corrected_late"))

    def _recovered(self, inference_id: str) -> int | None:
        """What was held for the call, if recovery has ended it and nobody has corrected that yet."""
        outcome = select(routing_outcomes.c.outcome_status).where(routing_outcomes.c.inference_id == inference_id)
        rows = select(settlement_corrections.c.kind, settlement_corrections.c.amount_picousd).where(
            settlement_corrections.c.inference_id == inference_id
        )
        with self._reader.connect() as connection:
            status = connection.execute(outcome).scalar_one_or_none()
            known: dict[str, int] = {row.kind: row.amount_picousd for row in connection.execute(rows)}
        return known.get(UPPER_BOUND) if status == Outcome.INDETERMINATE and LATE not in known else None

    def _forget(self, name: str) -> None:
        self._unwritten.pop(name, None)
        self._said.discard(name)
        inference_id = self._kept.pop(name, None)
        if inference_id is not None:
            self._live.discard(inference_id)


def _ids(owed: Owed, event: str) -> dict[str, object]:
    facts = owed.facts
    return {
        "event": event,
        "trace_id": facts.trace_id,
        "inference_id": facts.inference_id,
        "agent_id": facts.agent_id,
        "attempt_id": owed.name,
    }
