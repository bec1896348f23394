"""Calls written straight through the units that end them, at a moment that the test chooses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.records import AttemptEnd, CallEnd, CallFacts, Tokens
from ainfera_gateway.inference.reserve import OpenCall
from ainfera_gateway.inference.settle import RefuseCall, SettleCall
from ainfera_gateway.ledger.hold import Ask
from ainfera_gateway.storage.page import Keys, Page

COST_PICOUSD = 150 * 10**6
TOKENS = Tokens(input=100, output=50, cached_input=40, cache_write=7, reasoning=11)


@dataclass(frozen=True)
class At:
    """A unit as if it were committed at ``at_us``."""

    unit: Any
    at_us: int

    def keys(self) -> Keys:
        keys: Keys = self.unit.keys()
        return keys

    def apply(self, page: Page) -> Any:
        now_us, page.now_us = page.now_us, self.at_us
        try:
            return self.unit.apply(page)
        finally:
            page.now_us = now_us


def facts(agent: dict[str, Any], **more: Any) -> CallFacts:
    tags = more.pop("tags", None)
    known: dict[str, Any] = {
        "inference_id": new_id(), "receipt_id": new_id(), "tenant_id": agent["tenant_id"],
        "agent_id": agent["agent_id"], "trace_id": "ab" * 16, "span_id": "cd" * 8, "dialect": "openai",
        "streamed": False, "requested_model": "ainfera-inference", "task_type": "general",
        "task_type_source": "default", "policy_name": "balanced", "policy_semver": "1.0.0", "ruleset_hash": "r",
        "decision_rule": "cheapest_clearing_floor", "decision_type": "deterministic", "router": "ainfera-inference",
        "decision": '{"candidates":[]}', "decision_hash": "d" * 64, "verdict_versions": '{"mistral":1}',
        "request_hash": "q" * 64, "hash_salt": "5a" * 16, "projected_picousd": 10**10,
        "tags": None if tags is None else json.dumps(tags),
    }  # fmt: skip
    return CallFacts(**{**known, **more})


def units(
    agent: dict[str, Any], *, model: str = "mistral-large-3", provider: str = "mistral",
    cost_picousd: int = COST_PICOUSD, baseline_picousd: int | None = None, outcome: str = "succeeded", **more: Any,
) -> tuple[OpenCall, SettleCall]:  # fmt: skip
    """What begins and what ends one call."""
    call = facts(agent, **more)
    opened = OpenCall(
        call, Ask(1_000, 1_000, 1_000, 2_000_000, 6_000_000), new_id(), provider, model, "me", lambda _: None
    )
    attempt = AttemptEnd(
        opened.attempt_id, 0, provider, model, "ok", 200, None, 2_000, 9_000, TOKENS, cost_picousd, "provider"
    )
    end = CallEnd(
        Outcome(outcome), attempt, cost_picousd, 9_500, "a" * 64, answered=True, baseline_picousd=baseline_picousd
    )
    return opened, SettleCall(call, end)


def record(app: Any, agent: dict[str, Any], *, at_us: int | None = None, **more: Any) -> str:
    """One ended call; its id."""
    opened, ended = units(agent, **more)
    app.run(app.recorder.submit(opened))
    app.run(app.recorder.submit(ended if at_us is None else At(ended, at_us)))
    return opened.facts.inference_id


def refuse(app: Any, agent: dict[str, Any], *, at_us: int | None = None, **more: Any) -> str:
    """One refused call; its id."""
    refused = RefuseCall(facts(agent, **more), Outcome.REJECTED_CAP, "spend_policy_exceeded")
    app.run(app.recorder.submit(refused if at_us is None else At(refused, at_us)))
    return refused.facts.inference_id
