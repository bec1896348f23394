"""Reads of the chains, in both published forms. Public unless the tenant chose otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from ainfera_gateway.api.control_common import AgentPath, HereDep, answer, page_limit
from ainfera_gateway.control import reads_audit
from ainfera_gateway.errors import GatewayError

router = APIRouter()

PageLimit = Annotated[int, page_limit(100, reads_audit.PAGE_MAX)]
Seq = Annotated[int, Path(ge=0, le=reads_audit.SEQ_MAX)]
AfterSeq = Annotated[int | None, Query(ge=-1, le=reads_audit.SEQ_MAX, description="Exclusive")]
Order = Annotated[Literal["asc", "desc"], Query(description="Oldest first, or newest first")]
Full = Annotated[bool, Query(description="Re-hash from the first event on; the owner's key only")]
Form = Annotated[Literal["json", "zip"] | None, Query(alias="format")]
_ZIP = "application/zip"


@router.get("/v1/audit/public", tags=["audit"])
def public_mirror(here: HereDep, limit: PageLimit = 100) -> Response:
    """The newest events of all public chains by position, newest first."""
    return answer(reads_audit.public_mirror(here.control, limit))


@router.get("/v1/audit/height", tags=["audit"])
def height(here: HereDep) -> Response:
    """How many events have a position, and when the newest was made."""
    return answer(reads_audit.height(here.control))


@router.get("/v1/audit/{agent_id}", tags=["audit"])
def get_chain(
    here: HereDep, agent_id: AgentPath, limit: PageLimit = 100, since_seq: AfterSeq = None, order: Order = "asc"
) -> Response:
    """A page of the chain; an empty page ends the walk."""
    return answer(
        reads_audit.sdk_page(
            here.control, here.audited(agent_id), limit=limit, since_seq=since_seq, descending=order == "desc"
        )
    )


@router.get("/v1/audit/{agent_id}/verify", tags=["audit"])
def verify_chain(here: HereDep, agent_id: AgentPath, full: Full = False) -> Response:
    """The gateway re-hashes the chain; offline verifiers need not believe it."""
    agent = here.audited(agent_id)
    if full and here.owner.tenant_id != agent.tenant_id:
        raise GatewayError(403, "forbidden", "Only the owner of an agent asks for a full verification.", field="full")
    return answer(reads_audit.verify(here.control, agent, here.heads, full=full))


@router.get("/v1/audit/{agent_id}/annex-iv", tags=["audit"])
def annex_iv(here: HereDep, agent_id: AgentPath, form: Form = None) -> Response:
    """The chain as technical documentation: JSON, or a zip that the offline verifier opens."""
    agent = here.audited(agent_id)
    if form == "zip" or (form is None and _ZIP in here.request.headers.get("accept", "")):
        packed = reads_audit.annex_iv_packed(here.control, agent, here.base_url)
        disposition = f'attachment; filename="annex-iv-{agent.id}.zip"'
        return Response(packed, 200, {"content-disposition": disposition}, _ZIP)
    caller = here.context.caller
    owner = caller is not None and caller.tenant_id == agent.tenant_id
    return answer(reads_audit.annex_iv(here.control, agent, here.base_url, owner=owner))


@router.get("/v1/agents/{agent_id}/audit-chain", tags=["audit"])
def get_verifier_chain(
    here: HereDep, agent_id: AgentPath, limit: PageLimit = 100, after_seq: AfterSeq = None
) -> Response:
    """A page of the chain as the offline verifier reads it."""
    return answer(
        reads_audit.verifier_page(
            here.control, here.audited(agent_id), limit=limit, after_seq=after_seq, base_url=here.base_url
        )
    )


@router.get("/v1/agents/{agent_id}/audit-chain/{seq}", tags=["audit"])
def get_verifier_event(here: HereDep, agent_id: AgentPath, seq: Seq) -> Response:
    """One event as the offline verifier reads it."""
    return answer(reads_audit.verifier_event(here.control, here.audited(agent_id), seq, here.base_url))
