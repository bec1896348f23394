"""Signup: tenant, agent, Ed25519 key, card, wallet with its grant, API key and first events in one transaction."""

from __future__ import annotations

import ipaddress
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from ainfera_gateway.agents.handles import ANONYMOUS_OWNER
from ainfera_gateway.agents.keys import mint
from ainfera_gateway.clock import Clock
from ainfera_gateway.control.birth import NewAgent, Policy, new_agent
from ainfera_gateway.control.commit import commit, handle_taken
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import RESERVED_HANDLES
from ainfera_gateway.control.keys import NewKey, write_key
from ainfera_gateway.control.spend_policy import policy_event
from ainfera_gateway.control.wallet import credit
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.ids import new_id
from ainfera_gateway.ledger import accounts
from ainfera_gateway.storage.page import Keys, Page

FREE_TIER_INFERENCES = 100
"""Shown to a newcomer; the grant is what pays."""

ADDRESS_HOUR_MAX = 5
DAY_MAX = 200
_HOUR_S = 3_600.0
_DAY_S = 86_400.0
_ADDRESSES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class SignUpRequest:
    """A checked signup. ``owner_handle`` is ``agents`` for an anonymous one; ``metadata`` JSON text."""

    agent_handle: str
    owner_handle: str
    owner_source: str
    owner_contact: str | None
    policy: Policy
    wallet_address: str | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class SignUp:
    """The unit of a whole signup."""

    request: SignUpRequest
    agent: NewAgent
    key: NewKey
    grant_picousd: int

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        request, agent, trace_id = self.request, self.agent, self.key.trace_id
        page.insert(
            "tenants",
            {
                "id": agent.tenant_id,
                "owner_handle": request.owner_handle,
                "owner_source": request.owner_source,
                "owner_contact": request.owner_contact,
                "audit_visibility": "public",
                "created_us": page.now_us,
            },
        )
        agent.write(page, trace_id)
        write_key(page, self.key)
        if self.grant_picousd > 0:
            credit(
                page,
                agent.agent_id,
                self.grant_picousd,
                source=accounts.GRANTS,
                kind="grant",
                event_type="wallet.granted",
                trace_id=trace_id,
            )
        if agent.policy != Policy():
            page.append(agent.agent_id, "spend_policy.updated", policy_event(agent.policy, trace_id))


class SignUpLimits:
    """Open signups of this process: so many an hour and address, so many a day; only those that succeeded count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_address: dict[str, deque[float]] = {}
        self._all: deque[float] = deque()

    def take(self, address: str) -> float | None:
        """Count one signup; ``None`` when it is admitted (give it back if it fails), else seconds until the next."""
        if _is_loopback(address):
            return None
        now = self._clock.monotonic_s()
        with self._lock:
            own = self._by_address.pop(address, None) or deque()
            waits = [_wait_s(own, now, _HOUR_S, ADDRESS_HOUR_MAX), _wait_s(self._all, now, _DAY_S, DAY_MAX)]
            if not any(waits):
                own.append(now)
                self._all.append(now)
            if own:
                if len(self._by_address) >= _ADDRESSES_MAX:
                    self._by_address.pop(next(iter(self._by_address)))
                self._by_address[address] = own
        return max(waits) if any(waits) else None

    def give_back(self, address: str) -> None:
        """The signup did not happen."""
        with self._lock:
            own = self._by_address.get(address)
            if own:
                self._all.remove(own.pop())


def sign_up(control: Control, request: SignUpRequest, *, issuer: str, trace_id: str) -> dict[str, Any]:
    """Record a signup; returns the bundle, API key included. Raises 409 ``handle_taken``."""
    if request.agent_handle in RESERVED_HANDLES:
        raise handle_taken()
    agent = new_agent(
        control,
        tenant_id=new_id(),
        owner_handle=request.owner_handle,
        handle=request.agent_handle,
        name=request.agent_handle,
        issuer=issuer,
        policy=request.policy,
        wallet_address=request.wallet_address,
        metadata=request.metadata,
    )
    key = NewKey(new_id(), agent.tenant_id, agent.agent_id, agent.agent_id, "owner", "signup", mint(), trace_id)
    commit(control, SignUp(request, agent, key, control.settings.signup_grant_picousd))
    control.changed(agent.agent_id)
    return {
        "agent_id": agent.agent_id,
        "agent_handle": agent.handle,
        "owner_handle": agent.owner_handle,
        "tenant_id": agent.tenant_id,
        "canonical_uri": agent.canonical_uri,
        "did_web": agent.did_web,
        "api_key": key.minted.secret,
        "agent_card_jws": agent.card.jws,
        "free_tier_inferences_remaining": FREE_TIER_INFERENCES,
    }


def admit(settings_mode: str, *, internal: bool) -> None:
    """Whether signup is open to this caller. Raises 403 when it is off, 401 without the key that it needs."""
    if settings_mode == "off":
        raise GatewayError(403, "forbidden", "Signup is switched off here.")
    if settings_mode == "internal" and not internal:
        raise GatewayError(401, "missing_api_key", "Signup needs the internal key here.")


def limited(wait_s: float) -> GatewayError:
    """429 with ``Retry-After``."""
    return GatewayError(
        429,
        "rate_limited",
        "Too many signups; try again later.",
        headers={"retry-after": str(max(1, int(wait_s) + 1))},
    )


def owner_of(owner_handle: str | None, owner_source: str | None, *, internal: bool) -> tuple[str, str]:
    """(handle, source) of the owner. Only the internal key may claim one. Raises 403 ``forbidden``."""
    claims = (owner_handle not in {None, ANONYMOUS_OWNER}) or owner_source == "github_user"
    if claims and not internal:
        field = "owner_source" if owner_source == "github_user" else "owner_handle"
        raise GatewayError(
            403, "forbidden", "An owner can be claimed with the internal key only; leave it out.", field=field
        )
    return owner_handle or ANONYMOUS_OWNER, owner_source or "anonymous"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _wait_s(moments: deque[float], now: float, window_s: float, admitted_max: int) -> float:
    while moments and moments[0] <= now - window_s:
        moments.popleft()
    return 0.0 if len(moments) < admitted_max else moments[0] + window_s - now
