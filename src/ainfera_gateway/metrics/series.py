"""The gateway's own series, exactly as the contract names them, all standing at 0 from the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from ainfera_gateway.clock import Clock
from ainfera_gateway.metrics.registry import Label, Registry

PATHS_MAX = 200
PROVIDERS_MAX = 64
UNMATCHED = "unmatched"

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
PROVIDER_OUTCOMES = (
    "ok",
    "client_error",
    "rate_limited",
    "server_error",
    "timeout",
    "connect",
    "cancelled",
    "invalid",
)
ROUTER_ALIASES = ("ainfera-mithril", "ainfera-auto", "ainfera/auto")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_STATUSES = frozenset(str(status) for status in range(100, 600))
_PICO = Decimal(10) ** -12


class Series:
    """Every series of one process. ``providers`` (slugs) and ``laws`` (names) are known up front."""

    def __init__(
        self, registry: Registry, clock: Clock, *, version: str, providers: Iterable[str] = (), laws: Iterable[str] = ()
    ) -> None:
        self.registry = registry
        self._clock = clock
        self._laws = tuple(laws)
        self._laws_checked_us: int | None = None
        self._newest_event_us: int | None = None
        method = Label("method", values=_METHODS)
        path = Label("path", values_max=PATHS_MAX, reserved=frozenset({UNMATCHED}))
        self.http_requests = registry.counter(
            "ainfera_http_requests_total",
            "Requests answered, by method, route template and status.",
            (method, path, Label("status", values=_STATUSES)),
        )
        self.http_request_duration = registry.histogram(
            "ainfera_http_request_duration_seconds",
            "Time from the request's head to the answer's last byte.",
            DURATION_BUCKETS_S,
            (method, path),
        )
        self.provider_calls = registry.counter(
            "ainfera_provider_calls_total",
            "Attempts that left for a provider, by how they ended.",
            (Label("provider", values_max=PROVIDERS_MAX), Label("outcome", values=frozenset(PROVIDER_OUTCOMES))),
        )
        self.router_alias_hits = registry.counter(
            "ainfera_router_alias_hit_total",
            "Calls that asked for the router by an older name.",
            (Label("alias", values=frozenset(ROUTER_ALIASES)),),
        )
        self.dispatch_without_capture = registry.counter(
            "ainfera_dispatch_without_capture_total",
            "Sends tried without a committed record of the call; always 0.",
        )
        self.audit_chain_height = registry.gauge("ainfera_audit_chain_height", "Events in all chains.")
        self._freshness = registry.gauge(
            "ainfera_audit_chain_freshness_seconds", "Time since the newest event; 0 while there is none."
        )
        self._killswitch_engaged = registry.gauge(
            "ainfera_cost_killswitch_engaged", "1 while the day's spend has passed the threshold."
        )
        self._killswitch_spent = registry.gauge(
            "ainfera_cost_killswitch_spent_usd", "Spend of the current UTC day over all calls."
        )
        self._killswitch_threshold = registry.gauge(
            "ainfera_cost_killswitch_threshold_usd", "Spend a day at which calls are refused."
        )
        self._app_info = registry.gauge(
            "ainfera_app_info", "The running version; always 1.", (Label("version", values_max=1),)
        )
        self._laws_broken = registry.gauge(
            "ainfera_laws_broken",
            "Rows found to break a law of the ledger, by law; always 0.",
            (Label("law", values=frozenset(self._laws)),),
        )
        self._laws_age = registry.gauge(
            "ainfera_laws_age_seconds", "Time since the laws of the ledger were last checked; 0 before the first time."
        )
        self._laws_age.at().set_function(self._laws_age_s)
        for law in self._laws:
            self._laws_broken.at(law)
        self._freshness.at().set_function(self._freshness_s)
        self._app_info.set(1, version)
        for alias in ROUTER_ALIASES:
            self.router_alias_hits.at(alias)
        for provider in providers:
            self.declare_provider(provider)

    def declare_provider(self, provider: str) -> None:
        """Let every outcome of a provider stand at 0 before its first call."""
        for outcome in PROVIDER_OUTCOMES:
            self.provider_calls.at(provider, outcome)

    def declare_route(self, method: str, path: str, statuses: Iterable[int] = (200,)) -> None:
        """Let a route stand at 0 before its first request, for the statuses named."""
        self.http_request_duration.at(method, path)
        for status in statuses:
            self.http_requests.at(method, path, str(status))

    def note_request(self, method: str, path: str | None, status: int, duration_s: float) -> None:
        """Count one answered request; ``path`` is the route template, ``None`` when no route matched."""
        template = UNMATCHED if path is None else path
        self.http_requests.at(method, template, str(status)).inc()
        self.http_request_duration.at(method, template).observe(duration_s)

    def note_audit(self, height: int, newest_us: int | None) -> None:
        """Show the number of events in all chains and when the newest was written (microseconds since the epoch)."""
        self.audit_chain_height.set(height)
        self._newest_event_us = newest_us

    def note_killswitch(self, *, engaged: bool, spent_picousd: int, threshold_picousd: int) -> None:
        """Show the kill switch; amounts are exact in the scrape."""
        self._killswitch_engaged.set(int(engaged))
        self._killswitch_spent.set(spent_picousd * _PICO)
        self._killswitch_threshold.set(threshold_picousd * _PICO)

    def note_laws(self, broken: Mapping[str, int], checked_us: int) -> None:
        """Show how often each law was found broken (those not named: never), and when (microseconds since the epoch)."""
        for law in self._laws:
            self._laws_broken.set(broken.get(law, 0), law)
        self._laws_checked_us = checked_us

    def _laws_age_s(self) -> float:
        checked_us = self._laws_checked_us
        return 0.0 if checked_us is None else max(0, self._clock.now_us() - checked_us) / 1_000_000

    def _freshness_s(self) -> float:
        newest_us = self._newest_event_us
        return 0.0 if newest_us is None else max(0, self._clock.now_us() - newest_us) / 1_000_000
