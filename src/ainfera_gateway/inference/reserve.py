"""T1 and what may follow it before an answer: the durable reservations without which nothing leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.inference.records import AttemptEnd, CallFacts, IdempotencyHit
from ainfera_gateway.ledger.hold import Ask, Grant, check_caps, reserve, roll, take_call
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.page import HoldRow, IdempotencyRow, Keys, Page, Refused, WalletRow

IDEMPOTENCY_TTL_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class OpenCall:
    """T1: the call's row, its hold, its decision and ``inference.routed``, or nothing at all.

    What binds is checked again here, inside the transaction: agent state, kill switch (``gate``, which is told whether
    the database has it engaged by hand), rate (calls a minute; 0: none), caps, funds. ``submit`` returns the ``Grant``.
    """

    facts: CallFacts
    ask: Ask
    attempt_id: str
    provider: str
    model: str
    owner: str
    gate: Callable[[bool | None], GatewayError | None]
    rate_limit_rpm: int = 0

    def keys(self) -> Keys:
        hashed = self.facts.idempotency_hash
        idempotency = ((self.facts.agent_id, hashed),) if hashed else ()
        return Keys(agents=(self.facts.agent_id,), idempotency=idempotency)

    def apply(self, page: Page) -> Grant:
        facts = self.facts
        self._check_idempotency(page)
        wallet = page.wallets.get(facts.agent_id)
        if wallet is None:
            raise Refused(not_found())
        if wallet.status != "active":
            raise Refused(agent_not_active())
        if (refusal := self.gate(page.stopped)) is not None:
            raise Refused(refusal)
        try:
            rate_left = take_call(wallet, self.rate_limit_rpm, page.now_us)
            granted = reserve(wallet, self.ask, page.now_us)
        except GatewayError as error:
            raise Refused(error) from error
        wallet.rate_left_milli, wallet.rate_us = rate_left, page.now_us
        self._write(page, granted)
        return granted

    def _check_idempotency(self, page: Page) -> None:
        hashed = self.facts.idempotency_hash
        if hashed is None:
            return
        key = (self.facts.agent_id, hashed)
        known = page.idempotency.get(key)
        expired = known is not None and known.created_us < page.now_us - IDEMPOTENCY_TTL_US
        if known is not None and not expired:
            raise Refused(IdempotencyHit(known.state, known.fingerprint, known.inference_id, known.answer_sealed))

    def _write(self, page: Page, granted: Grant) -> None:
        facts = self.facts
        page.insert(
            "inferences",
            {
                "id": facts.inference_id,
                "receipt_id": facts.receipt_id,
                "tenant_id": facts.tenant_id,
                "agent_id": facts.agent_id,
                "trace_id": facts.trace_id,
                "span_id": facts.span_id,
                "dialect": facts.dialect,
                "streamed": int(facts.streamed),
                "requested_model": facts.requested_model,
                "decision": facts.decision,
                "decision_hash": facts.decision_hash,
                "request_hash": facts.request_hash,
                "hash_salt": facts.hash_salt,
                "projected_picousd": facts.projected_picousd,
                "created_us": page.now_us,
            },
        )
        page.put_hold(
            HoldRow(
                inference_id=facts.inference_id,
                agent_id=facts.agent_id,
                tenant_id=facts.tenant_id,
                amount_picousd=granted.amount_picousd,
                attempt_id=self.attempt_id,
                ordinal=0,
                provider=self.provider,
                model=self.model,
                owner=self.owner,
                idempotency_hash=facts.idempotency_hash,
                created_us=page.now_us,
            )
        )
        if facts.idempotency_hash is not None:
            self._write_idempotency(page, facts.idempotency_hash)
        page.append(
            facts.agent_id,
            "inference.routed",
            {
                "trace_id": facts.trace_id,
                "inference_id": facts.inference_id,
                "model": self.model,
                "provider": self.provider,
                "router": facts.router,
                "requested_model": facts.requested_model,
                "decision_hash": facts.decision_hash,
                "request_hash": facts.request_hash,
                "projected_cost_usd": format_usd(facts.projected_picousd),
            },
        )

    def _write_idempotency(self, page: Page, hashed: str) -> None:
        facts = self.facts
        key = (facts.agent_id, hashed)
        if key in page.idempotency:
            page.execute(
                "UPDATE idempotency_keys SET fingerprint = :fingerprint, inference_id = :inference_id,"
                " state = 'in_flight', answer_sealed = NULL, created_us = :created_us"
                " WHERE agent_id = :agent_id AND key_hash = :key_hash",
                {
                    "fingerprint": facts.fingerprint,
                    "inference_id": facts.inference_id,
                    "created_us": page.now_us,
                    "agent_id": facts.agent_id,
                    "key_hash": hashed,
                },
            )
        row = IdempotencyRow(
            facts.agent_id,
            hashed,
            facts.fingerprint,
            facts.inference_id,
            "in_flight",
            None,
            page.now_us,
            change="" if key in page.idempotency else "insert",
        )
        page.idempotency[key] = row


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """Before a retry or a fallback leaves: the row of the attempt that ended, and the hold for the next one.

    A dearer model tops the hold up under the same conditions as T1. ``submit`` returns the output tokens that the hold
    pays for, and the hold in pico-USD. A refusal (402, 403) leaves the hold as it was and records nothing.
    """

    facts: CallFacts
    ended: AttemptEnd
    ask: Ask
    attempt_id: str
    provider: str
    model: str
    void: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for it any more; it then refuses."""

    def keys(self) -> Keys:
        return Keys(agents=(self.facts.agent_id,), holds=(self.facts.inference_id,))

    def apply(self, page: Page) -> tuple[int, int]:
        hold = page.holds.get(self.facts.inference_id)
        wallet = page.wallets.get(self.facts.agent_id)
        if hold is None or wallet is None or hold.state == "released" or self.void.is_set():
            raise Refused(not_found())
        try:
            output = self._top_up(wallet, hold, page.now_us)
        except GatewayError as error:
            raise Refused(error) from error
        page.insert("attempts", self.ended.row(self.facts.inference_id, page.now_us))
        hold.attempt_id, hold.ordinal = self.attempt_id, self.ended.ordinal + 1
        hold.provider, hold.model = self.provider, self.model
        hold.state = "changed" if hold.state == "stored" else hold.state
        return output, hold.amount_picousd

    def _top_up(self, wallet: WalletRow, hold: HoldRow, now_us: int) -> int:
        ask = self.ask
        roll(wallet, now_us)
        needed = ask.projected_picousd
        if needed <= hold.amount_picousd:
            return ask.output_tokens
        check_caps(wallet, needed, already_held=hold.amount_picousd)
        extra = min(needed - hold.amount_picousd, wallet.available_picousd)
        total = hold.amount_picousd + extra
        output = ask.output_tokens
        if ask.output_price_picousd > 0:
            output = min(output, (total - ask.input_picousd) // ask.output_price_picousd)
        if total < ask.input_picousd or output < ask.output_useful_tokens:
            raise GatewayError(402, "wallet_insufficient", "The wallet cannot pay for the fallback model.")
        wallet.held_picousd += extra
        wallet.dirty = True
        hold.amount_picousd = total
        return output


def agent_not_active() -> GatewayError:
    """A suspended agent makes no calls."""
    return GatewayError(409, "agent_not_active", "The agent is suspended; its owner can activate it.")
