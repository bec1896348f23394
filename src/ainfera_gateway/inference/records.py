"""What the rooms of the way hand each other about one call: frozen values, no behaviour beyond rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ainfera_gateway.inference.lifecycle import Outcome


@dataclass(frozen=True, slots=True)
class CallFacts:
    """All that is known of a call before it leaves. Money in pico-USD, ids as text."""

    inference_id: str
    receipt_id: str
    tenant_id: str
    agent_id: str
    trace_id: str
    span_id: str
    dialect: str
    streamed: bool
    requested_model: str
    task_type: str | None
    task_type_source: str | None
    policy_name: str
    policy_semver: str
    ruleset_hash: str
    decision_rule: str
    decision_type: str
    router: str
    decision: str
    decision_hash: str
    verdict_versions: str
    request_hash: str
    hash_salt: str
    projected_picousd: int
    tags: str | None
    fingerprint: str = ""
    idempotency_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by class. All but ``input``, ``output`` and the number of ``web_searches`` are parts of those two."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_output: int = 0
    web_searches: int = 0


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """One request that left, as it ended. ``outcome`` is a label of the provider-call series."""

    attempt_id: str
    ordinal: int
    provider: str
    model: str
    outcome: str
    upstream_status: int | None
    reason: str | None
    ttft_us: int | None
    latency_us: int
    tokens: Tokens
    cost_picousd: int
    usage_source: str

    def row(self, inference_id: str, now_us: int) -> dict[str, Any]:
        """The row of ``attempts``."""
        return {
            "id": self.attempt_id,
            "inference_id": inference_id,
            "ordinal": self.ordinal,
            "provider": self.provider,
            "model": self.model,
            "outcome": self.outcome,
            "upstream_status": self.upstream_status,
            "reason": self.reason,
            "ttft_us": self.ttft_us,
            "latency_us": self.latency_us,
            "input_tokens": self.tokens.input,
            "output_tokens": self.tokens.output,
            "cost_picousd": self.cost_picousd,
            "usage_source": self.usage_source,
            "created_us": now_us,
        }


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended and what is to be paid for it."""

    outcome: Outcome
    attempt: AttemptEnd
    charged_picousd: int
    latency_us: int
    response_hash: str
    answered: bool
    code: str | None = None
    baseline_picousd: int | None = None
    failed_attempts_picousd: int = 0
    answer_sealed: str | None = None
    answer_state: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What T2 committed. Money in pico-USD."""

    paid_picousd: int
    balance_after_picousd: int
    ledger_entry_id: str
    seq: int
    beyond_hold_picousd: int = 0


def outcome_row(
    facts: CallFacts,
    *,
    outcome: Outcome,
    now_us: int,
    tokens: Tokens = Tokens(),
    **known: Any,
) -> dict[str, Any]:
    """The row of ``routing_outcomes``; what a refusal never had stands at its neutral value."""
    row: dict[str, Any] = {
        "inference_id": facts.inference_id,
        "agent_id": facts.agent_id,
        "tenant_id": facts.tenant_id,
        "trace_id": facts.trace_id,
        "dialect": facts.dialect,
        "task_type": facts.task_type,
        "task_type_source": facts.task_type_source,
        "policy_name": facts.policy_name,
        "policy_semver": facts.policy_semver,
        "ruleset_hash": facts.ruleset_hash,
        "decision_rule": facts.decision_rule,
        "decision_type": facts.decision_type,
        "decision": facts.decision,
        "verdict_versions": facts.verdict_versions,
        "model": None,
        "provider": None,
        "propensity": "1",
        "projected_picousd": facts.projected_picousd,
        "cost_picousd": 0,
        "baseline_picousd": None,
        "ttft_us": None,
        "latency_us": 0,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cached_input_tokens": tokens.cached_input,
        "cache_write_tokens": tokens.cache_write,
        "reasoning_tokens": tokens.reasoning,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "audio_input_tokens": tokens.audio_input,
        "audio_output_tokens": tokens.audio_output,
        "web_searches": tokens.web_searches,
        "attempts": 0,
        "outcome_status": str(outcome),
        "refusal_code": None,
        "usage_source": "none",
        "tags": facts.tags,
        "created_us": now_us,
    }
    row.update(known)
    return row


class IdempotencyHit(Exception):  # noqa: N818 - not an error: the answer is known already
    """T1 found the key used before: ``state`` is in_flight, stored or too_large."""

    def __init__(self, state: str, fingerprint: str, inference_id: str, answer_sealed: str | None) -> None:
        super().__init__(state)
        self.state = state
        self.fingerprint = fingerprint
        self.inference_id = inference_id
        self.answer_sealed = answer_sealed
