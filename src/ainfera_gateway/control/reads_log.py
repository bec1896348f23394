"""Reads of the log above the chains: its newest checkpoint, its tiles, and proofs that an event stands in it.

Public as a whole: hashes and sizes say nothing of whose events they are.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from ainfera_gateway.audit.log_store import (
    TILE_HEIGHT,
    TILE_WIDTH,
    LogReader,
    checkpoint_of,
    inclusion_proof,
    newest_checkpoint,
)
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import AgentRow
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.storage.tables import chain_heads, log_positions

ROWS_MAX = 8
"""Rows of tiles above the leaves; a log of 2^64 events has no more."""
_TILE = re.compile(r"(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/([1-9][0-9]{0,2}))?")


def checkpoint(control: Control) -> str:
    """The newest signed note. Raises 404 while the log has none."""
    with control.reader.connect() as connection:
        newest = newest_checkpoint(connection)
    if newest is None:
        raise not_found()
    return newest.note


def tile(control: Control, row: int, path: str) -> tuple[bytes, bool]:
    """(hashes one after the other, whether the tile is full) of a tile that the newest checkpoint covers.

    ``path`` is the tile's number as ``tlog-tiles`` writes it (``x001/234``, partial ones with ``.p/WIDTH``). Raises 404.
    """
    found = _TILE.fullmatch(path)
    if found is None or row > ROWS_MAX:
        raise not_found()
    number = int(path.split(".", maxsplit=1)[0].replace("x", "").replace("/", ""))
    width = TILE_WIDTH if found[1] is None else int(found[1])
    with control.reader.connect() as connection:
        newest = newest_checkpoint(connection)
        size = 0 if newest is None else newest.size >> (TILE_HEIGHT * row)
        if width > TILE_WIDTH or number * TILE_WIDTH + width > size:
            raise not_found()
        hashes = LogReader(connection).tile(row, number)[:width]
    return b"".join(hashes), width == TILE_WIDTH


def event_proof(control: Control, agent: AgentRow, seq: int) -> dict[str, Any]:
    """That the agent's event stands in the log: see ``proof_of``. Raises 404 for no such event, 409 while pending."""
    with control.reader.connect() as connection:
        proof = proof_of(connection, agent.id, seq)
        head = connection.execute(select(chain_heads.c.seq).where(chain_heads.c.agent_id == agent.id)).scalar_one()
    if seq > head:
        raise not_found()
    if proof is None:
        raise GatewayError(
            409, "proof_pending", "This event has no checkpoint above it yet; ask again in a second.", field="seq"
        )
    return {"agent_id": agent.id, "seq": seq, **proof}


def proof_of(connection: Connection, agent_id: str, seq: int) -> dict[str, Any] | None:
    """``{log_index, tree_size, event_hash, hashes, checkpoint}`` up to the newest checkpoint; None while pending."""
    columns = log_positions.c
    position = connection.execute(
        select(columns.position).where(columns.agent_id == agent_id, columns.seq == seq)
    ).scalar_one_or_none()
    if position is None:
        return None
    covering = newest_checkpoint(connection)
    if covering is None or covering.size <= position:
        covering = checkpoint_of(connection, position)
    return None if covering is None else inclusion_proof(connection, position, covering)
