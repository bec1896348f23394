"""T2: one transaction, exactly once, that ends a call. Also its siblings: recovery and refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ainfera_gateway.errors import not_found
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.lifecycle import TERMINAL_EVENT, Outcome
from ainfera_gateway.inference.records import AttemptEnd, CallEnd, CallFacts, Settled, Tokens, outcome_row
from ainfera_gateway.ledger import accounts
from ainfera_gateway.ledger.hold import settle
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.page import HoldRow, IdempotencyRow, Keys, Page, Refused

UPPER_BOUND = "indeterminate_upper_bound"
"""The kind of correction that says what a call of unknown end may have cost at most."""


class AlreadySettledError(RuntimeError):
    """The hold is gone: somebody else settled this call. Nothing was written."""


@dataclass(frozen=True, slots=True)
class SettleCall:
    """Outcome, last attempt, transfers, release of the hold, two events and the stored answer, at once.

    ``submit`` returns ``Settled``; a second settlement of the same call is refused with ``AlreadySettledError``.
    """

    facts: CallFacts
    end: CallEnd

    def keys(self) -> Keys:
        hashed = self.facts.idempotency_hash
        return Keys(
            agents=(self.facts.agent_id,),
            holds=(self.facts.inference_id,),
            idempotency=((self.facts.agent_id, hashed),) if hashed else (),
        )

    def apply(self, page: Page) -> Settled:
        facts, end = self.facts, self.end
        hold = page.holds.get(facts.inference_id)
        wallet = page.wallets.get(facts.agent_id)
        if hold is None or wallet is None or hold.state == "released":
            raise Refused(AlreadySettledError(facts.inference_id))
        paid, beyond = settle(wallet, hold.amount_picousd, end.charged_picousd, page.now_us)
        if end.outcome is not Outcome.INDETERMINATE:
            wallet.calls += 1
        if paid:
            page.spend(wallet.day, paid)
        hold.state = "released"
        entry = accounts.transfer(
            debit=accounts.agent_account(facts.agent_id),
            credit=accounts.REVENUE,
            amount_picousd=paid,
            kind="debit",
            now_us=page.now_us,
            agent_id=facts.agent_id,
            inference_id=facts.inference_id,
            balance_after_picousd=wallet.balance_picousd,
            memo=f"{end.attempt.provider}/{end.attempt.model}",
        )
        page.insert("transfers", entry)
        post_house(page, facts, accounts.UNRECONCILED, beyond, "unreconciled")
        post_house(page, facts, accounts.FAILED_ATTEMPTS, end.failed_attempts_picousd, "failed_attempts")
        if hold.ordinal == end.attempt.ordinal:
            # Otherwise a further attempt was reserved, though nobody heard of it, and this one's row came with that.
            page.insert("attempts", end.attempt.row(facts.inference_id, page.now_us))
        page.insert("routing_outcomes", self._outcome(page.now_us, paid))
        _end_idempotency(page, facts, end)
        seq = self._append(page, paid, wallet.balance_picousd, entry["id"])
        return Settled(paid, wallet.balance_picousd, entry["id"], seq, beyond)

    def _outcome(self, now_us: int, paid: int) -> dict[str, Any]:
        end = self.end
        return outcome_row(
            self.facts,
            outcome=end.outcome,
            now_us=now_us,
            tokens=end.attempt.tokens,
            model=end.attempt.model,
            provider=end.attempt.provider,
            cost_picousd=paid,
            baseline_picousd=end.baseline_picousd,
            ttft_us=end.attempt.ttft_us,
            latency_us=end.latency_us,
            attempts=end.attempt.ordinal + 1,
            refusal_code=end.code,
            usage_source=end.attempt.usage_source,
        )

    def _append(self, page: Page, paid: int, balance: int, entry_id: str) -> int:
        facts, end = self.facts, self.end
        attempt = end.attempt
        usage = {
            "input_tokens": attempt.tokens.input,
            "output_tokens": attempt.tokens.output,
            "cached_input_tokens": attempt.tokens.cached_input,
            "cache_write_tokens": attempt.tokens.cache_write,
            "reasoning_tokens": attempt.tokens.reasoning,
            "cache_write_1h_tokens": attempt.tokens.cache_write_1h,
            "audio_input_tokens": attempt.tokens.audio_input,
            "audio_output_tokens": attempt.tokens.audio_output,
            "web_searches": attempt.tokens.web_searches,
            "source": attempt.usage_source,
        }
        common = {"trace_id": facts.trace_id, "inference_id": facts.inference_id}
        if end.answered:
            page.append(
                facts.agent_id,
                "provider.responded",
                {
                    **common,
                    "attempt": attempt.attempt_id,
                    "provider": attempt.provider,
                    "model": attempt.model,
                    "status": attempt.outcome,
                    "usage": usage,
                    "latency_ms": attempt.latency_us // 1000,
                    "response_hash": end.response_hash,
                },
            )
        return page.append(
            facts.agent_id,
            TERMINAL_EVENT[end.outcome],
            {
                **common,
                "receipt_id": facts.receipt_id,
                "model": attempt.model,
                "provider": attempt.provider,
                "attempts": attempt.ordinal + 1,
                "cost_usd": format_usd(paid),
                "ledger_entry_id": entry_id,
                "balance_after_usd": format_usd(balance),
                "outcome_status": str(end.outcome),
            },
        )


@dataclass(frozen=True, slots=True)
class RecoverCall:
    """A hold whose process is gone: released, nothing paid, ``indeterminate``; its amount kept as an upper bound."""

    facts: CallFacts
    hold: HoldRow

    def keys(self) -> Keys:
        hashed = self.hold.idempotency_hash
        return Keys(
            agents=(self.facts.agent_id,),
            holds=(self.facts.inference_id,),
            idempotency=((self.facts.agent_id, hashed),) if hashed else (),
        )

    def apply(self, page: Page) -> Settled:
        hold = self.hold
        attempt = AttemptEnd(
            attempt_id=hold.attempt_id,
            ordinal=hold.ordinal,
            provider=hold.provider,
            model=hold.model,
            outcome="cancelled",
            upstream_status=None,
            reason="process_died",
            ttft_us=None,
            latency_us=max(0, page.now_us - hold.created_us),
            tokens=Tokens(),
            cost_picousd=0,
            usage_source="none",
        )
        end = CallEnd(
            outcome=Outcome.INDETERMINATE,
            attempt=attempt,
            charged_picousd=0,
            latency_us=attempt.latency_us,
            response_hash="",
            answered=False,
            code="process_died",
        )
        facts = replace(self.facts, idempotency_hash=hold.idempotency_hash)
        settled = SettleCall(facts, end).apply(page)
        page.insert(
            "settlement_corrections",
            {
                "id": new_id(),
                "inference_id": hold.inference_id,
                "kind": UPPER_BOUND,
                "amount_picousd": hold.amount_picousd,
                "reason": "process_died",
                "created_us": page.now_us,
            },
        )
        return settled


@dataclass(frozen=True, slots=True)
class RefuseCall:
    """A refusal from the kill switch on: an outcome row and its event, no hold, no transfer.

    ``times`` > 1 tells that so many like it were folded into this one.
    """

    facts: CallFacts
    outcome: Outcome
    code: str
    reason: str | None = None
    times: int = 1

    def keys(self) -> Keys:
        return Keys(agents=(self.facts.agent_id,))

    def apply(self, page: Page) -> int:
        facts = self.facts
        if facts.agent_id not in page.wallets:
            raise Refused(not_found())
        page.insert(
            "routing_outcomes",
            outcome_row(facts, outcome=self.outcome, now_us=page.now_us, refusal_code=self.code),
        )
        return page.append(
            facts.agent_id,
            TERMINAL_EVENT[self.outcome],
            {
                "trace_id": facts.trace_id,
                "inference_id": facts.inference_id,
                "requested_model": facts.requested_model,
                "decision_hash": facts.decision_hash,
                "projected_cost_usd": format_usd(facts.projected_picousd),
                "code": self.code,
                "reason": self.reason,
                "times": self.times,
            },
        )


def post_house(page: Page, facts: CallFacts, account: str, amount: int, kind: str) -> None:
    """A transfer of ``amount`` pico-USD from an account of the house; nothing where nothing is owed."""
    if amount > 0:
        page.insert(
            "transfers",
            accounts.transfer(
                debit=account,
                credit=accounts.REVENUE,
                amount_picousd=amount,
                kind=kind,
                now_us=page.now_us,
                inference_id=facts.inference_id,
            ),
        )


def _end_idempotency(page: Page, facts: CallFacts, end: CallEnd) -> None:
    if facts.idempotency_hash is None:
        return
    row: IdempotencyRow | None = page.idempotency.get((facts.agent_id, facts.idempotency_hash))
    if row is None or row.inference_id != facts.inference_id:
        return
    if end.answer_state is None:
        # Nothing was delivered whole, so the key is free again and a retry is a new call.
        row.change = "delete"
        return
    row.state, row.answer_sealed, row.change = end.answer_state, end.answer_sealed, "update"
