"""A chain, verified from the rows of the database, in both forms at once and against the head the store claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.engine import Connection

from ainfera_gateway.audit.events import Checkpoint, StoredEvent, VerifyResult
from ainfera_gateway.audit.fsck import Findings, check_log
from ainfera_gateway.audit.verify import verify_rows
from ainfera_gateway.audit.verify_log import Tree
from ainfera_gateway.clock import iso
from ainfera_gateway.ids import is_id
from ainfera_gateway.ledger.laws import check
from ainfera_gateway.storage.engine import Database, require_head
from ainfera_gateway.storage.tables import agents, audit_events, chain_heads

_ROWS_AT_ONCE = 1000


def verify_in_database(database: Database, reference: str) -> VerifyResult:
    """Verify the chain of the agent with this id or handle.

    Raises ``SchemaError`` for a database of another version and ``LookupError`` when no or several agents are meant.
    """
    require_head(database)
    reader = database.reader(limited=False)
    try:
        with reader.connect() as connection:
            agent_id = _agent_id(connection, reference)
            head = connection.execute(select(chain_heads).where(chain_heads.c.agent_id == agent_id)).one_or_none()
            claimed = None if head is None else Checkpoint(agent_id, head.seq, head.event_hash, head.verifier_hash)
            return verify_rows(_events(connection, agent_id, claimed), agent_id=agent_id, head=claimed)
    finally:
        reader.dispose()


def fsck_database(database: Database, keys: Iterable[Ed25519PublicKey], known: Tree | None) -> Findings:
    """Derive the log of a database anew (see ``check_log``) and ask every law of the ledger of all that is stored.

    Raises ``SchemaError``.
    """
    require_head(database)
    reader = database.reader(limited=False)
    try:
        with reader.connect() as connection:
            # All of one moment: a gateway may be writing.
            if database.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
            found = check_log(connection, keys, known)
            for law, times in check(connection).broken.items():
                found.add(f"the law {law} of the ledger is broken {times} times")
            return found
    finally:
        reader.dispose()


def _agent_id(connection: Connection, reference: str) -> str:
    wanted = agents.c.id == reference if is_id(reference) else agents.c.handle == reference
    found = list(connection.execute(select(agents.c.id).where(wanted).limit(2)).scalars())
    if len(found) != 1:
        if found:
            raise LookupError(f"several agents have the handle {reference!r}: name the agent's id")
        raise LookupError(f"there is no agent {reference!r} in this database")
    return str(found[0])


def _events(connection: Connection, agent_id: str, head: Checkpoint | None) -> Iterator[StoredEvent]:
    """Up to the head that was read first: a gateway may be writing while we read."""
    statement = select(audit_events).where(audit_events.c.agent_id == agent_id).order_by(audit_events.c.seq)
    if head is not None:
        statement = statement.where(audit_events.c.seq <= head.seq)
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement)
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
