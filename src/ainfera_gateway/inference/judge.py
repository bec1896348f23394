"""What a call costs and whom, by the contract's table of who pays. Pure; money in pico-USD."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.price import cost_picousd
from ainfera_gateway.inference.attempt import AttemptResult
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.plan import Target
from ainfera_gateway.inference.records import AttemptEnd, CallEnd, Tokens
from ainfera_gateway.ledger.estimate import output_tokens

NOT_SENT = "not_sent"
"""The reason of an attempt that never left."""
NOT_CARRIED = "request_not_carried"
"""The reason of an attempt that never left because the provider's dialect cannot say what was asked."""

_NOTHING = (Tokens(), "none")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a call stands when it is judged. ``failed_picousd`` is what its earlier attempts cost the house."""

    target: Target
    attempt_id: str
    ordinal: int
    result: AttemptResult
    left: bool
    latency_us: int
    failed_picousd: int
    baseline: Model | None


def judge(standing: Standing) -> CallEnd:
    """How the call ended, and what the agent is charged."""
    result = standing.result
    if standing.left:
        # A provider that had failed before the caller left has earned nothing.
        earned = result.complete or result.relayed or result.outcome == "cancelled"
        earned = earned and result.reason != NOT_SENT
        billed = _bill(standing, with_input=True) if earned else _NOTHING
        return _end(standing, Outcome.CLIENT_CANCELLED, billed=billed, answered=earned)
    if result.complete:
        return _end(standing, Outcome.SUCCEEDED, billed=_bill(standing, with_input=True), answered=True)
    if result.relayed and not result.empty:
        billed = _bill(standing, with_input=False)
        return _end(standing, Outcome.FAILED_PROVIDER_ERROR, billed=billed, answered=True, code="provider_error")
    return _end(standing, Outcome.FAILED_PROVIDER_ERROR, billed=_NOTHING, answered=False, code="provider_error")


def broken(standing: Standing, code: str) -> CallEnd:
    """The gateway itself could not go on: the agent pays nothing."""
    return _end(standing, Outcome.FAILED_OTHER, billed=_NOTHING, answered=False, code=code)


def ended(standing: Standing, *, paid_by_house: bool) -> AttemptEnd:
    """The attempt as it ended; with ``paid_by_house`` at what the provider says it cost."""
    result, target = standing.result, standing.target
    usage = result.usage if paid_by_house else None
    known = usage is not None and usage.known
    tokens = tokens_of(usage) if usage is not None and known else Tokens()
    return AttemptEnd(
        attempt_id=standing.attempt_id,
        ordinal=standing.ordinal,
        provider=target.model.provider,
        model=target.model.slug,
        outcome="cancelled" if standing.left and not result.complete else result.outcome,
        upstream_status=result.upstream_status,
        reason=result.reason,
        ttft_us=result.ttft_us,
        latency_us=result.latency_us,
        tokens=tokens,
        cost_picousd=_cost(tokens, target.model),
        usage_source="provider" if known else "none",
    )


def tokens_of(usage: Usage) -> Tokens:
    """Reported usage as tokens by class; what was not reported is 0."""
    return Tokens(
        input=usage.input_tokens or 0,
        output=usage.output_tokens or 0,
        cached_input=usage.cached_input_tokens or 0,
        cache_write=usage.cache_write_tokens or 0,
        reasoning=usage.reasoning_tokens or 0,
        cache_write_1h=usage.cache_write_1h_tokens or 0,
        audio_input=usage.audio_input_tokens or 0,
        audio_output=usage.audio_output_tokens or 0,
        web_searches=usage.web_searches or 0,
    )


def usage_of(tokens: Tokens) -> Usage:
    """Tokens by class as reported usage."""
    return Usage(
        tokens.input,
        tokens.output,
        tokens.cached_input,
        tokens.cache_write,
        tokens.reasoning,
        tokens.cache_write_1h,
        tokens.audio_input,
        tokens.audio_output,
        tokens.web_searches,
    )


def _bill(standing: Standing, *, with_input: bool) -> tuple[Tokens, str]:
    """Tokens to be paid and their source: the provider's usage, else an estimate of what was relayed."""
    usage = standing.result.usage
    if usage is not None and usage.known:
        return tokens_of(usage), "provider"
    counted = output_tokens(standing.result.text_bytes)
    given = standing.target.ask.input_tokens if with_input else 0
    if usage is None:
        return Tokens(input=given, output=counted), "estimated"
    known_in = usage.input_tokens if usage.input_tokens is not None else given
    known_out = usage.output_tokens if usage.output_tokens is not None else counted
    return Tokens(input=known_in, output=known_out), "estimated"


def _end(
    standing: Standing, outcome: Outcome, *, billed: tuple[Tokens, str], answered: bool, code: str | None = None
) -> CallEnd:
    tokens, source = billed
    cost = _cost(tokens, standing.target.model)
    attempt = replace(ended(standing, paid_by_house=False), tokens=tokens, cost_picousd=cost, usage_source=source)
    charged, failed = cost, standing.failed_picousd
    if outcome is Outcome.FAILED_OTHER or (outcome is Outcome.FAILED_PROVIDER_ERROR and not answered):
        house = ended(standing, paid_by_house=True)
        attempt = replace(
            attempt, tokens=house.tokens, cost_picousd=house.cost_picousd, usage_source=house.usage_source
        )
        charged, failed = 0, failed + house.cost_picousd
    return CallEnd(
        outcome=outcome,
        attempt=attempt,
        charged_picousd=charged,
        latency_us=standing.latency_us,
        response_hash=standing.result.response_hash,
        answered=answered,
        code=code,
        baseline_picousd=None if standing.baseline is None else _cost(tokens, standing.baseline),
        failed_attempts_picousd=failed,
    )


def _cost(tokens: Tokens, model: Model) -> int:
    return cost_picousd(usage_of(tokens), model.prices)
