"""Send one attempt to whoever serves it: an HTTP provider by its wire, or an adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from ainfera_gateway.canonical.conversation import UnsupportedError
from ainfera_gateway.clock import Clock
from ainfera_gateway.inference.adapter_attempt import AdapterAttempt
from ainfera_gateway.inference.attempt import Attempt, AttemptResult, Scope, Send
from ainfera_gateway.inference.judge import NOT_CARRIED
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.late import LateSettlements
from ainfera_gateway.inference.plan import CallPlan, Target
from ainfera_gateway.inference.refusals import Refusals
from ainfera_gateway.inference.terms import adapter_terms, terms_of
from ainfera_gateway.ledger.hold import Grant
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.providers.adapter import AdapterRequest, ProviderAdapter
from ainfera_gateway.providers.backend import Backend, Backends
from ainfera_gateway.providers.http import UpstreamClient
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.wire.adapted import AdaptedPassage
from ainfera_gateway.wire.passages import caller_codec, open_passage


@dataclass(frozen=True, slots=True)
class House:
    """What a run needs of the rooms around it."""

    recorder: Recorder
    client: UpstreamClient
    backends: Backends
    killswitch: KillSwitch
    refusals: Refusals
    series: Series
    clock: Clock
    data_key: bytes
    owner: str
    attempt_timeout_s: float
    call_timeout_s: float
    drain_s: float
    rate_limit_rpm: int
    live: set[str]
    late: LateSettlements


class _Common(TypedDict):
    """What every kind of attempt is given."""

    streamed: bool
    salt: bytes
    scope: Scope
    idle_s: float
    total_s: float
    send: Send
    now_us: Callable[[], int]


class Dispatch:
    """The attempts of one call. ``dropped`` and ``stream_mode`` are those of the newest."""

    def __init__(self, house: House, plan: CallPlan, scope: Scope, send: Send) -> None:
        self._house = house
        self._plan = plan
        self._scope = scope
        self._send = send
        self.dropped: tuple[str, ...] = ()
        self.stream_mode = "native"

    async def attempt(
        self, target: Target, attempt_id: str, capture: Grant, output: int, total_s: float
    ) -> AttemptResult:
        """One attempt at ``target`` for at most ``output`` tokens and ``total_s`` seconds."""
        house, plan = self._house, self._plan
        common = _Common(
            streamed=plan.parsed.request.stream,
            salt=bytes.fromhex(plan.facts.hash_salt),
            scope=self._scope,
            idle_s=min(house.attempt_timeout_s, total_s),
            total_s=total_s,
            send=self._send,
            now_us=house.clock.now_us,
        )
        adapter = house.backends.adapter(target.model.provider)
        if adapter is not None:
            return await self._ask_adapter(adapter, target, attempt_id, output, common)
        backend = house.backends.get(target.model.provider)
        if backend is None:
            return AttemptResult(outcome="connect", reason="backend_not_ready", retryable=True)
        return await self._ask_provider(backend, target, attempt_id, capture, output, common)

    async def _ask_provider(
        self, backend: Backend, target: Target, attempt_id: str, capture: Grant, output: int, common: _Common
    ) -> AttemptResult:
        plan = self._plan
        wire = target.model.wire or backend.wire
        try:
            passage = open_passage(plan.parsed, terms_of(target, backend, output, plan.facts.inference_id))
        except UnsupportedError as exc:
            return AttemptResult(outcome="client_error", reason=NOT_CARRIED, message=exc.message)
        self.dropped, self.stream_mode = passage.dropped, "native"
        attempt = Attempt(
            client=self._house.client,
            backend=backend,
            capture=capture,
            passage=passage,
            headers=backend.headers(attempt_id, wire, plan.forwarded),
            query=plan.query if wire == "anthropic_messages" else "",
            **common,
        )
        return await attempt.run()

    async def _ask_adapter(
        self, adapter: ProviderAdapter, target: Target, attempt_id: str, output: int, common: _Common
    ) -> AttemptResult:
        parsed = self._plan.parsed
        terms = adapter_terms(target, output, self._plan.facts.inference_id)
        passage = AdaptedPassage(parsed, terms, caller_codec(parsed.dialect))
        self.dropped = passage.dropped
        self.stream_mode = "native" if adapter.supports_native_streaming() else "wrapped"
        asked = AdapterRequest(
            model=target.upstream_model,
            conversation=passage.conversation,
            max_tokens=output,
            attempt_id=attempt_id,
        )
        return await AdapterAttempt(adapter=adapter, request=asked, passage=passage, **common).run()
