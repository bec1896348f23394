"""From a parsed request to a plan: agent, model, state, kill switch, rate, decision, ask. Refusals in that order."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Engine, select

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.catalog.model import Catalog, Model
from ainfera_gateway.clock import Clock
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.ids import new_id, random_bytes
from ainfera_gateway.inference.facts import AgentFacts, Facts
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.plan import CallPlan, Target
from ainfera_gateway.inference.records import CallFacts, IdempotencyHit
from ainfera_gateway.inference.refusals import Refusals
from ainfera_gateway.inference.reserve import IDEMPOTENCY_TTL_US, agent_not_active
from ainfera_gateway.ledger.estimate import input_tokens
from ainfera_gateway.ledger.hold import ask
from ainfera_gateway.limits import Buckets
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.policy.verdicts import Verdict, rulings
from ainfera_gateway.providers.backend import Backends
from ainfera_gateway.routing.aliases import ROUTER_SLUG, Resolved, resolve
from ainfera_gateway.routing.decide import decide, pinned, refusal
from ainfera_gateway.routing.decision import Decision, DecisionInputs, canonical_bytes
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.tables import idempotency_keys
from ainfera_gateway.wire.openai_chat.request import ParsedChat

_IMAGE_TOKENS = 2_000
_MEDIA_NEEDS = frozenset({"vision", "audio", "documents"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, in which dialect (``openai`` or ``native``), under which trace."""

    caller: Caller
    trace_id: str
    span_id: str
    dialect: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked; with the hash of the Idempotency-Key and the fingerprint of the request, if a key came along."""

    parsed: ParsedChat
    key_hash: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes plans. Reads memory, and the database only for what memory has forgotten."""

    facts: Facts
    catalog: Catalog
    verdicts: Mapping[str, Verdict]
    backends: Backends
    killswitch: KillSwitch
    refusals: Refusals
    series: Series
    clock: Clock
    settings: Settings
    reader: Engine
    public_url: str
    rate: Buckets

    async def plan(self, origin: Origin, asked: Asked, headers: dict[str, str]) -> CallPlan:
        """The plan of one call; ``headers`` gains what every answer says of it, a refusal's included.

        Raises ``GatewayError``, or ``IdempotencyHit`` when the key was used before.
        """
        request = asked.parsed.request
        agent = await self._agent(origin, request.agent_id)
        facts_ids = (new_id(), new_id())
        audit_url = f"{self.public_url}/v1/audit/{agent.agent_id}/verify"
        headers |= {
            "x-ainfera-agent-id": agent.agent_id,
            "x-ainfera-inference-id": facts_ids[0],
            "x-ainfera-receipt-id": facts_ids[1],
            "x-ainfera-audit-url": audit_url,
        }
        resolved = self._resolve(request.model)
        if agent.status != "active":
            raise agent_not_active()
        if asked.key_hash is not None:
            await asyncio.to_thread(self._known_answer, agent.agent_id, asked.key_hash)
        is_pinned = not resolved.routed
        stopped = self.killswitch.refusal(pinned=is_pinned)
        if stopped is None:
            self._limit(agent.agent_id, headers)
        tokens = estimated_input(asked.parsed)
        decision = self._decide(agent, request, resolved, tokens)
        facts = self._facts(origin, asked, agent, decision, facts_ids)
        refused = stopped or refusal(decision) or self._one_choice(decision, request)
        if refused is not None:
            await self.refusals.note(facts, refused)
            raise refused
        serving = [model for model in (decision.chosen, *decision.fallbacks) if model is not None]
        targets = tuple(self._target(model, request, tokens) for model in serving)
        return CallPlan(facts, asked.parsed, targets, self._baseline(), audit_url, is_pinned)

    async def _agent(self, origin: Origin, reference: str | None) -> AgentFacts:
        named = reference or origin.caller.agent_id
        if named is None:
            raise GatewayError(
                422, "validation_error", "This key is bound to no agent: say which one in agent_id.", field="agent_id"
            )
        agent = await self.facts.agent(named, origin.caller.tenant_id)
        if agent is None:
            raise GatewayError(403, "forbidden", "agent_id names no agent of this key's tenant.", field="agent_id")
        return agent

    def _resolve(self, model: str) -> Resolved:
        resolved = resolve(model, self.catalog.models)
        if resolved.alias is not None:
            self.series.router_alias_hits.inc(resolved.alias)
        return resolved

    def _limit(self, agent_id: str, headers: dict[str, str]) -> None:
        admitted, left, wait_s = self.rate.take(agent_id)
        headers |= {
            "x-ratelimit-limit-requests": str(self.rate.limit),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{wait_s:.3f}s",
        }
        if not admitted:
            raise GatewayError(
                429,
                "rate_limited",
                "Too many calls a minute for this agent.",
                headers={"retry-after": str(int(wait_s) + 1)},
            )

    def _decide(self, agent: AgentFacts, request: ChatRequest, resolved: Resolved, tokens: int) -> Decision:
        hint = request.routing_hint
        models = tuple(self.catalog.models.values())
        inputs = DecisionInputs(
            models=models,
            active_providers=self.catalog.active_providers(self.backends.configured),
            rulings=rulings(
                (model.brand for model in models),
                self.verdicts,
                hint.context,
                allowed_brands=agent.allowed_brands,
                pinned=not resolved.routed,
            ),
            input_tokens=tokens,
            max_tokens=request.max_tokens,
            needs=request.needs,
            task_type=request.task_type,
            min_quality=hint.min_quality,
            budget_cap_picousd=request.budget_cap_picousd,
            latency_cap_ms=request.latency_cap_ms,
            agentic_floor=hint.agentic_floor,
            preset=hint.preset,
            policy_preset=agent.preset,  # type: ignore[arg-type]  # checked when it was stored
        )
        return decide(inputs) if resolved.routed else pinned(inputs, resolved.slug)

    def _facts(
        self, origin: Origin, asked: Asked, agent: AgentFacts, decision: Decision, ids: tuple[str, str]
    ) -> CallFacts:
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
            dialect=origin.dialect,
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

    def _one_choice(self, decision: Decision, request: ChatRequest) -> GatewayError | None:
        """A backend that bills one of several choices is not asked for several."""
        if request.n == 1 or decision.chosen is None:
            return None
        backend = self.backends.get(decision.chosen.provider)
        if backend is None or not backend.one_choice:
            return None
        return GatewayError(
            422, "unsupported_content", f"{decision.chosen.slug} gives one choice; ask for n=1.", field="n"
        )

    @staticmethod
    def _target(model: Model, request: ChatRequest, tokens: int) -> Target:
        return Target(
            model,
            ask(
                input_tokens=tokens,
                asked_tokens=request.max_tokens,
                model_output_max=model.max_output_tokens,
                input_price=max(model.prices.lines()[name] for name in model.prices.lines() if name != "output"),
                output_price=model.prices.output_picousd * request.n,
            ),
        )

    def _baseline(self) -> Model | None:
        """What routing is compared with: the best model that is configured here."""
        active = self.catalog.active_providers(self.backends.configured)
        known = [m for m in self.catalog.models.values() if m.prior is not None and m.provider in active]
        return max(known, key=lambda model: (model.prior, model.slug), default=None)

    def _known_answer(self, agent_id: str, key_hash: str) -> None:
        """Raise ``IdempotencyHit`` for a key that was used within a day."""
        columns = idempotency_keys.c
        statement = select(columns.state, columns.fingerprint, columns.inference_id, columns.answer_sealed).where(
            columns.agent_id == agent_id,
            columns.key_hash == key_hash,
            columns.created_us >= self.clock.now_us() - IDEMPOTENCY_TTL_US,
        )
        with self.reader.connect() as connection:
            row = connection.execute(statement).one_or_none()
        if row is not None:
            raise IdempotencyHit(*row)


def estimated_input(parsed: ParsedChat) -> int:
    """Input tokens of a request, an upper estimate from the bytes that carry its messages, tools and schema."""
    request = parsed.request
    spans = {m.key: (m.value_start, m.value_end) for m in parsed.members}
    named = [spans[name] for name in ("messages", "tools", "functions", "response_format") if name in spans]
    text = b"".join(parsed.body[start:end] for start, end in named)
    if request.needs & _MEDIA_NEEDS:
        # Media is billed by what it shows, not by the length of its base64.
        media = 0
        texts: list[str] = []
        for message in request.messages:
            for part in message.content if isinstance(message.content, tuple) else ():
                texts.append(part.text or "")
                media += part.text is None
            if isinstance(message.content, str):
                texts.append(message.content)
        tools = b"".join(parsed.body[start:end] for start, end in named[1:])
        return input_tokens("".join(texts).encode() + tools, len(request.messages)) + media * _IMAGE_TOKENS
    return input_tokens(text, len(request.messages))
