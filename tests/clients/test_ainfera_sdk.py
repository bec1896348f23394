"""The published SDK, ainfera 1.1.0, sync and async."""

from __future__ import annotations

import asyncio
import json
import uuid
from base64 import urlsafe_b64decode
from decimal import Decimal
from typing import Any

import pytest
from ainfera import (
    AinferaClient,
    APIError,
    AsyncAinferaClient,
    ModelUnavailable,
    SpendPolicyExceeded,
    WalletInsufficient,
)
from ainfera.ledger import AsyncLedger, Ledger

from tests.gateway_process import GatewayProcess

QUESTION = [{"role": "user", "content": "name the colours"}]


def handle() -> str:
    return f"sdk-{uuid.uuid4().hex[:12]}"


def test_a_whole_life_sync(gateway: GatewayProcess) -> None:
    name = handle()
    with AinferaClient(api_key="", base_url=gateway.url) as nobody:
        bundle = nobody.agents.signup(agent_handle=name, per_call_cap_usd="0.5", daily_cap_usd="2")
    assert bundle.canonical_uri == f"ainfera.ai/agents/{name}"
    assert bundle.did_web == f"did:web:ainfera.ai:agents:{name}"
    with AinferaClient(api_key=bundle.api_key, base_url=gateway.url) as client:
        agent = client.agents.retrieve(bundle.agent_id)
        assert (agent.status, agent.tenant_id) == ("active", bundle.tenant_id)
        assert agent.public_key_ed25519 and "BEGIN PUBLIC KEY" in agent.public_key_ed25519
        card = agent.get_card()
        part = card.jws.split(".")[1]
        assert json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) == card.payload
        assert card.jws == bundle.agent_card_jws
        assert agent.wallet.balance_usd == Decimal(5)
        assert agent.wallet.topup("1.25").balance_usd == Decimal("6.25")
        answer = agent.inference(model="ainfera-auto", messages=QUESTION, routing_hint={"min_quality": "0.5"})
        assert (answer.model_used, answer.provider, answer.finish_reason) == ("mistral-large-3", "mistral", "stop")
        assert "name the colours" in answer.content
        receipt = client.receipts.retrieve(answer.receipt_id)
        assert receipt.inference_id == answer.inference_id
        assert Decimal(str(receipt.cost_usd)) == answer.cost_usd
        ledger = Ledger(agent_id=agent.agent_id)
        ledger._http = client._http
        entries = ledger.entries()
        assert [entry.kind for entry in entries] == ["debit", "topup", "grant"]
        assert entries[0].amount_usd == -answer.cost_usd
        assert sum(entry.amount_usd for entry in entries) == ledger.balance == entries[0].balance_after_usd
        events = list(agent.audit_chain.events())
        assert [event.event_type for event in events][-3:] == [
            "inference.routed",
            "provider.responded",
            "receipt.created",
        ]
        assert [event.seq for event in events] == list(range(len(events)))
        assert len(list(agent.audit_chain.events(limit=2))) == 2
        assert agent.audit_chain.verify()
        remote = agent.audit_chain.verify_remote()
        assert remote.valid and remote.event_count == len(events)
        assert agent.audit_chain.annex_iv_bundle()
        sister = client.agents.register(tenant_id=bundle.tenant_id, name="Sister of mine")
        assert client.agents.retrieve(sister.agent_id).name == "Sister of mine"
        assert agent.refresh().status == "active"


def test_a_whole_life_async(gateway: GatewayProcess) -> None:
    async def live() -> None:
        async with AsyncAinferaClient(api_key="", base_url=gateway.url) as nobody:
            bundle = await nobody.agents.signup(agent_handle=handle())
        async with AsyncAinferaClient(api_key=bundle.api_key, base_url=gateway.url) as client:
            agent = await client.agents.retrieve(bundle.agent_id)
            wallet = await agent.wallet()
            assert (await wallet.topup(Decimal("0.5"))).balance_usd == Decimal("5.5")
            assert (await agent.get_card()).payload["agent_id"] == agent.agent_id
            answers = await asyncio.gather(*(agent.inference(model="gpt-5-5", messages=QUESTION) for _ in range(5)))
            assert len({answer.receipt_id for answer in answers}) == 5
            ledger = AsyncLedger(agent_id=agent.agent_id)
            ledger._http = client._http
            entries = await ledger.entries()
            assert sum(entry.amount_usd for entry in entries) == ledger.balance
            assert await agent.audit_chain.verify()
            assert (await agent.audit_chain.verify_remote()).valid
            receipt = await client.receipts.retrieve(answers[0].receipt_id)
            assert receipt.receipt_id == answers[0].receipt_id
            assert len([event async for event in agent.audit_chain.events()]) == 5 + 5 * 3

    asyncio.run(live())


def test_refusals_become_the_sdks_exceptions(gateway: GatewayProcess, new_agent: Any) -> None:
    capped = new_agent(per_call_cap_usd="0.001", daily_cap_usd="0.01")
    with AinferaClient(api_key=capped["api_key"], base_url=gateway.url) as client:
        agent = client.agents.retrieve(capped["agent_id"])
        with pytest.raises(SpendPolicyExceeded) as over:
            agent.inference(model="claude-opus-4-7", messages=QUESTION)
        assert over.value.body["reason"] == "per_call_cap_exceeded"
        with pytest.raises(ModelUnavailable) as unknown:
            agent.inference(model="no-such-model", messages=QUESTION)
        assert unknown.value.model == "no-such-model"
        poor = client.agents.register(tenant_id=capped["tenant_id"], name="no money")
        with pytest.raises(WalletInsufficient):
            poor.inference(model="gpt-5-5", messages=QUESTION)
        assert poor.wallet.balance_usd == 0
        with pytest.raises(APIError) as missing:
            client.agents.retrieve(str(uuid.uuid4()))
        assert missing.value.status_code == 404


def test_a_stranger_sees_nothing(gateway: GatewayProcess, new_agent: Any) -> None:
    mine, theirs = new_agent(), new_agent()
    with AinferaClient(api_key=mine["api_key"], base_url=gateway.url) as client:
        for wanted in (theirs["agent_id"], str(uuid.uuid4())):
            with pytest.raises(APIError) as hidden:
                client.agents.retrieve(wanted)
            assert hidden.value.status_code == 404
            assert hidden.value.body["code"] == "not_found"
