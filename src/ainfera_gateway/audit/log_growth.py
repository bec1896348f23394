"""How the log grows: complete nodes above new positions, and a signed checkpoint that contains the one before it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from ainfera_gateway.audit import merkle
from ainfera_gateway.audit.checkpoint import sign_checkpoint
from ainfera_gateway.audit.keys import GatewayKeys
from ainfera_gateway.audit.log_store import (
    TILE_HEIGHT,
    TILE_WIDTH,
    GrowLog,
    LogDamagedError,
    LogReader,
    StoredCheckpoint,
    newest_checkpoint,
)
from ainfera_gateway.storage.tables import log_nodes, log_positions

GROW_MAX = 64 * TILE_WIDTH
"""Leaves that one step takes up, so that a log of years is caught up with in steps of bounded length."""


def next_growth(connection: Connection, origin: str, keys: GatewayKeys) -> GrowLog | None:
    """What to store next; None when the newest checkpoint covers all positions.

    Raises ``LogDamagedError`` when the stored positions no longer lead to the newest checkpoint's root: nothing is
    signed then, so that no two checkpoints ever contradict each other.
    """
    height = connection.execute(select(func.max(log_positions.c.position))).scalar_one()
    newest = newest_checkpoint(connection)
    if height is None or (newest is not None and newest.size > height):
        return None
    reader = LogReader(connection)
    covered = 0 if newest is None else newest.size
    size = min(height + 1, covered + GROW_MAX)
    nodes = tuple(_new_nodes(connection, reader, size))
    root = merkle.root(size, reader.complete)
    if newest is not None:
        _check_contains(newest, reader)
    note = sign_checkpoint(origin, size, root, keys.checkpoint_key)
    return GrowLog(nodes, (size, root.hex(), note))


def _new_nodes(connection: Connection, reader: LogReader, size: int) -> list[tuple[int, int, str]]:
    """Rows for the nodes that became complete below ``size``, lowest level first."""
    made: list[tuple[int, int, str]] = []
    row = 1
    while (complete := size >> (TILE_HEIGHT * row)) > 0:
        level = TILE_HEIGHT * row
        last = connection.execute(select(func.max(log_nodes.c.place)).where(log_nodes.c.level == level)).scalar_one()
        for place in range(0 if last is None else last + 1, complete):
            below = reader.tile(row - 1, place)
            if len(below) != TILE_WIDTH:
                raise LogDamagedError(f"the log lacks a part below node {place} of level {level}")
            value = merkle.fold_complete(below)
            reader.add(row, place, value)
            made.append((level, place, value.hex()))
        row += 1
    return made


def _check_contains(newest: StoredCheckpoint, reader: LogReader) -> None:
    if merkle.root(newest.size, reader.complete).hex() != newest.root:
        raise LogDamagedError(f"the log no longer leads to its checkpoint of size {newest.size}; nothing is signed")
