"""Reads on behalf of a tenant: on PostgreSQL a forgotten condition shows that tenant's rows and nobody else's.

Row-level security is a second wall: each statement says its tenant itself as well. SQLite has no such thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

ROLE: Final = "ainfera_tenant"

# The role is taken for this transaction, if there is one and this user may; a pooler may give the next to somebody else.
_TAKE = text(
    "SELECT set_config('ainfera.tenant', :tenant, true), set_config('role', rolname, true)"
    " FROM pg_roles WHERE rolname = :role AND pg_has_role(oid, 'MEMBER')"
)


@contextmanager
def tenant_reads(reader: Engine, tenant_id: str) -> Iterator[Connection]:
    """A connection whose one transaction sees the rows of ``tenant_id`` alone. Raises what the engine raises."""
    with reader.connect() as connection:
        if reader.dialect.name == "postgresql":
            connection.execute(_TAKE, {"tenant": tenant_id, "role": ROLE})
        yield connection


def has_role(connection: Connection) -> bool:
    """Whether reads for a tenant are walled off here; True on SQLite, where nobody else shares the file."""
    if connection.dialect.name != "postgresql":
        return True
    found = text("SELECT 1 FROM pg_roles WHERE rolname = :role AND pg_has_role(oid, 'MEMBER')")
    return connection.execute(found, {"role": ROLE}).first() is not None
