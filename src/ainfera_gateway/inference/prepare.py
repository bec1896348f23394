"""From a parsed request to a plan: agent, model, state, kill switch, rate, decision, ask. Refusals in that order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, select

from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.catalog.model import Catalog, Model
from ainfera_gateway.clock import Clock
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.asked import Asked, Origin
from ainfera_gateway.inference.call_facts import call_facts
from ainfera_gateway.inference.carried import uncarried
from ainfera_gateway.inference.facts import AgentFacts, Facts
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.plan import CallPlan, Target
from ainfera_gateway.inference.records import IdempotencyHit
from ainfera_gateway.inference.refusals import Refusals
from ainfera_gateway.inference.reserve import IDEMPOTENCY_TTL_US, agent_not_active
from ainfera_gateway.inference.weigh import estimated_input, target_of
from ainfera_gateway.limits import Buckets
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.policy.verdicts import Verdict, rulings
from ainfera_gateway.providers.backend import Backends
from ainfera_gateway.routing.aliases import Resolved, resolve
from ainfera_gateway.routing.decide import decide, others, pinned
from ainfera_gateway.routing.decision import Decision, DecisionInputs
from ainfera_gateway.routing.refuse import refusal
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.read import read_soon
from ainfera_gateway.storage.tables import idempotency_keys
from ainfera_gateway.wire.parsed import Parsed


@dataclass(slots=True)
class Planner:
    """Makes plans. Reads memory, and the database only for what memory has forgotten.

    ``catalog`` is replaced as a whole when prices change; ``aliases`` are names for models that hold for every tenant.
    """

    facts: Facts
    catalog: Catalog
    aliases: Mapping[str, str]
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
        agent, resolved, ids = await self._admit(origin, request, headers)
        if asked.key_hash is not None:
            await read_soon(self._known_answer, agent.agent_id, asked.key_hash)
        is_pinned = not resolved.routed
        stopped = self.killswitch.refusal(pinned=is_pinned)
        if stopped is None:
            self._limit(agent.agent_id, headers)
        tokens = estimated_input(asked.parsed, resolved.slug)
        decision = self._decide(agent, asked.parsed, resolved, tokens, ids[0])
        facts = call_facts(origin, asked, agent, decision, ids)
        refused = stopped or refusal(decision)
        if refused is not None:
            await self.refusals.note(facts, refused)
            raise refused
        serving = [model for model in (decision.chosen, *decision.fallbacks) if model is not None]
        return CallPlan(
            facts,
            asked.parsed,
            tuple([target_of(model, request, tokens, resolved.upstream) for model in serving]),
            self._baseline(),
            headers["x-ainfera-audit-url"],
            is_pinned,
            forwarded=origin.forwarded,
            query=origin.query,
        )

    async def count(self, origin: Origin, parsed: Parsed, headers: dict[str, str]) -> tuple[Target | None, int]:
        """Where the input tokens of a request may be counted (None: here), and our own estimate of them.

        Counting is no inference: nothing is held, decided or recorded; it is limited like a call.
        """
        agent, resolved, _ = await self._admit(origin, parsed.request, headers)
        for name in ("x-ainfera-inference-id", "x-ainfera-receipt-id"):
            del headers[name]
        self._limit(agent.agent_id, headers)
        tokens = estimated_input(parsed, resolved.slug)
        if resolved.routed:
            return None, tokens
        return target_of(self.catalog.models[resolved.slug], parsed.request, tokens, resolved.upstream), tokens

    async def _admit(
        self, origin: Origin, request: ChatRequest, headers: dict[str, str]
    ) -> tuple[AgentFacts, Resolved, tuple[str, str]]:
        """Agent, model and state, refused in this order; ``headers`` gains the ids of the call and its receipt."""
        agent = await self._agent(origin, request.agent_id)
        ids = (new_id(), new_id())
        headers |= {
            "x-ainfera-agent-id": agent.agent_id,
            "x-ainfera-inference-id": ids[0],
            "x-ainfera-receipt-id": ids[1],
            "x-ainfera-audit-url": f"{self.public_url}/v1/audit/{agent.agent_id}/verify",
        }
        resolved = self._resolve(agent, request.model)
        if agent.status != "active":
            raise agent_not_active()
        return agent, resolved, ids

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

    def _resolve(self, agent: AgentFacts, model: str) -> Resolved:
        # A tenant's own name stands before the gateway's, and that before the catalog's: a slug may mean the router.
        model = agent.aliases.get(model) or self.aliases.get(model, model)
        resolved = resolve(model, self.catalog.models, self.catalog.names)
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

    def _decide(
        self, agent: AgentFacts, parsed: Parsed, resolved: Resolved, tokens: int, inference_id: str
    ) -> Decision:
        request = parsed.request
        hint = request.routing_hint
        catalog = self.catalog
        active = catalog.active_providers(self.backends.configured)
        models = catalog.candidates if resolved.routed else (catalog.models[resolved.slug],)
        inputs = DecisionInputs(
            models=models,
            others=others(catalog, active) if resolved.routed else (),
            catalog_version=catalog.version,
            active_providers=active,
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
            uncarried=uncarried(parsed, models, self.backends, tokens, inference_id),
            policy_preset=agent.preset,  # type: ignore[arg-type]  # checked when it was stored
        )
        return decide(inputs) if resolved.routed else pinned(inputs, resolved.slug)

    def _baseline(self) -> Model | None:
        """What routing is compared with: the best model that is configured here."""
        active = self.catalog.active_providers(self.backends.configured)
        known = [model for model in self.catalog.candidates if model.provider in active]
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
