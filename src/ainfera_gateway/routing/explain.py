"""One sentence that says why a decision came out as it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ainfera_gateway.canonical.request import Preset
from ainfera_gateway.catalog.price import decimal_text, usd_per_million
from ainfera_gateway.routing.decision import Decision, Reason

_DROPS: Final[Mapping[Reason, str]] = {
    "not_configured": "without a configured backend",
    "not_enrolled_no_price": "without a price",
    "not_enrolled_no_q_prior": "without a quality prior",
    "m_allowed_veto": "vetoed by a verdict",
    "capability_missing": "lacking a needed capability",
    "below_quality_floor": "below the quality floor",
    "exceeds_budget_cap": "over the budget",
    "exceeds_latency_cap": "over the latency cap",
    "below_agentic_floor": "below the agentic floor",
}
_PICKS: Final[Mapping[Preset, str]] = {
    "quality_first": "has the highest quality prior",
    "latency_first": "has the lowest known latency, then price,",
}


def explain(decision: Decision) -> str:
    """Why this model, or why none, in one English sentence without any text of the request."""
    if decision.decision_type == "pinned":
        return _pinned(decision)
    floor = decimal_text(decision.floor)
    if decision.chosen is None:
        return f"No model serves at a quality floor of {floor}: {_dropped(decision)}."
    model = decision.chosen
    eligible = sum(candidate.reason == "eligible" for candidate in decision.candidates)
    pick = _PICKS.get(decision.preset, "is the cheapest")
    price = f"{usd_per_million(model.prices.input_picousd)} + {usd_per_million(model.prices.output_picousd)}"
    prior = "none" if model.prior is None else decimal_text(model.prior)
    veto = ", a cheaper one having been vetoed by a verdict" if decision.rule_fired == "m_allowed_veto_applied" else ""
    return (
        f"{model.slug} {pick} of {eligible} model{'' if eligible == 1 else 's'} that clear{'s' if eligible == 1 else ''}"
        f" the quality floor of {floor} and every other gate"
        f" ({price} USD per million tokens in + out, prior {prior}){veto}."
    )


def _pinned(decision: Decision) -> str:
    candidate = decision.candidates[0]
    if decision.error_code is None:
        return f"{candidate.slug} was named by the caller, so no choice was made."
    why = candidate.detail if candidate.reason == "m_allowed_veto" else ""
    return f"{candidate.slug} was named by the caller but is {_DROPS[candidate.reason]}{f' ({why})' if why else ''}."


def _dropped(decision: Decision) -> str:
    counts = decision.dropped
    parts = [f"{counts[reason]} {text}" for reason, text in _DROPS.items() if reason in counts]
    return ", ".join(parts) if parts else "the catalog is empty"
