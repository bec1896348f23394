"""The facts of one call as they are recorded, from who asked, what was asked and what was decided."""

from __future__ import annotations

import hmac

import msgspec

from ainfera_gateway.ids import random_bytes
from ainfera_gateway.inference.asked import Asked, Origin
from ainfera_gateway.inference.facts import AgentFacts
from ainfera_gateway.inference.records import CallFacts
from ainfera_gateway.routing.aliases import ROUTER_SLUG
from ainfera_gateway.routing.decision import Decision, canonical_bytes


def call_facts(origin: Origin, asked: Asked, agent: AgentFacts, decision: Decision, ids: tuple[str, str]) -> CallFacts:
    """Facts of the call whose id and whose receipt's id are ``ids``; the request itself stands in them as a salted hash."""
    salt = random_bytes(16)
    request = asked.parsed.request
    chosen = decision.chosen
    projected = 0 if chosen is None else decision.candidate(chosen.slug).projected_picousd
    return CallFacts(
        inference_id=ids[0],
        receipt_id=ids[1],
        tenant_id=agent.tenant_id,
        agent_id=agent.agent_id,
        trace_id=origin.trace_id,
        span_id=origin.span_id,
        dialect=asked.parsed.dialect,
        streamed=request.stream,
        requested_model=ROUTER_SLUG if decision.decision_type != "pinned" else decision.candidates[0].slug,
        task_type=decision.task_type,
        task_type_source=decision.task_type_source,
        policy_name=decision.policy_name,
        policy_semver=decision.policy_semver,
        ruleset_hash=decision.ruleset_hash,
        decision_rule=decision.rule_fired,
        decision_type=decision.decision_type,
        router=decision.router,
        decision=canonical_bytes(decision).decode(),
        decision_hash=decision.decision_hash,
        verdict_versions=msgspec.json.encode(decision.verdict_versions).decode(),
        request_hash=hmac.digest(salt, asked.parsed.body, "sha256").hex(),
        hash_salt=salt.hex(),
        projected_picousd=projected,
        tags=msgspec.json.encode(request.tags).decode() if request.tags else None,
        fingerprint=asked.fingerprint,
        idempotency_hash=asked.key_hash,
    )
