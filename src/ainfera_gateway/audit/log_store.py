"""The log in the database: what its tree is read from, its newest checkpoint, and how it grows.

A tile is 256 neighbours of one level (the leaves, or an eighth level above them), as C2SP ``tlog-tiles`` cuts a log.
Leaves follow from ``log_positions``; of the levels above only complete nodes are kept, each made once, never changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from ainfera_gateway.audit import merkle
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import house_state, log_checkpoints, log_nodes, log_positions

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
ORIGIN = "log_origin"


class LogDamagedError(RuntimeError):
    """The stored log lacks or contradicts what a checkpoint was signed for."""


class LogReader:
    """Hashes of complete subtrees, read tile by tile and kept for as long as this reader lives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tiles: dict[tuple[int, int], list[bytes]] = {}
        self._fresh: dict[tuple[int, int], bytes] = {}

    def complete(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises ``LogDamagedError`` where the database lacks a part of it."""
        row, up = divmod(level, TILE_HEIGHT)
        first, count = index << up, 1 << up
        tile, place = divmod(first, TILE_WIDTH)
        hashes = self.tile(row, tile)[place : place + count]
        if len(hashes) != count:
            raise LogDamagedError(f"the log lacks a part of its subtree {index} at level {level}")
        return merkle.fold_complete(hashes)

    def tile(self, row: int, number: int) -> list[bytes]:
        """The hashes that are there of a tile; ``row`` 0 are the leaves, each further one stands 8 levels higher."""
        known = self._tiles.get((row, number))
        if known is None:
            known = self._tiles[row, number] = self._leaves(number) if row == 0 else self._nodes(row, number)
        return known

    def add(self, row: int, place: int, value: bytes) -> None:
        """A node that is about to be stored."""
        self._fresh[row, place] = value
        self._tiles.pop((row, place // TILE_WIDTH), None)

    def _leaves(self, number: int) -> list[bytes]:
        columns = log_positions.c
        low = number * TILE_WIDTH
        rows = self._connection.execute(
            select(columns.position, columns.event_hash)
            .where(columns.position >= low, columns.position < low + TILE_WIDTH)
            .order_by(columns.position)
        )
        return [merkle.leaf_hash(value) for _, value in _unbroken(rows, low)]

    def _nodes(self, row: int, number: int) -> list[bytes]:
        columns = log_nodes.c
        low = number * TILE_WIDTH
        rows = self._connection.execute(
            select(columns.place, columns.hash)
            .where(columns.level == row * TILE_HEIGHT, columns.place >= low, columns.place < low + TILE_WIDTH)
            .order_by(columns.place)
        )
        stored = [bytes.fromhex(value) for _, value in _unbroken(rows, low)]
        while (fresh := self._fresh.get((row, low + len(stored)))) is not None:
            stored.append(fresh)
        return stored


def _unbroken(rows: Any, low: int) -> Iterator[tuple[int, str]]:
    """The rows as long as they stand without a gap from ``low`` on."""
    for expected, row in enumerate(rows, low):
        if row[0] != expected:
            return
        yield row[0], row[1]


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint that was signed; ``root`` in hex."""

    size: int
    root: str
    note: str
    created_us: int


def newest_checkpoint(connection: Connection) -> StoredCheckpoint | None:
    """The largest; None for a log that has none yet."""
    row = connection.execute(select(log_checkpoints).order_by(log_checkpoints.c.size.desc()).limit(1)).one_or_none()
    return None if row is None else StoredCheckpoint(*row)


def checkpoint_of(connection: Connection, position: int) -> StoredCheckpoint | None:
    """The first that covers the event at ``position``; None while none does."""
    columns = log_checkpoints.c
    statement = select(log_checkpoints).where(columns.size > position).order_by(columns.size).limit(1)
    row = connection.execute(statement).one_or_none()
    return None if row is None else StoredCheckpoint(*row)


def inclusion_proof(connection: Connection, position: int, checkpoint: StoredCheckpoint) -> dict[str, Any]:
    """``{log_index, tree_size, event_hash, hashes, checkpoint}``: what an offline verifier needs; hashes in hex."""
    reader = LogReader(connection)
    event_hash = connection.execute(
        select(log_positions.c.event_hash).where(log_positions.c.position == position)
    ).scalar_one()
    ranges = merkle.inclusion_ranges(position, checkpoint.size)
    return {
        "log_index": position,
        "tree_size": checkpoint.size,
        "event_hash": event_hash,
        "hashes": [merkle.range_hash(part, reader.complete).hex() for part in ranges],
        "checkpoint": checkpoint.note,
    }


def read_origin(connection: Connection) -> str | None:
    """The name of the log that this database holds."""
    return connection.execute(select(house_state.c.value).where(house_state.c.name == ORIGIN)).scalar_one_or_none()


@dataclass(frozen=True, slots=True)
class NameLog:
    """The unit that gives the log its name, once for ever."""

    origin: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        page.execute(
            "INSERT INTO house_state (name, value, changed_us) VALUES (:name, :value, :changed_us)"
            " ON CONFLICT (name) DO NOTHING",
            {"name": ORIGIN, "value": self.origin, "changed_us": page.now_us},
        )


@dataclass(frozen=True, slots=True)
class GrowLog:
    """The unit that stores new complete nodes (level, place, hash) and, unless None, the checkpoint above them.

    Who comes second with the same size or node fails on the primary key: one history wins.
    """

    nodes: tuple[tuple[int, int, str], ...]
    checkpoint: tuple[int, str, str] | None = field(default=None)

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        for level, place, value in self.nodes:
            page.insert("log_nodes", {"level": level, "place": place, "hash": value})
        if self.checkpoint is not None:
            size, root, note = self.checkpoint
            page.insert("log_checkpoints", {"size": size, "root": root, "note": note, "created_us": page.now_us})
