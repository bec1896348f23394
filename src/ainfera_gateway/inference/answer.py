"""What the caller is told when a call has ended: the last bytes of its answer, or the error in its place. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.attempt import TOOLS_NOT_SUPPORTED, AttemptResult
from ainfera_gateway.inference.judge import usage_of
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.plan import CallPlan
from ainfera_gateway.inference.records import CallEnd
from ainfera_gateway.money import format_usd
from ainfera_gateway.wire.passage import Closing

_LISTED_CHARS_MAX = 1000


def last_bytes(plan: CallPlan, result: AttemptResult, end: CallEnd, paid_picousd: int) -> bytes:
    """The last frames of a stream, or the whole plain answer; empty when the answer is not whole."""
    passage = result.passage
    if not result.complete or passage is None:
        return b""
    facts = plan.facts
    closing = Closing(
        agent_id=facts.agent_id,
        inference_id=facts.inference_id,
        receipt_id=facts.receipt_id,
        audit_url=plan.audit_url,
        provider=end.attempt.provider,
        model=end.attempt.model,
        cost_usd=format_usd(paid_picousd),
        usage=usage_of(end.attempt.tokens),
    )
    if plan.parsed.request.stream:
        return passage.finish(closing)
    if result.answer is None:
        return b""
    return passage.whole(result.answer, result.body, closing)


def headers(plan: CallPlan, model: str, paid_picousd: int, dropped: Sequence[str]) -> dict[str, str]:
    """Who served, what of the request it could not be told, and on plain answers what it cost.

    A stream's head leaves before its cost is known.
    """
    made = {"x-ainfera-model": model}
    if dropped:
        made["x-ainfera-dropped-fields"] = _listed(dropped)
    if not plan.parsed.request.stream:
        made["x-ainfera-cost-usd"] = format_usd(paid_picousd)
    return made


def _listed(fields: Sequence[str]) -> str:
    """Field paths as a header's value: printable ASCII, each once, cut at ``_LISTED_CHARS_MAX``."""
    clean = [
        "".join(char if "!" <= char <= "~" and char != "," else "?" for char in field)
        for field in dict.fromkeys(fields)
    ]
    text = ",".join(clean)
    return text if len(text) <= _LISTED_CHARS_MAX else text[: _LISTED_CHARS_MAX - 4].rpartition(",")[0] + ",..."


def failure(plan: CallPlan, result: AttemptResult, end: CallEnd, *, streaming: bool) -> GatewayError:
    """The error of a call that was not answered whole; ``streaming`` once the caller has been sent something."""
    if end.outcome is Outcome.FAILED_OTHER:
        if end.code == "gateway_stopping":
            return GatewayError(503, "overloaded", "The gateway is stopping; try again.", headers={"retry-after": "1"})
        return GatewayError(500, "internal_server_error", "The gateway failed; nothing was charged.")
    if result.reason == TOOLS_NOT_SUPPORTED and not streaming:
        model = end.attempt.model
        hint = "Leave out tools, or ask for ainfera-inference, which picks a model that takes them."
        return GatewayError(
            422,
            "tools_not_supported_by_backend",
            f"{model} takes no tools.",
            field="tools",
            detail={"backend": model, "hint": hint},
        )
    final = {} if result.retryable else {"x-should-retry": "false"}
    detail = {"upstream_status": result.upstream_status, "provider": end.attempt.provider, "reason": result.reason}
    if result.code is not None:
        detail["upstream_code"] = result.code
    if result.retry_after_s is not None:
        final["retry-after"] = str(int(result.retry_after_s))
    said = result.message or result.reason
    if plan.pinned or streaming:
        message = f"The provider {end.attempt.provider} failed: {said}."
        return GatewayError(502, "provider_error", message, detail=detail, headers=final)
    message = f"Every routed model failed after {end.attempt.ordinal + 1} attempts; the last one: {said}."
    return GatewayError(503, "all_routed_models_failed", message, detail=detail, headers=final)
