"""The log above the chains, as C2SP ``tlog-tiles`` names its parts, and proofs of single events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from ainfera_gateway.api.control_common import AgentPath, HereDep, answer
from ainfera_gateway.control import reads_log
from ainfera_gateway.control.reads_audit import SEQ_MAX

router = APIRouter()

Level = Annotated[int, Path(ge=0, le=63)]
TilePath = Annotated[str, Path(description="The tile's number, x001/234; .p/WIDTH for a part of it", max_length=64)]
EventSeq = Annotated[int, Query(ge=0, le=SEQ_MAX)]
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}


@router.get("/log/checkpoint", tags=["audit"])
def checkpoint(here: HereDep) -> Response:
    """The newest checkpoint: a signed note of the log's name, its size and its root."""
    note = reads_log.checkpoint(here.control)
    return Response(note.encode(), 200, {"cache-control": "no-store"}, "text/plain; charset=utf-8")


@router.get("/log/tile/{level}/{tile:path}", tags=["audit"])
def tile(here: HereDep, level: Level, tile: TilePath) -> Response:
    """256 hashes of one level, or as many as are there."""
    hashes, full = reads_log.tile(here.control, level, tile)
    return Response(hashes, 200, _FOR_EVER if full else {}, "application/octet-stream")


@router.get("/v1/audit/{agent_id}/proof", tags=["audit"])
def event_proof(here: HereDep, agent_id: AgentPath, seq: EventSeq) -> Response:
    """That this event of the chain stands in the log, with the checkpoint that says so."""
    return answer(reads_log.event_proof(here.control, here.audited(agent_id), seq))
