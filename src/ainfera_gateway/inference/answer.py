"""What the caller is told when a call has ended: the last bytes of its answer, or the error in its place. Pure."""

from __future__ import annotations

import msgspec

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.attempt import AttemptResult
from ainfera_gateway.inference.judge import usage_of
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.plan import CallPlan
from ainfera_gateway.inference.records import CallEnd
from ainfera_gateway.money import format_usd
from ainfera_gateway.wire.openai_chat.answer import flat_answer, splice_answer


def last_bytes(plan: CallPlan, result: AttemptResult, end: CallEnd, paid_picousd: int) -> bytes:
    """The last frames of a stream, or the whole plain answer; empty when the answer is not whole."""
    if not result.complete or result.relay is None:
        return b""
    if plan.parsed.request.stream:
        return result.relay.finish(ainfera=_ainfera(plan, end, paid_picousd), usage=usage_of(end.attempt.tokens))
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
            cost_usd=format_usd(paid_picousd),
        )
    return splice_answer(result.body, end.attempt.model, _ainfera(plan, end, paid_picousd))


def headers(plan: CallPlan, model: str, paid_picousd: int) -> dict[str, str]:
    """Who served, and on plain answers what it cost; a stream's head leaves before that is known."""
    if plan.parsed.request.stream:
        return {"x-ainfera-model": model}
    return {"x-ainfera-model": model, "x-ainfera-cost-usd": format_usd(paid_picousd)}


def failure(plan: CallPlan, result: AttemptResult, end: CallEnd, *, streaming: bool) -> GatewayError:
    """The error of a call that was not answered whole; ``streaming`` once the caller has been sent something."""
    if end.outcome is Outcome.FAILED_OTHER:
        if end.code == "gateway_stopping":
            return GatewayError(503, "overloaded", "The gateway is stopping; try again.", headers={"retry-after": "1"})
        return GatewayError(500, "internal_server_error", "The gateway failed; nothing was charged.")
    final = {} if result.retryable else {"x-should-retry": "false"}
    detail = {"upstream_status": result.upstream_status, "provider": end.attempt.provider, "reason": result.reason}
    said = result.message or result.reason
    if plan.pinned or streaming:
        message = f"The provider {end.attempt.provider} failed: {said}."
        return GatewayError(502, "provider_error", message, detail=detail, headers=final)
    message = f"Every routed model failed after {end.attempt.ordinal + 1} attempts; the last one: {said}."
    return GatewayError(503, "all_routed_models_failed", message, detail=detail, headers=final)


def _ainfera(plan: CallPlan, end: CallEnd, paid_picousd: int) -> bytes:
    facts = plan.facts
    return msgspec.json.encode(
        {
            "agent_id": facts.agent_id,
            "inference_id": facts.inference_id,
            "receipt_id": facts.receipt_id,
            "audit_verify_url": plan.audit_url,
            "provider": end.attempt.provider,
            "cost_usd": format_usd(paid_picousd),
        }
    )
