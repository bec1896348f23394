"""The error that a caller sees for a decision which chose no model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ainfera_gateway.catalog.model import model_unavailable
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.routing.decision import Decision, Reason

_UNAVAILABLE: Final[Mapping[Reason, str]] = {
    "not_configured": "has no configured backend here",
    "not_enrolled_no_price": "has no price",
    "capability_missing": "does not serve this route: an embedding model makes embeddings, any other answers chat",
}


def refusal(decision: Decision) -> GatewayError | None:
    """The error a caller sees for a reject, None when a model was chosen."""
    code = decision.error_code
    if code is None:
        return None
    if decision.untold is not None:
        return GatewayError(422, code, decision.untold.message, field=decision.untold.field)
    if decision.decision_type == "deterministic":
        text = (
            "No model that may serve this request has a configured backend, a price, a quality prior and a verdict."
            if code == "no_candidate_enrolled"
            else f"No model meets the needs, caps and quality floor ({decision.floor}; see routing_hint.min_quality)."
        )
        return GatewayError(422, code, text, detail={"dropped": decision.dropped, "floor": str(decision.floor)})
    candidate = decision.candidates[0]
    model = candidate.model
    if code == "brand_not_allowed":
        return GatewayError(
            403,
            code,
            f"Models of {model.brand} are not allowed here: {candidate.detail}.",
            field="model",
            detail={"brand": model.brand, "model": model.slug, "verdict_version": candidate.verdict_version},
        )
    if code == "tools_not_supported_by_backend":
        return GatewayError(
            422,
            code,
            f"{model.slug} takes no tools.",
            field="tools",
            detail={
                "backend": model.slug,
                "hint": "Leave out tools, or ask for ainfera-inference, which picks a model that takes them.",
            },
        )
    why = _UNAVAILABLE[candidate.reason]
    if candidate.reason == "not_configured":
        why += f": its provider {model.provider} has no key or address, or is switched off"
    return model_unavailable(model.slug, model.provider, f"{model.slug} {why}.")
