"""The values of a decision: what it is made from, and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ainfera_gateway.canonical.request import Preset, TaskType
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.price import PROJECTION_STEP_PICOUSD, decimal_text, usd_per_million
from ainfera_gateway.money import format_usd
from ainfera_gateway.routing.rank import PresetSource

DECISION_FORMAT: Final = 1
MICRO_PER_USD: Final = 10**6

DecisionType = Literal["deterministic", "pinned"]
RouterName = Literal["ainfera-inference", "direct"]
FloorSource = Literal["caller", "task_type", "spend_policy"]
TaskTypeSource = Literal["caller", "default"]
RuleFired = Literal[
    "cheapest_clearing_floor",
    "m_allowed_veto_applied",
    "no_candidate_clears_floor",
    "no_candidate_enrolled",
    "pinned",
]
Reason = Literal[
    "eligible",
    "not_configured",
    "not_enrolled_no_price",
    "not_enrolled_no_q_prior",
    "m_allowed_veto",
    "capability_missing",
    "below_quality_floor",
    "exceeds_budget_cap",
    "exceeds_latency_cap",
    "below_agentic_floor",
]


Others = tuple[tuple[Reason, int], ...]
"""How many models that cannot be candidates fell to which gate, in the order of the gates."""


class Untold(Struct, frozen=True):
    """What a provider cannot be told: the member of the request, by its path, and a sentence for the caller."""

    field: str
    message: str


class DecisionInputs(Struct, frozen=True, kw_only=True):
    """Every fact a decision rests on.

    ``models`` are those that may be chosen, in any order: the catalog's candidates, or the one that was named. Of the
    others ``others`` says how many fell to which gate; ``catalog_version`` is the hash of the snapshot they all stand in.
    ``active_providers`` are those enabled and configured. ``rulings`` gives for a
    brand whether it is allowed, why, and the verdict's version; a brand that is not in it is not allowed (routed).
    ``budget_cap_picousd`` and ``latency_cap_ms`` are the lower of what the hint and the caps say.
    ``max_tokens`` is what the caller asked for, None when nothing was asked. ``uncarried`` is, by slug, what of the
    request a model's provider cannot be told; a model that is not in it can be told all.
    """

    models: tuple[Model, ...]
    active_providers: frozenset[str]
    rulings: Mapping[str, tuple[bool, str, int | None]]
    input_tokens: int
    max_tokens: int | None = None
    needs: frozenset[str] = frozenset()
    task_type: TaskType | None = None
    min_quality: Decimal | None = None
    policy_floor: Decimal | None = None
    budget_cap_picousd: int | None = None
    latency_cap_ms: int | None = None
    agentic_floor: Decimal | None = None
    preset: Preset | None = None
    policy_preset: Preset | None = None
    others: Others = ()
    catalog_version: str = ""
    uncarried: Mapping[str, Untold] = {}


class Candidate(Struct, frozen=True):
    """One model as the decision saw it. ``reason`` is ``eligible`` or the first gate that dropped it.

    ``detail`` adds what the gate found: the verdict's reason, or the capabilities that are missing, or ``dialect`` where
    the provider cannot be told all that was asked.
    """

    model: Model
    reason: Reason
    detail: str
    projected_picousd: int
    verdict_version: int | None

    @property
    def slug(self) -> str:
        """The model's slug."""
        return self.model.slug


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided and why. ``chosen`` is None on a reject, whose ``error_code`` the caller sees.

    ``fallbacks`` are in the order in which they may step in. ``candidates`` are in order of slug; the catalog's other
    models are counted in ``others`` and fixed by ``catalog_version``.
    ``decision_hash`` is the SHA-256, in hex, of ``canonical_bytes``. ``untold`` is set on a refusal for what could not
    be told to the model that would have served; as words for the caller it is no part of the canonical bytes, where
    the candidates that fell for it stand.
    """

    decision_type: DecisionType
    router: RouterName
    rule_fired: RuleFired
    error_code: str | None
    chosen: Model | None
    fallbacks: tuple[Model, ...]
    candidates: tuple[Candidate, ...]
    task_type: TaskType
    task_type_source: TaskTypeSource
    floor: Decimal
    floor_source: FloorSource
    preset: Preset
    preset_source: PresetSource
    fallback_allowed: bool
    budget_cap_picousd: int | None
    latency_cap_ms: int | None
    agentic_floor: Decimal | None
    input_tokens: int
    max_tokens: int | None
    needs: frozenset[str]
    policy_name: str
    policy_semver: str
    ruleset_hash: str
    others: Others = ()
    catalog_version: str = ""
    untold: Untold | None = None
    canonical: bytes = b""
    decision_hash: str = ""

    @property
    def slug(self) -> str | None:
        """The slug that was chosen, None on a reject."""
        return None if self.chosen is None else self.chosen.slug

    def candidate(self, slug: str) -> Candidate:
        """The candidate of that slug. Raises ``KeyError`` when the catalog had none."""
        for candidate in self.candidates:
            if candidate.model.slug == slug:
                return candidate
        raise KeyError(slug)

    @property
    def dropped(self) -> dict[Reason, int]:
        """How many models fell to which gate (``eligible`` among them), over the whole catalog."""
        counts: dict[Reason, int] = dict(self.others)
        for candidate in self.candidates:
            counts[candidate.reason] = counts.get(candidate.reason, 0) + 1
        return counts

    @property
    def verdict_versions(self) -> dict[str, int]:
        """Brand to the version of the verdict row that was read, for the outcome row."""
        pairs = {c.model.brand: c.verdict_version for c in self.candidates if c.verdict_version is not None}
        return dict(sorted(pairs.items()))


_encoder: Final = msgspec.json.Encoder(order="deterministic")
_usd_per_million = lru_cache(maxsize=4096)(usd_per_million)
_decimal_text = lru_cache(maxsize=4096)(decimal_text)


def canonical_bytes(decision: Decision) -> bytes:
    """Stable JSON of a decision: sorted keys, UTF-8, every amount and index a decimal string.

    Holds everything but the hash of itself; equal decisions give equal bytes in every process.
    """
    return decision.canonical or _encode(decision)


def sealed(decision: Decision) -> Decision:
    """The decision with its canonical bytes and their hash."""
    body = _encode(decision)
    return msgspec.structs.replace(decision, canonical=body, decision_hash=hashlib.sha256(body).hexdigest())


def decision_document(decision: Decision) -> dict[str, Any]:
    """The JSON form callers see: the canonical document and its hash."""
    document: dict[str, Any] = msgspec.json.decode(canonical_bytes(decision))
    document["decision_hash"] = decision.decision_hash
    return document


def _encode(decision: Decision) -> bytes:
    chosen = decision.chosen
    document = {
        "agentic_floor": _index(decision.agentic_floor),
        "budget_cap_usd": _usd(decision.budget_cap_picousd),
        "candidates": [_row(candidate) for candidate in decision.candidates],
        "catalog_version": decision.catalog_version,
        "decision_type": decision.decision_type,
        "error_code": decision.error_code,
        "fallback_allowed": decision.fallback_allowed,
        "fallbacks": [model.slug for model in decision.fallbacks],
        "floor": _index(decision.floor),
        "floor_source": decision.floor_source,
        "input_tokens": decision.input_tokens,
        "latency_cap_ms": decision.latency_cap_ms,
        "max_tokens": decision.max_tokens,
        "model": None if chosen is None else chosen.slug,
        "needs": sorted(decision.needs),
        "others": dict(decision.others),
        "policy_name": decision.policy_name,
        "policy_semver": decision.policy_semver,
        "preset": decision.preset,
        "preset_source": decision.preset_source,
        "provider": None if chosen is None else chosen.provider,
        "router": decision.router,
        "rule_fired": decision.rule_fired,
        "ruleset_hash": decision.ruleset_hash,
        "task_type": decision.task_type,
        "task_type_source": decision.task_type_source,
        "v": DECISION_FORMAT,
    }
    return _encoder.encode(document)


class _Row(Struct, frozen=True, gc=False):
    """A candidate as it is written; its fields stand in the order of their names."""

    agentic_index: str | None
    brand: str
    detail: str
    input_usd_per_mtok: str
    latency_ms: int | None
    output_usd_per_mtok: str
    prior: str | None
    projected_usd: str
    provider: str
    reason: Reason
    slug: str
    verdict_version: int | None


def _row(candidate: Candidate) -> _Row:
    model = candidate.model
    prices = model.prices
    # A projection is a whole number of micro-USD, so six places are exact.
    whole, micro = divmod(candidate.projected_picousd // PROJECTION_STEP_PICOUSD, MICRO_PER_USD)
    return _Row(
        _index(model.agentic_index),
        model.brand,
        candidate.detail,
        _usd_per_million(prices.input_picousd),
        model.latency_ms,
        _usd_per_million(prices.output_picousd),
        _index(model.prior),
        f"{whole}.{micro:06d}",
        model.provider,
        candidate.reason,
        model.slug,
        candidate.verdict_version,
    )


def _usd(picousd: int | None) -> str | None:
    return None if picousd is None else format_usd(picousd)


def _index(value: Decimal | None) -> str | None:
    return None if value is None else _decimal_text(value)
