"""One call from T1 to T2. Runs in a task that no request owns, so that a caller who hangs up still settles."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import msgspec

from ainfera_gateway.agents.secrets import seal
from ainfera_gateway.errors import GatewayError, LedgerUnavailable, ledger_unavailable
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.answer import failure, headers, last_bytes
from ainfera_gateway.inference.attempt import AttemptResult, Scope
from ainfera_gateway.inference.commit_wait import LEDGER_WAIT_S, CommitWait
from ainfera_gateway.inference.dispatch import Dispatch, House
from ainfera_gateway.inference.judge import NOT_SENT, Standing, broken, ended, judge
from ainfera_gateway.inference.lifecycle import Outcome, State, move
from ainfera_gateway.inference.plan import CallPlan, Target
from ainfera_gateway.inference.records import CallEnd, IdempotencyHit, Settled
from ainfera_gateway.inference.replay import StoredAnswer, associated_data
from ainfera_gateway.inference.reserve import NextAttempt, OpenCall
from ainfera_gateway.inference.settle import AlreadySettledError, SettleCall
from ainfera_gateway.inference.spool import Owed
from ainfera_gateway.ledger.hold import Grant
from ainfera_gateway.money import format_usd
from ainfera_gateway.wire.passages import error_frame

TRIES_PER_TARGET = 2
ATTEMPTS_MAX = 6
STORED_ANSWER_BYTES_MAX = 1024 * 1024
_BACKOFF_S = 0.1
_RETRY_AFTER_MAX_S = 2.0
_SETTLE_AGAIN_S = 0.1

_log = logging.getLogger("ainfera.inference")


class CallerLeftError(Exception):
    """The caller cannot be written to any more."""


class Sink(Protocol):
    """Where the answer goes. Writing to a caller who is gone does nothing, or raises ``CallerLeftError``."""

    async def start_stream(self, headers: Mapping[str, str]) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self, data: bytes) -> None: ...

    async def answer(self, headers: Mapping[str, str], body: bytes) -> None: ...


class CallRun:
    """One run. Make it, ``await run()`` in a supervised task, and call ``leave()`` when the caller hangs up.

    ``run`` raises ``GatewayError`` for what must be answered as a plain error (nothing was sent yet) and
    ``IdempotencyHit`` when the answer is known already.
    """

    def __init__(self, house: House, plan: CallPlan, sink: Sink) -> None:
        self._house = house
        self._plan = plan
        self._sink = sink
        self._scope = Scope(house.drain_s)
        self._state = State.ACCEPTED
        self._started_us = house.clock.now_us()
        self._deadline_s = house.clock.monotonic_s() + house.call_timeout_s
        self._hold_picousd = 0
        self._failed_picousd = 0
        self._streaming = False
        self._commits = CommitWait(house.recorder, house.clock)
        self._owed = False
        self._gave_up = False
        self._applied = False
        self._transcript: list[bytes] | None = [] if plan.facts.idempotency_hash else None
        self._transcript_bytes = 0
        self._target = plan.first
        self._attempt_id = new_id()
        self._ordinal = 0
        self._dispatch = Dispatch(house, plan, self._scope, self._send)
        self._result = AttemptResult(outcome="cancelled", reason=NOT_SENT)

    @property
    def left(self) -> bool:
        """Whether the caller has hung up."""
        return self._scope.left

    @property
    def accepted(self) -> bool:
        """Whether T1 is committed, so that the call has, or will have, its receipt."""
        return self._state not in (State.ACCEPTED, State.REFUSED)

    def leave(self) -> None:
        """The caller has hung up."""
        self._scope.leave()

    async def run(self) -> None:
        """T1, attempts, T2, answer."""
        grant = await self._reserve()
        facts = self._plan.facts
        self._house.live.add(facts.inference_id)
        try:
            try:
                await self._attempts(grant)
                end = judge(self._standing())
            except asyncio.CancelledError:
                # The process is stopping: what was begun is ended in good order, at the house's cost.
                end = broken(self._standing(), "gateway_stopping")
            except Exception:  # noqa: BLE001 - a bug of ours must settle too
                _log.exception("call failed inside the gateway", extra=self._ids("inference_error"))
                end = broken(self._standing(), "internal_error")
            await self._finish(end)
        finally:
            if not self._owed:
                self._house.live.discard(facts.inference_id)

    async def _reserve(self) -> Grant:
        plan = self._plan
        unit = OpenCall(
            facts=plan.facts,
            ask=self._target.ask,
            attempt_id=self._attempt_id,
            provider=self._target.model.provider,
            model=self._target.model.slug,
            owner=self._house.owner,
            gate=self._gate,
            rate_limit_rpm=self._house.rate_limit_rpm,
        )
        try:
            grant: Grant = await self._commits.commit(unit)
        except IdempotencyHit:
            raise
        except TimeoutError as exc:
            self._take_back(begun=self._applied)
            raise ledger_unavailable() from exc
        except GatewayError as error:
            if isinstance(error, LedgerUnavailable):
                self._take_back(begun=error.uncertain)
                raise
            await self._house.refusals.note(plan.facts, error)
            raise
        except Exception as exc:
            _log.exception("T1 failed", extra=self._ids("t1_failed"))
            raise ledger_unavailable() from exc
        self._state = move(self._state, State.RESERVED)
        self._hold_picousd = grant.amount_picousd
        return grant

    def _gate(self, by_hand: bool | None) -> GatewayError | None:
        """Asked inside T1's transaction: a caller who was told 503 meanwhile must not be charged."""
        if self._gave_up:
            return ledger_unavailable()
        self._applied = True
        return self._house.killswitch.refusal(pinned=self._plan.pinned, by_hand=by_hand)

    def _take_back(self, *, begun: bool) -> None:
        """T1 is given up. If it may be committed all the same, its hold is released as soon as the ledger is back."""
        self._gave_up = True
        if begun:
            end = broken(self._standing(), "ledger_unavailable")
            self._house.late.note(Owed(self._plan.facts, end))

    async def _attempts(self, grant: Grant) -> None:
        """Try targets in decision order until one answers, one was seen by the caller, or none is left."""
        remaining = list(self._plan.targets[1:])
        output, tries = grant.output_tokens, 0
        self._go_on()
        if self._scope.left:
            return
        while True:
            self._result = await self._attempt(grant, output)
            result = self._result
            tries += 1
            self._house.series.provider_calls.inc(self._target.model.provider, result.outcome)
            if result.complete or result.relayed or self._scope.left or self._ordinal + 1 >= ATTEMPTS_MAX:
                return
            if self._house.clock.monotonic_s() >= self._deadline_s:
                return
            again = result.retryable and tries < TRIES_PER_TARGET and (result.retry_after_s or 0) <= _RETRY_AFTER_MAX_S
            if again:
                await asyncio.sleep(result.retry_after_s or _BACKOFF_S * tries)
                following: int | None = await self._next(self._target)
            else:
                following, tries = None, 0
                while remaining and following is None:
                    following = await self._next(remaining.pop(0))
            if following is None:
                return
            output = following

    async def _next(self, target: Target) -> int | None:
        """Reserve for another attempt; ``None`` when the wallet or a cap refuses it, or the caller is gone."""
        if self._scope.left:
            return None
        last = ended(self._standing(), paid_by_house=True)
        attempt_id = new_id()
        unit = NextAttempt(
            facts=self._plan.facts,
            ended=last,
            ask=target.ask,
            attempt_id=attempt_id,
            provider=target.model.provider,
            model=target.model.slug,
        )
        try:
            output, held = await self._commits.commit(unit)
        except (GatewayError, TimeoutError):
            unit.void.set()
            self._go_on()
            return None
        self._hold_picousd = held
        self._failed_picousd += last.cost_picousd
        self._attempt_id, self._ordinal, self._target = attempt_id, self._ordinal + 1, target
        self._result = AttemptResult(outcome="cancelled", reason=NOT_SENT)
        self._go_on()
        granted: int = output
        return granted

    async def _attempt(self, capture: Grant | None, output: int) -> AttemptResult:
        house = self._house
        if capture is None:
            house.series.dispatch_without_capture.inc()
            raise RuntimeError("a send without a committed T1 was refused")
        self._state = move(self._state, State.DISPATCHED)
        # What stands here until the attempt has ended is what is recorded when it never gets to its end.
        self._result = AttemptResult(outcome="cancelled", reason="broken_off")
        total_s = max(0.001, self._deadline_s - house.clock.monotonic_s())
        return await self._dispatch.attempt(self._target, self._attempt_id, capture, output, total_s)

    async def _send(self, data: bytes) -> None:
        self._keep(data)
        if self._scope.left:
            return
        try:
            await self._open_stream()
            await self._sink.write(data)
        except CallerLeftError:
            # A connection may break before the server hears of it: such a call is paid like any other the caller left.
            self._scope.leave()

    async def _open_stream(self) -> None:
        if self._streaming:
            return
        self._streaming = True
        if self._state is State.DISPATCHED:
            self._state = move(self._state, State.ANSWERING)
        shown = headers(self._plan, self._target.model.slug, 0, self._dispatch.dropped)
        await self._sink.start_stream({**shown, "x-ainfera-stream-mode": self._dispatch.stream_mode})

    def _keep(self, data: bytes) -> None:
        if self._transcript is not None and self._transcript_bytes <= STORED_ANSWER_BYTES_MAX:
            self._transcript.append(data)
            self._transcript_bytes += len(data)

    def _standing(self) -> Standing:
        return Standing(
            target=self._target,
            attempt_id=self._attempt_id,
            ordinal=self._ordinal,
            result=self._result,
            left=self._scope.left,
            latency_us=self._house.clock.now_us() - self._started_us,
            failed_picousd=self._failed_picousd,
            baseline=self._plan.baseline,
        )

    # ---- T2 and the answer ----

    async def _finish(self, end: CallEnd) -> None:
        paid = min(end.charged_picousd, self._hold_picousd)
        final = last_bytes(self._plan, self._result, end, paid)
        end = self._with_stored_answer(end, final)
        settled = await self._settle(end)
        self._report(end, settled)
        if end.outcome is Outcome.CLIENT_CANCELLED:
            return
        if end.outcome is Outcome.SUCCEEDED:
            if self._plan.parsed.request.stream:
                await self._open_stream()
                await self._sink.finish(final)
            else:
                await self._sink.answer(headers(self._plan, end.attempt.model, paid, self._dispatch.dropped), final)
            return
        error = failure(self._plan, self._result, end, streaming=self._streaming)
        if not self._streaming:
            raise error
        parsed, trace_id = self._plan.parsed, self._plan.facts.trace_id
        await self._sink.finish(error_frame(parsed.dialect, error.status, error.code, error.message, trace_id))

    def _with_stored_answer(self, end: CallEnd, final: bytes) -> CallEnd:
        """An idempotent call keeps its whole answer, sealed; a call that was not answered whole frees its key."""
        if self._transcript is None or not final:
            return end
        whole = b"".join([*self._transcript, final])
        if len(whole) > STORED_ANSWER_BYTES_MAX or self._transcript_bytes > STORED_ANSWER_BYTES_MAX:
            return replace(end, answer_state="too_large")
        paid = min(end.charged_picousd, self._hold_picousd)
        facts = self._plan.facts
        streamed = self._plan.parsed.request.stream
        shown = headers(self._plan, end.attempt.model, paid, self._dispatch.dropped)
        record = msgspec.json.encode(StoredAnswer(streamed, facts.inference_id, facts.receipt_id, shown, whole))
        bound_to = associated_data(facts.agent_id, facts.idempotency_hash or "")
        sealed = base64.b64encode(seal(self._house.data_key, record, bound_to)).decode()
        return replace(end, answer_state="stored", answer_sealed=sealed)

    async def _settle(self, end: CallEnd) -> Settled | None:
        """T2, tried again for a moment; then it goes to the spool, and the caller has the answer all the same."""
        unit = SettleCall(self._plan.facts, end)
        self._state = move(self._state, State.SETTLED)
        clock = self._house.clock
        until_s, tried = clock.monotonic_s() + LEDGER_WAIT_S, False
        while not tried or clock.monotonic_s() < until_s:
            try:
                settled: Settled = await self._commits.commit(unit)
            except AlreadySettledError:
                if tried:
                    break  # by the try whose answer was lost, or by recovery: the spool's reader finds out
                _log.exception("a call was settled twice; the second is void", extra=self._ids("settled_twice"))
                return None
            except Exception:  # noqa: BLE001 - tried again, then kept
                _log.exception("T2 failed", extra=self._ids("t2_failed"))
                tried = True
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(_SETTLE_AGAIN_S)
                continue
            self._house.killswitch.spent(settled.paid_picousd)
            return settled
        self._owed = True
        await self._commits.to_its_end(self._house.late.keep(self._plan.facts, end))
        return None

    def _go_on(self) -> None:
        """Act on a cancellation that came while a commit was waited for."""
        if self._commits.cancelled:
            raise asyncio.CancelledError

    def _report(self, end: CallEnd, settled: Settled | None) -> None:
        extra = self._ids("inference")
        extra |= {
            "outcome": str(end.outcome),
            "model": end.attempt.model,
            "provider": end.attempt.provider,
            "attempts": end.attempt.ordinal + 1,
            "cost_usd": format_usd(settled.paid_picousd) if settled else None,
            "latency_ms": end.latency_us // 1000,
        }
        _log.info("inference", extra=extra)
        if settled is not None and settled.beyond_hold_picousd:
            extra = self._ids("billed_beyond_hold")
            _log.error(
                "provider billed beyond the hold", extra={**extra, "usd": format_usd(settled.beyond_hold_picousd)}
            )

    def _ids(self, event: str) -> dict[str, object]:
        facts = self._plan.facts
        return {
            "event": event,
            "trace_id": facts.trace_id,
            "inference_id": facts.inference_id,
            "agent_id": facts.agent_id,
        }
