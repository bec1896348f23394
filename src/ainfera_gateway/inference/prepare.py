"""From a parsed request to a plan: agent, model, state, kill switch, rate, decision, ask. Refusals in that order."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Engine, select

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.canonical.conversation import UnsupportedError
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
from ainfera_gateway.inference.terms import terms_of
from ainfera_gateway.ledger.estimate import input_tokens
from ainfera_gateway.ledger.hold import ask
from ainfera_gateway.limits import Buckets
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.policy.verdicts import Verdict, rulings
from ainfera_gateway.providers.backend import Backends
from ainfera_gateway.routing.aliases import ROUTER_SLUG, Resolved, resolve
from ainfera_gateway.routing.decide import decide, others, pinned, refusal
from ainfera_gateway.routing.decision import Decision, DecisionInputs, canonical_bytes
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.tables import idempotency_keys
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passages import crosses, open_passage

_MEDIA_TOKENS = 2_000
_AN_HOUR = frozenset({"cache_write_1h"})
"""The price of input kept for an hour is held only for a request that asks for that."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, under which trace, and what of the request's head belongs to its dialect."""

    caller: Caller
    trace_id: str
    span_id: str
    forwarded: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked; with the hash of the Idempotency-Key and the fingerprint of the request, if a key came along."""

    parsed: Parsed
    key_hash: str | None = None
    fingerprint: str = ""


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
            await asyncio.to_thread(self._known_answer, agent.agent_id, asked.key_hash)
        is_pinned = not resolved.routed
        stopped = self.killswitch.refusal(pinned=is_pinned)
        if stopped is None:
            self._limit(agent.agent_id, headers)
        tokens = estimated_input(asked.parsed)
        decision, targets, uncarried = self._routed(agent, asked.parsed, resolved, tokens, ids[0])
        facts = self._facts(origin, asked, agent, decision, ids)
        refused = stopped or uncarried or refusal(decision) or self._one_choice(decision, request)
        if refused is not None:
            await self.refusals.note(facts, refused)
            raise refused
        return CallPlan(
            facts,
            asked.parsed,
            targets,
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
        tokens = estimated_input(parsed)
        if resolved.routed:
            return None, tokens
        return self._target(self.catalog.models[resolved.slug], parsed.request, tokens, resolved.upstream), tokens

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
        self, agent: AgentFacts, request: ChatRequest, resolved: Resolved, tokens: int, uncarried: frozenset[str]
    ) -> Decision:
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
            uncarried=uncarried,
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

    def _routed(
        self, agent: AgentFacts, parsed: Parsed, resolved: Resolved, tokens: int, inference_id: str
    ) -> tuple[Decision, tuple[Target, ...], GatewayError | None]:
        """The decision and whom it sends the call to, in order; with the error where no dialect can say what was asked.

        Only those who would serve are tried, before anything is paid for; what one of them cannot be told makes another
        decision, so that the record says why it was passed over.
        """
        lost: dict[str, UnsupportedError] = {}
        while True:
            decision = self._decide(agent, parsed.request, resolved, tokens, frozenset(lost))
            serving = [model for model in (decision.chosen, *decision.fallbacks) if model is not None]
            targets = tuple(self._target(model, parsed.request, tokens, resolved.upstream) for model in serving)
            found = self._uncarried(parsed, targets, inference_id)
            lost |= found
            if not found or not resolved.routed:
                break
        first = next(iter(lost.values()), None)
        if first is None or (resolved.routed and decision.chosen is not None):
            return decision, targets, None
        return decision, (), GatewayError(422, "unsupported_content", first.message, field=first.field)

    def _uncarried(self, parsed: Parsed, targets: tuple[Target, ...], inference_id: str) -> dict[str, UnsupportedError]:
        """Slug to what its dialect cannot say. Within one dialect bytes pass through: only a translation is tried."""
        found: dict[str, UnsupportedError] = {}
        for target in targets:
            backend = self.backends.get(target.model.provider)
            if backend is None or not crosses(parsed, target.model.wire or backend.wire):
                continue
            try:
                open_passage(parsed, terms_of(target, backend, target.ask.output_tokens, inference_id))
            except UnsupportedError as exc:
                found[target.model.slug] = exc
        return found

    @staticmethod
    def _target(model: Model, request: ChatRequest, tokens: int, upstream: str | None) -> Target:
        input_price, output_price = model.prices.hold_prices(
            tokens, frozenset() if request.caches_an_hour else _AN_HOUR
        )
        return Target(
            model,
            ask(
                input_tokens=tokens,
                asked_tokens=request.max_tokens,
                model_output_max=model.max_output_tokens,
                input_price=input_price,
                output_price=output_price * request.n,
                thinking_tokens=request.thinking_tokens,
            ),
            upstream or model.upstream_model,
        )

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


def estimated_input(parsed: Parsed) -> int:
    """Input tokens of a request: an upper estimate from the text it carries, and a flat one for each piece of media."""
    weight = parsed.weigh()
    return input_tokens(weight.text, weight.messages) + weight.media * _MEDIA_TOKENS + weight.tokens
