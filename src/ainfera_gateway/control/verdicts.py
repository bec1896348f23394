"""Verdicts on brands by the operator: each a new row, numbered within its brand; rows are never changed.

A chain belongs to an agent and a verdict to none, so a change has no audit event; the row, which nobody can change, is
its record, and every decision names the versions of the verdicts that it rests on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from sqlalchemy import func, select

from ainfera_gateway.clock import iso
from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.ids import new_id
from ainfera_gateway.policy.store import load_verdicts
from ainfera_gateway.policy.verdicts import NewVerdict, allowed, pin_allowed
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import brand_verdicts

LISTED_MAX: Final = 500
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class StoreVerdict:
    """The unit that adds a row; a version that is taken is refused by the database."""

    verdict: NewVerdict
    version: int

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> dict[str, Any]:
        new = self.verdict
        row = {
            "id": new_id(),
            "brand": new.brand,
            "verdict": new.verdict,
            "condition": new.condition,
            "decided_by": new.decided_by,
            "decided_at_us": page.now_us,
            "evidence_url": new.evidence_url,
            "version": self.version,
        }
        page.insert("brand_verdicts", row)
        return row


def add_verdict(control: Control, new: NewVerdict) -> dict[str, Any]:
    """Store the verdict as the newest of its brand; every process is under it within a second."""
    latest = select(func.max(brand_verdicts.c.version)).where(brand_verdicts.c.brand == new.brand)
    for _ in range(_TRIES):
        with control.reader.connect() as connection:
            version = (connection.execute(latest).scalar_one() or 0) + 1
        try:
            return _shown(commit(control, StoreVerdict(new, version)), in_force=True)
        except (sqlite3.IntegrityError, asyncpg.UniqueViolationError):
            continue  # another change took this number; this one comes after it
    raise GatewayError(503, "overloaded", "The verdict changes too fast; try again.", headers={"retry-after": "1"})


def list_verdicts(control: Control, brand: str | None) -> dict[str, Any]:
    """``{verdicts, has_more}``: rows, the newest first; at most ``LISTED_MAX``."""
    statement = select(brand_verdicts).order_by(brand_verdicts.c.decided_at_us.desc(), brand_verdicts.c.id.desc())
    if brand is not None:
        statement = statement.where(brand_verdicts.c.brand == brand)
    with control.reader.connect() as connection:
        rows = [dict(row) for row in connection.execute(statement.limit(LISTED_MAX + 1)).mappings()]
        versions = {name: verdict.version for name, verdict in load_verdicts(connection).items()}
    shown = [_shown(row, in_force=versions[row["brand"]] == row["version"]) for row in rows[:LISTED_MAX]]
    return {"verdicts": shown, "has_more": len(rows) > LISTED_MAX}


def explain_verdict(control: Control, brand: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """What the brand's verdict says of a request with that ``routing_hint.context``, routed to and named."""
    with control.reader.connect() as connection:
        known = load_verdicts(connection)
    routed, named = allowed(brand, known, context), pin_allowed(brand, known, context)
    return {
        "brand": brand,
        "allowed": routed.allowed,
        "reason": routed.reason,
        "allowed_by_name": named.allowed,
        "version": routed.version,
    }


def _shown(row: Mapping[str, Any], *, in_force: bool) -> dict[str, Any]:
    return {
        "id": row["id"],
        "brand": row["brand"],
        "verdict": row["verdict"],
        "condition": None if row["condition"] is None else json.loads(row["condition"]),
        "decided_by": row["decided_by"],
        "decided_at": iso(row["decided_at_us"]),
        "evidence_url": row["evidence_url"],
        "version": row["version"],
        "in_force": in_force,
    }
