"""How an agent comes to be: its key, its card, and the rows that every new agent has. Heavy work before the unit."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from ainfera_gateway.agents.cards import AgentKey, Card, card_payload, mint_card, new_agent_key
from ainfera_gateway.agents.handles import canonical_uri, did_web
from ainfera_gateway.agents.secrets import open_sealed, seal
from ainfera_gateway.clock import iso, utc_day, utc_month
from ainfera_gateway.control.context import Control
from ainfera_gateway.ids import new_id
from ainfera_gateway.storage.page import Page, WalletRow


@dataclass(frozen=True, slots=True)
class Policy:
    """An agent's spend policy. Caps in pico-USD; ``None`` is no limit, for ``allowed_brands`` too."""

    per_call_cap_picousd: int | None = None
    daily_cap_picousd: int | None = None
    monthly_cap_picousd: int | None = None
    allowed_brands: tuple[str, ...] | None = None
    preset: str | None = None


@dataclass(frozen=True, slots=True)
class NewAgent:
    """A complete agent that is not recorded yet."""

    agent_id: str
    tenant_id: str
    owner_handle: str
    handle: str
    name: str
    key: AgentKey
    private_key_sealed: str
    card: Card
    policy: Policy
    wallet_address: str | None
    metadata: str | None
    canonical_uri: str
    did_web: str

    def write(self, page: Page, trace_id: str) -> None:
        """Rows of agent, card and empty wallet, and the first two events of its chain."""
        page.insert("agents", self._row(page.now_us))
        page.insert("agent_cards", card_row(self.agent_id, self.card, page.now_us))
        policy = self.policy
        page.open_wallet(
            WalletRow(
                agent_id=self.agent_id,
                tenant_id=self.tenant_id,
                balance_picousd=0,
                held_picousd=0,
                day=utc_day(page.now_us),
                day_spent_picousd=0,
                month=utc_month(page.now_us),
                month_spent_picousd=0,
                calls=0,
                status="active",
                per_call_cap_picousd=policy.per_call_cap_picousd,
                daily_cap_picousd=policy.daily_cap_picousd,
                monthly_cap_picousd=policy.monthly_cap_picousd,
            )
        )
        page.append(
            self.agent_id,
            "agent.registered",
            {
                "trace_id": trace_id,
                "tenant_id": self.tenant_id,
                "owner_handle": self.owner_handle,
                "handle": self.handle,
                "canonical_uri": self.canonical_uri,
                "did": self.did_web,
                "kid": self.key.kid,
            },
        )
        page.append(self.agent_id, "agent_card.minted", {"trace_id": trace_id, "kid": self.key.kid})

    def _row(self, now_us: int) -> dict[str, Any]:
        policy = self.policy
        return {
            "id": self.agent_id,
            "tenant_id": self.tenant_id,
            "owner_handle": self.owner_handle,
            "handle": self.handle,
            "name": self.name,
            "status": "active",
            "public_key_pem": self.key.public_pem,
            "private_key_sealed": self.private_key_sealed,
            "kid": self.key.kid,
            "wallet_address": self.wallet_address,
            "metadata": self.metadata,
            "per_call_cap_picousd": policy.per_call_cap_picousd,
            "daily_cap_picousd": policy.daily_cap_picousd,
            "monthly_cap_picousd": policy.monthly_cap_picousd,
            "allowed_brands": None if policy.allowed_brands is None else json.dumps(policy.allowed_brands),
            "preset": policy.preset,
            "created_us": now_us,
        }


def new_agent(
    control: Control,
    *,
    tenant_id: str,
    owner_handle: str,
    handle: str,
    name: str,
    issuer: str,
    policy: Policy = Policy(),
    wallet_address: str | None = None,
    metadata: str | None = None,
) -> NewAgent:
    """A fresh agent with its Ed25519 key (sealed) and signed card. ``issuer`` is the gateway's public URL."""
    agent_id, key = new_id(), new_agent_key()
    host = control.settings.did_host
    payload = card_payload(
        agent_id=agent_id,
        tenant_id=tenant_id,
        handle=handle,
        owner_handle=owner_handle,
        issued_at=iso(control.clock.now_us()),
        iss=issuer,
        host=host,
    )
    return NewAgent(
        agent_id=agent_id,
        tenant_id=tenant_id,
        owner_handle=owner_handle,
        handle=handle,
        name=name,
        key=key,
        private_key_sealed=seal_private_key(control.data_key, agent_id, key.private_key),
        card=mint_card(key.private_key, key.kid, payload),
        policy=policy,
        wallet_address=wallet_address,
        metadata=metadata,
        canonical_uri=canonical_uri(owner_handle, handle, host),
        did_web=did_web(owner_handle, handle, host),
    )


def card_row(agent_id: str, card: Card, now_us: int) -> dict[str, Any]:
    """The row of ``agent_cards``."""
    return {
        "id": new_id(),
        "agent_id": agent_id,
        "kid": card.kid,
        "jws": card.jws,
        "payload": json.dumps(card.payload, sort_keys=True, ensure_ascii=False),
        "issued_us": now_us,
    }


def seal_private_key(data_key: bytes, agent_id: str, private_key: bytes) -> str:
    """Base64 of the sealed key, bound to its agent: copied to another row it does not open."""
    return base64.b64encode(seal(data_key, private_key, _place(agent_id))).decode("ascii")


def open_private_key(data_key: bytes, agent_id: str, sealed: str) -> bytes:
    """The 32 raw bytes of an agent's private key. Raises ``SealError`` under another data key."""
    return open_sealed(data_key, base64.b64decode(sealed), _place(agent_id))


def _place(agent_id: str) -> bytes:
    return b"agent-key:" + agent_id.encode("ascii")
