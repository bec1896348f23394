"""The decision: which model serves a request. A pure function of its inputs.

Gates run in the order of ``GATES`` and the first that fails names the drop. What passes all of them is ranked by the
preset (``rank.py``). Without a preset the cheapest model that clears the quality floor serves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from ainfera_gateway.canonical.needs import EMBEDDINGS, TOOLS
from ainfera_gateway.canonical.request import Preset, TaskType
from ainfera_gateway.catalog.model import Catalog, Model, model_unavailable
from ainfera_gateway.catalog.price import (
    OUTPUT_TOKENS_UNASKED,
    PROJECTION_STEP_PICOUSD,
    output_tokens_reserved,
    projected_picousd,
)
from ainfera_gateway.routing.decision import (
    Candidate,
    Decision,
    DecisionInputs,
    FloorSource,
    Others,
    Reason,
    RuleFired,
    Untold,
    sealed,
)
from ainfera_gateway.routing.rank import NO_FALLBACK, ORDERS, rank_key, ranking

POLICY_NAME: Final = "ainfera-deterministic"
POLICY_SEMVER: Final = "1.0.0"

FLOORS: Final[Mapping[TaskType, Decimal]] = {
    "reasoning": Decimal("0.88"),
    "code": Decimal("0.78"),
    "tool_use": Decimal("0.78"),
    "general": Decimal("0.68"),
    "chat": Decimal("0.58"),
    "extraction": Decimal("0.58"),
    "embed": Decimal("0.52"),
}
DEFAULT_TASK_TYPE: Final[TaskType] = "general"

GATES: Final[tuple[Reason, ...]] = (
    "not_configured",
    "not_enrolled_no_price",
    "not_enrolled_no_q_prior",
    "m_allowed_veto",
    "capability_missing",
    "below_quality_floor",
    "exceeds_budget_cap",
    "exceeds_latency_cap",
    "below_agentic_floor",
)
_BEFORE_CAPABILITY: Final = frozenset(GATES[: GATES.index("capability_missing")])
UNSUPPORTED: Final = "unsupported_content"
_CHAT: Final = "chat"
_DIALECT: Final = "dialect"
_NO_RULING: Final[tuple[bool, str, int | None]] = (False, "no verdict", None)


def _ruleset_hash() -> str:
    rules = {
        "default_task_type": DEFAULT_TASK_TYPE,
        "floors": {task: str(floor) for task, floor in FLOORS.items()},
        "gates": GATES,
        "no_fallback": sorted(NO_FALLBACK),
        "orders": dict(ORDERS),
        "output_tokens_unasked": OUTPUT_TOKENS_UNASKED,
        "projection": f"ceiling to {PROJECTION_STEP_PICOUSD} picousd",
        "policy": [POLICY_NAME, POLICY_SEMVER],
    }
    return hashlib.sha256(msgspec.json.encode(rules, order="deterministic")).hexdigest()


RULESET_HASH: Final = _ruleset_hash()


def decide(inputs: DecisionInputs) -> Decision:
    """Choose a model for a routed request, or say why none can serve; ``refusal`` makes the error of a reject."""
    floor, floor_source = quality_floor(inputs)
    candidates = tuple([_candidate(model, inputs, floor) for model in _by_slug(inputs.models)])
    order = ranking(inputs.preset, inputs.policy_preset)
    ranked = sorted(
        (candidate.model for candidate in candidates if candidate.reason == "eligible"),
        key=lambda model: rank_key(model, order.preset),
    )
    rule = _rule(candidates, ranked[0] if ranked else None, floor)
    untold = None if ranked else _untold(candidates, inputs, floor, order.preset)
    return sealed(
        Decision(
            decision_type="deterministic",
            router="ainfera-inference",
            rule_fired=rule,
            error_code=None if ranked else UNSUPPORTED if untold else rule,
            chosen=ranked[0] if ranked else None,
            fallbacks=tuple(ranked[1:]) if order.fallback_allowed else (),
            candidates=candidates,
            task_type=inputs.task_type or DEFAULT_TASK_TYPE,
            task_type_source="caller" if inputs.task_type else "default",
            floor=floor,
            floor_source=floor_source,
            preset=order.preset,
            preset_source=order.source,
            fallback_allowed=order.fallback_allowed,
            budget_cap_picousd=inputs.budget_cap_picousd,
            latency_cap_ms=inputs.latency_cap_ms,
            agentic_floor=inputs.agentic_floor,
            input_tokens=inputs.input_tokens,
            max_tokens=inputs.max_tokens,
            needs=inputs.needs,
            policy_name=POLICY_NAME,
            policy_semver=POLICY_SEMVER,
            ruleset_hash=RULESET_HASH,
            others=inputs.others,
            catalog_version=inputs.catalog_version,
            untold=untold,
        )
    )


def pinned(inputs: DecisionInputs, slug: str) -> Decision:
    """The decision about a model that the caller named: nothing is chosen and no quality, budget or latency gate runs.

    ``inputs.rulings`` is made for pinning (a brand without a verdict may be pinned). Refusals, in order:
    ``model_unavailable`` (no backend, no price), ``brand_not_allowed``, ``model_unavailable`` (an embedding model asked
    for chat, or the reverse), ``tools_not_supported_by_backend``, ``unsupported_content``. What a model of unknown
    capabilities can do is left to its provider to say.
    Raises ``GatewayError`` 422 ``model_unavailable`` when the slug is not in the catalog.
    """
    model = next((model for model in inputs.models if model.slug == slug), None)
    if model is None:
        raise model_unavailable(slug, None, "This model is not in the catalog; GET /v1/models lists it.")
    allowed, why, version = inputs.rulings.get(model.brand, _NO_RULING)
    reason, detail, error = _pin_gate(model, inputs, allowed, why)
    order = ranking(inputs.preset, inputs.policy_preset)
    task_type = inputs.task_type or DEFAULT_TASK_TYPE
    return sealed(
        Decision(
            decision_type="pinned",
            router="direct",
            rule_fired="pinned",
            error_code=error,
            chosen=None if error else model,
            fallbacks=(),
            candidates=(Candidate(model, reason, detail, _projection(model, inputs), version),),
            task_type=task_type,
            task_type_source="caller" if inputs.task_type else "default",
            floor=Decimal(0),
            floor_source="caller",
            preset=order.preset,
            preset_source=order.source,
            fallback_allowed=False,
            budget_cap_picousd=inputs.budget_cap_picousd,
            latency_cap_ms=inputs.latency_cap_ms,
            agentic_floor=inputs.agentic_floor,
            input_tokens=inputs.input_tokens,
            max_tokens=inputs.max_tokens,
            needs=inputs.needs,
            policy_name=POLICY_NAME,
            policy_semver=POLICY_SEMVER,
            ruleset_hash=RULESET_HASH,
            catalog_version=inputs.catalog_version,
            untold=inputs.uncarried.get(slug) if error == UNSUPPORTED else None,
        )
    )


def others(catalog: Catalog, active_providers: frozenset[str]) -> Others:
    """Of the models without a prior, how many fall to which gate; they can fall to no later one than the prior's.

    Worked out once for a catalog and the providers that are active.
    """
    return _others(catalog, active_providers)


@lru_cache(maxsize=16)
def _others(catalog: Catalog, active_providers: frozenset[str]) -> Others:
    counts: dict[Reason, int] = {}
    for model in catalog.models.values():
        reason = _not_enrolled(model, active_providers) if model.prior is None else None
        if reason is not None:
            counts[reason] = counts.get(reason, 0) + 1
    return tuple((reason, counts[reason]) for reason in GATES if reason in counts)


def quality_floor(inputs: DecisionInputs) -> tuple[Decimal, FloorSource]:
    """The floor a prior must reach: the caller's, else the task type's, raised (never lowered) by the spend policy."""
    if inputs.min_quality is not None:
        floor: Decimal = inputs.min_quality
        source: FloorSource = "caller"
    else:
        floor, source = FLOORS[inputs.task_type or DEFAULT_TASK_TYPE], "task_type"
    if inputs.policy_floor is not None and inputs.policy_floor > floor:
        return inputs.policy_floor, "spend_policy"
    return floor, source


def _by_slug(models: tuple[Model, ...]) -> list[Model]:
    return sorted(models, key=lambda model: model.slug)


def _projection(model: Model, inputs: DecisionInputs) -> int:
    reserved = output_tokens_reserved(inputs.max_tokens, model.max_output_tokens)
    return projected_picousd(model.prices, inputs.input_tokens, reserved)


def _candidate(model: Model, inputs: DecisionInputs, floor: Decimal) -> Candidate:
    allowed, why, version = inputs.rulings.get(model.brand, _NO_RULING)
    projected = _projection(model, inputs)
    reason, detail = _gate(model, inputs, floor, allowed, projected)
    return Candidate(model, reason, why if reason == "m_allowed_veto" else detail, projected, version)


def _gate(model: Model, inputs: DecisionInputs, floor: Decimal, allowed: bool, projected: int) -> tuple[Reason, str]:
    """The first gate that drops the model, or ``eligible``. The order is the contract's."""
    not_enrolled = _not_enrolled(model, inputs.active_providers)
    if not_enrolled is not None or model.prior is None:
        return not_enrolled or "not_enrolled_no_q_prior", ""
    if not allowed:
        return "m_allowed_veto", ""
    if model.makes_embeddings and EMBEDDINGS not in inputs.needs:
        return "capability_missing", _CHAT
    if not inputs.needs <= model.capabilities:
        return "capability_missing", ",".join(sorted(inputs.needs - model.capabilities))
    if _window_needed(model, inputs) > model.context_window:
        return "capability_missing", "context_window"
    if model.slug in inputs.uncarried:
        return "capability_missing", _DIALECT
    if model.prior < floor:
        return "below_quality_floor", ""
    if inputs.budget_cap_picousd is not None and projected > inputs.budget_cap_picousd:
        return "exceeds_budget_cap", ""
    if inputs.latency_cap_ms is not None and model.latency_ms is not None and model.latency_ms > inputs.latency_cap_ms:
        return "exceeds_latency_cap", ""
    if (
        inputs.agentic_floor is not None
        and model.agentic_index is not None
        and model.agentic_index < inputs.agentic_floor
    ):
        return "below_agentic_floor", ""
    return "eligible", ""


def _untold(candidates: tuple[Candidate, ...], inputs: DecisionInputs, floor: Decimal, preset: Preset) -> Untold | None:
    """What the model could not be told that would have served if it could have been; None where none would have."""
    told = msgspec.structs.replace(inputs, uncarried={})
    kept = [
        candidate.model
        for candidate in candidates
        if candidate.detail == _DIALECT
        and candidate.reason == "capability_missing"
        and _gate(candidate.model, told, floor, True, candidate.projected_picousd)[0] == "eligible"
    ]
    first = min(kept, key=lambda model: rank_key(model, preset), default=None)
    return None if first is None else inputs.uncarried[first.slug]


def _not_enrolled(model: Model, active_providers: frozenset[str]) -> Reason | None:
    """The first of the gates that no fact of a request can change, None for a model that passes them."""
    if not model.enabled or model.provider not in active_providers:
        return "not_configured"
    if not model.prices.is_priced or not model.prices.complete:
        return "not_enrolled_no_price"
    return "not_enrolled_no_q_prior" if model.prior is None else None


def _window_needed(model: Model, inputs: DecisionInputs) -> int:
    """Tokens the context window must hold: the input, and the output asked for; one token when none was asked."""
    return inputs.input_tokens + (1 if inputs.max_tokens is None else min(inputs.max_tokens, model.max_output_tokens))


def _rule(candidates: tuple[Candidate, ...], chosen: Model | None, floor: Decimal) -> RuleFired:
    if chosen is None:
        reached = any(candidate.reason not in _BEFORE_CAPABILITY for candidate in candidates)
        return "no_candidate_clears_floor" if reached else "no_candidate_enrolled"
    price = chosen.prices.combined_picousd
    for candidate in candidates:
        model = candidate.model
        if (
            candidate.reason == "m_allowed_veto"
            and model.prior is not None
            and model.prior >= floor
            and model.prices.combined_picousd < price
        ):
            return "m_allowed_veto_applied"
    return "cheapest_clearing_floor"


def _pin_gate(model: Model, inputs: DecisionInputs, allowed: bool, why: str) -> tuple[Reason, str, str | None]:
    if not model.enabled or model.provider not in inputs.active_providers:
        return "not_configured", "", "model_unavailable"
    if not model.prices.complete:
        return "not_enrolled_no_price", "", "model_unavailable"
    if not allowed:
        return "m_allowed_veto", why, "brand_not_allowed"
    if (EMBEDDINGS in inputs.needs) is not model.makes_embeddings:
        return "capability_missing", _CHAT if model.makes_embeddings else EMBEDDINGS, "model_unavailable"
    if TOOLS in inputs.needs and model.capabilities_known and TOOLS not in model.capabilities:
        return "capability_missing", TOOLS, "tools_not_supported_by_backend"
    if model.slug in inputs.uncarried:
        return "capability_missing", _DIALECT, UNSUPPORTED
    return "eligible", "", None
