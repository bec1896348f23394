"""Wallets, top-ups, the ledger, single calls, receipts, and the kill switch of the operator."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from ainfera_gateway.api.control_body import body_of, documented, invalid_fields
from ainfera_gateway.api.control_common import AgentPath, HereDep, answer, page_limit, require_internal
from ainfera_gateway.api.control_types import KillSwitchBody, TopUpBody
from ainfera_gateway.control import reads_inference, wallet
from ainfera_gateway.control.killswitch import change_killswitch
from ainfera_gateway.errors import GatewayError

router = APIRouter()

TopUpDep = Annotated[TopUpBody, Depends(body_of(TopUpBody))]
KillSwitchDep = Annotated[KillSwitchBody, Depends(body_of(KillSwitchBody))]
LedgerLimit = Annotated[int, page_limit(100, wallet.LEDGER_LIMIT_MAX)]


@router.get("/v1/wallets/{agent_id}", tags=["wallet"])
def get_wallet(here: HereDep, agent_id: AgentPath) -> Response:
    """The agent's balance."""
    return answer(wallet.balance(here.control, here.agent(agent_id)))


@router.post("/v1/wallets/topup", status_code=201, tags=["wallet"], openapi_extra=documented(TopUpBody))
def top_up(here: HereDep, body: TopUpDep) -> Response:
    """Add money to an agent's wallet: the owner where the settings let owners, else the operator."""
    tenant_id: str | None = None
    if not here.context.internal:
        tenant_id = here.owner.tenant_id
        if here.control.settings.topup_mode != "self":
            raise GatewayError(403, "forbidden", "Wallets are topped up by the operator here.")
    done = wallet.top_up(
        here.control,
        agent=body.agent_id,
        tenant_id=tenant_id,
        amount_picousd=body.amount_usd,
        trace_id=here.trace_id,
    )
    return answer(done, 201)


@router.get("/v1/ledger/{agent_id}", tags=["wallet"])
def get_ledger(here: HereDep, agent_id: AgentPath, limit: LedgerLimit = 100) -> Response:
    """What moved in and out of the wallet, newest first."""
    return answer(wallet.ledger(here.control, here.agent(agent_id), limit))


@router.get("/v1/inferences/{inference_id}", tags=["inferences"])
def get_inference(here: HereDep, inference_id: str) -> Response:
    """One call with its attempts and the salt of its hashes."""
    return answer(reads_inference.one(here.control, here.caller.tenant_id, inference_id, here.base_url))


@router.get("/v1/inferences/{inference_id}/decision", tags=["inferences"])
def get_decision(here: HereDep, inference_id: str) -> Response:
    """Why this model: every candidate with its reason."""
    return answer(reads_inference.decision(here.control, here.caller.tenant_id, inference_id))


@router.get("/v1/receipts/{receipt_id}", tags=["inferences"])
def get_receipt(here: HereDep, receipt_id: str) -> Response:
    """The receipt of one call."""
    return answer(reads_inference.receipt(here.control, here.caller.tenant_id, receipt_id, here.base_url))


@router.get("/admin/killswitch", tags=["operator"])
def get_killswitch(here: HereDep) -> Response:
    """The kill switch: spend of the UTC day against its threshold."""
    require_internal(here)
    return answer(here.control.killswitch_state())


@router.put("/admin/killswitch", tags=["operator"], openapi_extra=documented(KillSwitchBody))
def put_killswitch(here: HereDep, body: KillSwitchDep) -> Response:
    """Engage or release the switch by hand, or move its threshold. Recorded in ``settings_changes``; as the switch
    belongs to no agent, no chain has an event of it."""
    require_internal(here)
    if body.engaged is None and body.threshold_usd is None:
        raise invalid_fields([("engaged", "give engaged, threshold_usd or both")])
    return answer(change_killswitch(here.control, engaged=body.engaged, threshold_picousd=body.threshold_usd))
