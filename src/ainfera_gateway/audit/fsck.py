"""The whole log hashed again from the events themselves, against every checkpoint that was signed. Read only.

Of what writes the log it uses the tables' names alone: the rules are those of ``verify`` and ``verify_log``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.engine import Connection

from ainfera_gateway.audit.events import Checkpoint, StoredEvent
from ainfera_gateway.audit.verify import verify_rows
from ainfera_gateway.audit.verify_log import LogError, Tree, leaf_of, read_note
from ainfera_gateway.clock import iso
from ainfera_gateway.storage.tables import audit_events, chain_heads, log_checkpoints, log_nodes, log_positions

PROBLEMS_MAX = 100
_ROWS = 1_000


@dataclass(slots=True)
class Findings:
    """What was looked at, and what is wrong, a sentence each; at most ``PROBLEMS_MAX`` of them."""

    events: int = 0
    checkpoints: int = 0
    chains: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


class _Tree:
    """A growing tree: the roots of its complete subtrees, largest first, as (level, hash)."""

    def __init__(self) -> None:
        self.size = 0
        self.parts: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf; the subtrees that became complete, as (level, index, hash)."""
        made: list[tuple[int, int, bytes]] = []
        level, node = 0, leaf
        self.size += 1
        while self.parts and self.parts[-1][0] == level:
            _, left = self.parts.pop()
            node = sha256(b"\x01" + left + node).digest()
            level += 1
            made.append((level, (self.size >> level) - 1, node))
        self.parts.append((level, node))
        return made

    def root(self) -> bytes:
        found = b""
        for _, part in reversed(self.parts):
            found = sha256(b"\x01" + part + found).digest() if found else part
        return found


def check_log(connection: Connection, keys: Iterable[Ed25519PublicKey], known: Tree | None = None) -> Findings:
    """Derive the log anew. ``known`` is a checkpoint that somebody kept: the stored log must still lead to it."""
    found = Findings()
    _check_chains(connection, found)
    signed = _checkpoints(connection, tuple(keys), found)
    if known is not None:
        signed.setdefault(known.size, []).append(known)
    nodes = _stored_nodes(connection)
    tree = _Tree()
    for position, row in enumerate(_positions(connection)):
        _check_position(position, row, found)
        try:
            leaf = leaf_of(row.event_hash)
        except LogError as exc:
            found.add(f"position {position}: {exc}")
            break
        for level, index, value in tree.add(leaf):
            stored = nodes.pop((level, index), None)
            if stored is not None and stored != value.hex():
                found.add(f"node {index} of level {level} is not what its leaves hash to")
        for claimed in signed.pop(tree.size, ()):
            if claimed.root != tree.root():
                found.add(f"the log does not lead to its checkpoint of size {claimed.size}")
    found.events = tree.size
    for size in sorted(signed):
        found.add(f"a checkpoint of size {size} was signed, the log has {tree.size} events")
    for level, index in sorted(nodes):
        found.add(f"node {index} of level {level} stands over leaves that are not there")
    return found


def _checkpoints(connection: Connection, keys: tuple[Ed25519PublicKey, ...], found: Findings) -> dict[int, list[Tree]]:
    signed: dict[int, list[Tree]] = {}
    for row in connection.execute(select(log_checkpoints).order_by(log_checkpoints.c.size)):
        found.checkpoints += 1
        try:
            tree = read_note(row.note, keys)
        except LogError as exc:
            found.add(f"checkpoint {row.size}: {exc}")
            continue
        if (tree.size, tree.root.hex()) != (row.size, row.root):
            found.add(f"checkpoint {row.size}: its row says another size or root than its note")
        signed.setdefault(tree.size, []).append(tree)
    return signed


def _stored_nodes(connection: Connection) -> dict[tuple[int, int], str]:
    return {(row.level, row.place): row.hash for row in connection.execute(select(log_nodes))}


def _positions(connection: Connection) -> Iterator[Any]:
    """Positions in order, each beside what the event of its chain says."""
    log, events = log_positions.c, audit_events.c
    after = -1
    while True:
        rows = connection.execute(
            select(
                log.position, log.event_hash, log.event_type, log.created_us,
                events.event_hash.label("chain_hash"), events.event_type.label("chain_type"),
                events.created_us.label("chain_us"),
            )
            .join_from(
                log_positions, audit_events, (events.agent_id == log.agent_id) & (events.seq == log.seq), isouter=True
            )
            .where(log.position > after)
            .order_by(log.position)
            .limit(_ROWS)
        ).all()  # fmt: skip
        yield from rows
        if len(rows) < _ROWS:
            return
        after = rows[-1].position


def _check_position(position: int, row: Any, found: Findings) -> None:
    if row.position != position:
        found.add(f"position {position} is missing")
    beside = (row.chain_hash, row.chain_type, row.chain_us)
    if (row.event_hash, row.event_type, row.created_us) != beside:
        found.add(f"position {row.position} says another event than its chain")


def _check_chains(connection: Connection, found: Findings) -> None:
    for head in connection.execute(select(chain_heads).order_by(chain_heads.c.agent_id)).all():
        found.chains += 1
        claimed = Checkpoint(head.agent_id, head.seq, head.event_hash, head.verifier_hash)
        result = verify_rows(_events(connection, head.agent_id, head.seq), agent_id=head.agent_id, head=claimed)
        if not result.valid:
            found.add(f"the chain of {head.agent_id} breaks at seq {result.failure_seq}: {result.failure_reason}")


def _events(connection: Connection, agent_id: str, last: int) -> Iterator[StoredEvent]:
    """The events up to the head that was read first: a gateway may be writing."""
    columns, after = audit_events.c, -1
    while True:
        statement = select(audit_events).where(columns.agent_id == agent_id, columns.seq > after, columns.seq <= last)
        rows = connection.execute(statement.order_by(columns.seq).limit(_ROWS)).all()
        for row in rows:
            yield StoredEvent(
                id=row.id,
                agent_id=row.agent_id,
                seq=row.seq,
                event_type=row.event_type,
                ts=iso(row.created_us),
                payload=row.payload.encode("utf-8"),
                previous_hash=row.previous_hash,
                event_hash=row.event_hash,
                verifier_hash=row.verifier_hash,
            )
        if len(rows) < _ROWS:
            return
        after = rows[-1].seq
