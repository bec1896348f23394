"""Who of the processes on one database is alive: a lease each, renewed while the process can write.

SQLite serves one process at a time (``storage/lock.py``), so there every other owner is dead. On PostgreSQL the
database's own clock judges, because the clocks of several nodes differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, select, text

from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import worker_leases

LEASE_S = 10.0
"""A process that has not renewed its lease for so long is taken for dead."""
RENEW_S = 1.0
_KEPT_S = 3 * 24 * 3600

_NOW_US = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
_RENEW = (
    f"INSERT INTO worker_leases (owner, seen_us) VALUES (:owner, {_NOW_US})"  # noqa: S608 - a constant of ours
    " ON CONFLICT (owner) DO UPDATE SET seen_us = excluded.seen_us"
)
_PURGE = f"DELETE FROM worker_leases WHERE seen_us < {_NOW_US} - :kept_us"  # noqa: S608 - a constant of ours
_RELEASE = "DELETE FROM worker_leases WHERE owner = :owner"


@dataclass(frozen=True, slots=True)
class RenewLease:
    """The unit that says: this process lives. PostgreSQL only."""

    owner: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        page.execute(_RENEW, {"owner": self.owner})
        page.execute(_PURGE, {"kept_us": int(_KEPT_S * 1_000_000)})


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """The unit that says: this process ends in good order; what it left open may be recovered at once."""

    owner: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        page.execute(_RELEASE, {"owner": self.owner})


def known(reader: Engine) -> frozenset[str]:
    """The owners that have a lease, whether it holds or has run out."""
    if reader.dialect.name != "postgresql":
        return frozenset()
    with reader.connect() as connection:
        return frozenset(connection.execute(select(worker_leases.c.owner)).scalars())


def living(reader: Engine) -> frozenset[str]:
    """The owners whose lease holds."""
    if reader.dialect.name != "postgresql":
        return frozenset()
    held = worker_leases.c.seen_us > text(f"{_NOW_US} - {int(LEASE_S * 1_000_000)}")
    with reader.connect() as connection:
        return frozenset(connection.execute(select(worker_leases.c.owner).where(held)).scalars())
