"""One call from T1 to T2. Runs in a task that no request owns, so that a caller who hangs up still settles."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from ainfera_gateway.agents.secrets import seal
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.price import cost_picousd
from ainfera_gateway.clock import Clock
from ainfera_gateway.errors import GatewayError, ledger_unavailable
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.attempt import Attempt, AttemptResult, Scope
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.lifecycle import Outcome, State, move
from ainfera_gateway.inference.plan import CallPlan, Target
from ainfera_gateway.inference.records import AttemptEnd, CallEnd, IdempotencyHit, Settled, Tokens
from ainfera_gateway.inference.refusals import Refusals
from ainfera_gateway.inference.replay import StoredAnswer, associated_data
from ainfera_gateway.inference.reserve import NextAttempt, OpenCall
from ainfera_gateway.inference.settle import AlreadySettledError, SettleCall
from ainfera_gateway.ledger.estimate import output_tokens
from ainfera_gateway.ledger.hold import Grant
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.money import format_usd
from ainfera_gateway.providers.backend import Backends
from ainfera_gateway.providers.http import UpstreamClient
from ainfera_gateway.storage.page import Unit
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.wire.openai_chat.answer import flat_answer, splice_answer
from ainfera_gateway.wire.openai_chat.relay import StreamRelay, error_frame
from ainfera_gateway.wire.openai_chat.request import upstream_body

TRIES_PER_TARGET = 2
ATTEMPTS_MAX = 6
STORED_ANSWER_BYTES_MAX = 1024 * 1024
_BACKOFF_S = 0.1
_RETRY_AFTER_MAX_S = 2.0
_SETTLE_TRIES = 6

_log = logging.getLogger("ainfera.inference")


class Sink(Protocol):
    """Where the answer goes. Writing to a caller who is gone does nothing."""

    async def start_stream(self, headers: Mapping[str, str]) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self, data: bytes) -> None: ...

    async def answer(self, headers: Mapping[str, str], body: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class House:
    """What a run needs of the rooms around it."""

    recorder: Recorder
    client: UpstreamClient
    backends: Backends
    killswitch: KillSwitch
    refusals: Refusals
    series: Series
    clock: Clock
    data_key: bytes
    owner: str
    attempt_timeout_s: float
    call_timeout_s: float
    drain_s: float
    live: set[str]


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
        self._stopping = False
        self._transcript: list[bytes] | None = [] if plan.facts.idempotency_hash else None
        self._transcript_bytes = 0
        self._target = plan.first
        self._attempt_id = new_id()
        self._ordinal = 0
        self._result = AttemptResult(outcome="cancelled", reason="not_sent")

    @property
    def left(self) -> bool:
        """Whether the caller has hung up."""
        return self._scope.left

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
                end = self._judge()
            except asyncio.CancelledError:
                # The process is stopping: what was begun is ended in good order, at the house's cost.
                end = self._broken("gateway_stopping")
            except Exception:  # noqa: BLE001 - a bug of ours must settle too
                _log.exception("call failed inside the gateway", extra=self._ids("inference_error"))
                end = self._broken("internal_error")
            await self._finish(end)
        finally:
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
            gate=lambda: self._house.killswitch.refusal(pinned=plan.pinned),
        )
        try:
            grant: Grant = await self._shielded(unit)
        except IdempotencyHit:
            raise
        except GatewayError as error:
            await self._house.refusals.note(plan.facts, error)
            raise
        except Exception as exc:
            _log.exception("T1 failed", extra=self._ids("t1_failed"))
            raise ledger_unavailable() from exc
        self._state = move(self._state, State.RESERVED)
        self._hold_picousd = grant.amount_picousd
        return grant

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
        ended = self._ended(paid_by_house=True)
        attempt_id = new_id()
        unit = NextAttempt(
            facts=self._plan.facts,
            ended=ended,
            ask=target.ask,
            attempt_id=attempt_id,
            provider=target.model.provider,
            model=target.model.slug,
        )
        try:
            output, held = await self._shielded(unit)
        except GatewayError:
            self._go_on()
            return None
        self._hold_picousd = held
        self._failed_picousd += ended.cost_picousd
        self._attempt_id, self._ordinal, self._target = attempt_id, self._ordinal + 1, target
        self._result = AttemptResult(outcome="cancelled", reason="not_sent")
        self._go_on()
        granted: int = output
        return granted

    async def _attempt(self, capture: Grant | None, output: int) -> AttemptResult:
        house, plan, target = self._house, self._plan, self._target
        if capture is None:
            house.series.dispatch_without_capture.inc()
            raise RuntimeError("a send without a committed T1 was refused")
        self._state = move(self._state, State.DISPATCHED)
        backend = house.backends.get(target.model.provider)
        if backend is None:
            return AttemptResult(outcome="connect", reason="backend_not_ready", retryable=True)
        request = plan.parsed.request
        body = upstream_body(
            plan.parsed,
            model=target.model.upstream_model,
            max_tokens=output,
            max_tokens_field=backend.max_tokens_field,
            drop=backend.drop_fields,
            ask_usage=backend.knows_usage_option,
        )
        attempt = Attempt(
            client=house.client,
            backend=backend,
            attempt_id=self._attempt_id,
            capture=capture,
            body=body,
            streamed=request.stream,
            relay=StreamRelay(model=target.model.slug, include_usage=request.include_usage),
            salt=bytes.fromhex(plan.facts.hash_salt),
            scope=self._scope,
            idle_s=min(house.attempt_timeout_s, max(0.001, self._deadline_s - house.clock.monotonic_s())),
            send=self._send,
            now_us=house.clock.now_us,
        )
        # What stands here until the attempt has ended is what is recorded when it never gets to its end.
        self._result = AttemptResult(outcome="cancelled", reason="broken_off")
        return await attempt.run()

    async def _send(self, data: bytes) -> None:
        self._keep(data)
        if self._scope.left:
            return
        if not self._streaming:
            self._streaming = True
            self._state = move(self._state, State.ANSWERING)
            await self._sink.start_stream({**self._headers(), "x-ainfera-stream-mode": "native"})
        await self._sink.write(data)

    def _keep(self, data: bytes) -> None:
        if self._transcript is not None and self._transcript_bytes <= STORED_ANSWER_BYTES_MAX:
            self._transcript.append(data)
            self._transcript_bytes += len(data)

    # ---- what it costs, by the contract's table of who pays ----

    def _judge(self) -> CallEnd:
        result = self._result
        if self._scope.left:
            # A provider that had failed before the caller left has earned nothing.
            earned = result.complete or result.relayed or result.outcome == "cancelled"
            earned = earned and result.reason != "not_sent"
            billed = self._bill(with_input=True) if earned else (Tokens(), "none")
            return self._end(Outcome.CLIENT_CANCELLED, billed=billed, answered=earned)
        if result.complete:
            return self._end(Outcome.SUCCEEDED, billed=self._bill(with_input=True), answered=True)
        if result.relayed and not result.empty:
            billed = self._bill(with_input=False)
            return self._end(Outcome.FAILED_PROVIDER_ERROR, billed=billed, answered=True, code="provider_error")
        return self._end(
            Outcome.FAILED_PROVIDER_ERROR, billed=(Tokens(), "none"), answered=False, code="provider_error"
        )

    def _broken(self, code: str) -> CallEnd:
        return self._end(Outcome.FAILED_OTHER, billed=(Tokens(), "none"), answered=False, code=code)

    def _bill(self, *, with_input: bool) -> tuple[Tokens, str]:
        """Tokens to be paid and their source: the provider's usage, else an estimate of what was relayed."""
        usage = self._result.usage
        if usage is not None and usage.known:
            return tokens_of(usage), "provider"
        if self._result.reason == "not_sent":
            return Tokens(), "none"
        counted = output_tokens(self._result.text_bytes)
        given = self._target.ask.input_tokens if with_input else 0
        if usage is not None:
            known_in = usage.input_tokens if usage.input_tokens is not None else given
            known_out = usage.output_tokens if usage.output_tokens is not None else counted
            return Tokens(input=known_in, output=known_out), "estimated"
        return Tokens(input=given, output=counted), "estimated"

    def _end(self, outcome: Outcome, *, billed: tuple[Tokens, str], answered: bool, code: str | None = None) -> CallEnd:
        tokens, source = billed
        cost = self._cost(tokens, self._target.model)
        attempt = replace(self._ended(paid_by_house=False), tokens=tokens, cost_picousd=cost, usage_source=source)
        charged = cost
        failed = self._failed_picousd
        if outcome is Outcome.FAILED_OTHER or (outcome is Outcome.FAILED_PROVIDER_ERROR and not answered):
            house = self._ended(paid_by_house=True)
            attempt = replace(
                attempt, tokens=house.tokens, cost_picousd=house.cost_picousd, usage_source=house.usage_source
            )
            charged, failed = 0, failed + house.cost_picousd
        baseline = self._plan.baseline
        return CallEnd(
            outcome=outcome,
            attempt=attempt,
            charged_picousd=charged,
            latency_us=self._house.clock.now_us() - self._started_us,
            response_hash=self._result.response_hash,
            answered=answered,
            code=code,
            baseline_picousd=None if baseline is None else self._cost(tokens, baseline),
            failed_attempts_picousd=failed,
        )

    def _ended(self, *, paid_by_house: bool) -> AttemptEnd:
        """The attempt as it ended; with ``paid_by_house`` at what the provider says it cost."""
        result, target = self._result, self._target
        usage = result.usage if paid_by_house else None
        known = usage is not None and usage.known
        tokens = tokens_of(usage) if usage is not None and known else Tokens()
        return AttemptEnd(
            attempt_id=self._attempt_id,
            ordinal=self._ordinal,
            provider=target.model.provider,
            model=target.model.slug,
            outcome="cancelled" if self._scope.left and not result.complete else result.outcome,
            upstream_status=result.upstream_status,
            reason=result.reason,
            ttft_us=result.ttft_us,
            latency_us=result.latency_us,
            tokens=tokens,
            cost_picousd=self._cost(tokens, target.model),
            usage_source="provider" if known else "none",
        )

    @staticmethod
    def _cost(tokens: Tokens, model: Model) -> int:
        usage = Usage(tokens.input, tokens.output, tokens.cached_input, tokens.cache_write, tokens.reasoning)
        return cost_picousd(usage, model.prices)

    # ---- T2 and the answer ----

    async def _finish(self, end: CallEnd) -> None:
        paid = min(end.charged_picousd, self._hold_picousd)
        final = self._final_bytes(end, paid)
        end = self._with_stored_answer(end, final)
        settled = await self._settle(end)
        self._report(end, settled)
        if end.outcome is Outcome.CLIENT_CANCELLED:
            return
        if end.outcome is Outcome.SUCCEEDED:
            if self._streaming:
                await self._sink.finish(final)
            else:
                await self._sink.answer(self._plain_headers(end, paid), final)
            return
        error = self._failure(end)
        if not self._streaming:
            raise error
        await self._sink.finish(error_frame(error.status, error.code, error.message))

    def _final_bytes(self, end: CallEnd, paid: int) -> bytes:
        """The last frames of a stream, or the whole plain answer; empty when the answer is not whole."""
        result, plan = self._result, self._plan
        if not result.complete or result.relay is None:
            return b""
        if plan.parsed.request.stream:
            tokens = end.attempt.tokens
            usage = Usage(tokens.input, tokens.output, tokens.cached_input, tokens.cache_write, tokens.reasoning)
            return result.relay.finish(ainfera=self._ainfera(end, paid), usage=usage)
        if plan.facts.dialect == "native" and result.answer is not None:
            return flat_answer(
                result.answer,
                agent_id=plan.facts.agent_id,
                inference_id=plan.facts.inference_id,
                receipt_id=plan.facts.receipt_id,
                model_used=end.attempt.model,
                provider=end.attempt.provider,
                input_tokens=end.attempt.tokens.input,
                output_tokens=end.attempt.tokens.output,
                cost_usd=format_usd(paid),
            )
        return splice_answer(result.body, end.attempt.model, self._ainfera(end, paid))

    def _ainfera(self, end: CallEnd, paid: int) -> bytes:
        facts = self._plan.facts
        return msgspec.json.encode(
            {
                "agent_id": facts.agent_id,
                "inference_id": facts.inference_id,
                "receipt_id": facts.receipt_id,
                "audit_verify_url": self._plan.audit_url,
                "provider": end.attempt.provider,
                "cost_usd": format_usd(paid),
            }
        )

    def _headers(self) -> dict[str, str]:
        return {"x-ainfera-model": self._target.model.slug}

    def _plain_headers(self, end: CallEnd, paid: int) -> dict[str, str]:
        return {"x-ainfera-model": end.attempt.model, "x-ainfera-cost-usd": format_usd(paid)}

    def _with_stored_answer(self, end: CallEnd, final: bytes) -> CallEnd:
        """An idempotent call keeps its whole answer, sealed; a call that was not answered whole frees its key."""
        if self._transcript is None or not final:
            return end
        whole = b"".join([*self._transcript, final])
        if len(whole) > STORED_ANSWER_BYTES_MAX or self._transcript_bytes > STORED_ANSWER_BYTES_MAX:
            return replace(end, answer_state="too_large")
        paid = min(end.charged_picousd, self._hold_picousd)
        streamed = self._plan.parsed.request.stream
        headers = self._headers() if streamed else self._plain_headers(end, paid)
        facts = self._plan.facts
        record = msgspec.json.encode(StoredAnswer(streamed, facts.inference_id, facts.receipt_id, headers, whole))
        bound_to = associated_data(facts.agent_id, facts.idempotency_hash or "")
        sealed = base64.b64encode(seal(self._house.data_key, record, bound_to)).decode()
        return replace(end, answer_state="stored", answer_sealed=sealed)

    async def _settle(self, end: CallEnd) -> Settled | None:
        """T2, tried again when the database does not answer; a call that stays open is recovered at the next start."""
        unit = SettleCall(self._plan.facts, end)
        self._state = move(self._state, State.SETTLED)
        for attempt in range(_SETTLE_TRIES):
            try:
                settled: Settled = await self._shielded(unit)
            except AlreadySettledError:
                _log.exception("a call was settled twice; the second is void", extra=self._ids("settled_twice"))
                return None
            except Exception:  # noqa: BLE001 - tried again, then left to recovery
                _log.exception("T2 failed", extra=self._ids("t2_failed"))
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.05 * 2**attempt)
                continue
            self._house.killswitch.spent(settled.paid_picousd)
            return settled
        _log.error("T2 given up; the hold stays for recovery", extra=self._ids("t2_given_up"))
        return None

    async def _shielded(self, unit: Unit) -> Any:
        """Wait for a commit even while this task is being cancelled: it is under way either way."""
        work = asyncio.ensure_future(self._house.recorder.submit(unit))
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.cancelled():
                    raise
                self._stopping = True

    def _go_on(self) -> None:
        """Act on a cancellation that came while a commit was waited for."""
        if self._stopping:
            raise asyncio.CancelledError

    def _failure(self, end: CallEnd) -> GatewayError:
        if end.outcome is Outcome.FAILED_OTHER:
            if end.code == "gateway_stopping":
                return GatewayError(
                    503, "overloaded", "The gateway is stopping; try again.", headers={"retry-after": "1"}
                )
            return GatewayError(500, "internal_server_error", "The gateway failed; nothing was charged.")
        result = self._result
        headers = {} if result.retryable else {"x-should-retry": "false"}
        detail = {"upstream_status": result.upstream_status, "provider": end.attempt.provider, "reason": result.reason}
        said = result.message or result.reason
        if self._plan.pinned or self._streaming:
            message = f"The provider {end.attempt.provider} failed: {said}."
            return GatewayError(502, "provider_error", message, detail=detail, headers=headers)
        message = f"Every routed model failed after {end.attempt.ordinal + 1} attempts; the last one: {said}."
        return GatewayError(503, "all_routed_models_failed", message, detail=detail, headers=headers)

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


def tokens_of(usage: Usage) -> Tokens:
    """Reported usage as tokens by class; what was not reported is 0."""
    return Tokens(
        input=usage.input_tokens or 0,
        output=usage.output_tokens or 0,
        cached_input=usage.cached_input_tokens or 0,
        cache_write=usage.cache_write_tokens or 0,
        reasoning=usage.reasoning_tokens or 0,
    )
