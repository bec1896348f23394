"""One realistic call as the recorder sees it: the agent that makes it, its T1 and its T2, with the real units."""

from __future__ import annotations

from dataclasses import dataclass

from ainfera_gateway.clock import utc_day, utc_month
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.records import AttemptEnd, CallEnd, CallFacts, Tokens
from ainfera_gateway.inference.reserve import OpenCall
from ainfera_gateway.inference.settle import SettleCall
from ainfera_gateway.ledger import accounts
from ainfera_gateway.ledger.hold import Ask
from ainfera_gateway.storage.page import Keys, Page, WalletRow

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
TENANT_ID = "0193a000-0000-7000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class OpenAgent:
    """A tenant, its agent and a wallet that holds ``grant_picousd``, posted as a grant."""

    agent_id: str
    grant_picousd: int = 0
    tenant_id: str = TENANT_ID
    visibility: str = "public"
    new_tenant: bool = True

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> str:
        now_us = page.now_us
        if self.new_tenant:
            page.insert(
                "tenants",
                {
                    "id": self.tenant_id,
                    "owner_handle": "agents",
                    "owner_source": "anonymous",
                    "owner_contact": None,
                    "audit_visibility": self.visibility,
                    "created_us": now_us,
                },
            )
        page.insert("agents", _agent_row(self.agent_id, self.tenant_id, now_us))
        wallet = WalletRow(
            agent_id=self.agent_id,
            tenant_id=self.tenant_id,
            balance_picousd=self.grant_picousd,
            held_picousd=0,
            day=utc_day(now_us),
            day_spent_picousd=0,
            month=utc_month(now_us),
            month_spent_picousd=0,
            calls=0,
            status="active",
            per_call_cap_picousd=None,
            daily_cap_picousd=None,
            monthly_cap_picousd=None,
        )
        page.open_wallet(wallet)
        if self.grant_picousd:
            page.insert(
                "transfers",
                accounts.transfer(
                    debit=accounts.GRANTS,
                    credit=accounts.agent_account(self.agent_id),
                    amount_picousd=self.grant_picousd,
                    kind="grant",
                    now_us=now_us,
                    agent_id=self.agent_id,
                    balance_after_picousd=self.grant_picousd,
                ),
            )
        page.append(self.agent_id, "agent.registered", {"handle": self.agent_id[-12:]})
        return self.agent_id


def _agent_row(agent_id: str, tenant_id: str, now_us: int) -> dict[str, object]:
    return {
        "id": agent_id,
        "tenant_id": tenant_id,
        "owner_handle": "agents",
        "handle": agent_id[-12:],
        "name": f"agent {agent_id[-4:]}",
        "status": "active",
        "public_key_pem": "-",
        "private_key_sealed": "-",
        "kid": "-",
        "wallet_address": None,
        "metadata": None,
        "per_call_cap_picousd": None,
        "daily_cap_picousd": None,
        "monthly_cap_picousd": None,
        "allowed_brands": None,
        "preset": None,
        "created_us": now_us,
    }


def facts(agent_id: str, *, tenant_id: str = TENANT_ID, inference_id: str | None = None) -> CallFacts:
    """A routed call with a decision of the size that five candidates give."""
    return CallFacts(
        inference_id=inference_id or new_id(),
        receipt_id=new_id(),
        tenant_id=tenant_id,
        agent_id=agent_id,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        dialect="openai_chat",
        streamed=True,
        requested_model="ainfera-inference",
        task_type="general",
        task_type_source="default",
        policy_name="balanced",
        policy_semver="1.0.0",
        ruleset_hash=HASH,
        decision_rule="cheapest_clearing_floor",
        decision_type="deterministic",
        router="ainfera-inference",
        decision='{"candidates":[' + ",".join(['{"model":"mistral-large-3","reason":"selected"}'] * 5) + "]}",
        decision_hash=HASH,
        verdict_versions='{"mistral":1}',
        request_hash=HASH,
        hash_salt=HASH[:32],
        projected_picousd=9_000_000_000,
        tags=None,
    )


def open_gate(_: bool | None = None) -> None:
    """A kill switch that is not engaged; a function of the module, so that a unit can be pickled."""


def opening(call: CallFacts, *, tokens: int = 1_000) -> OpenCall:
    """T1 of ``call``: it holds ``tokens`` output tokens at 6 USD a million and as much input at 2."""
    return OpenCall(
        facts=call,
        ask=Ask(tokens, tokens, tokens, 2_000_000, 6_000_000),
        attempt_id=new_id(),
        provider="mistral",
        model="mistral-large-3",
        owner="bench",
        gate=open_gate,
    )


def ending(
    opened: OpenCall, *, outcome: Outcome = Outcome.SUCCEEDED, charged_picousd: int = 4_000_000_000
) -> SettleCall:
    """T2 of an opened call whose one attempt answered."""
    attempt = AttemptEnd(
        attempt_id=opened.attempt_id,
        ordinal=0,
        provider=opened.provider,
        model=opened.model,
        outcome="ok",
        upstream_status=200,
        reason=None,
        ttft_us=180_000,
        latency_us=900_000,
        tokens=Tokens(input=640, output=480),
        cost_picousd=charged_picousd,
        usage_source="provider",
    )
    return SettleCall(
        opened.facts,
        CallEnd(
            outcome=outcome,
            attempt=attempt,
            charged_picousd=charged_picousd,
            latency_us=901_000,
            response_hash=HASH,
            answered=True,
        ),
    )
