"""A tenant's routing policy as it stands in the append-only table: the newest version is in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from ainfera_gateway.storage.tables import routing_policies


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One version; ``created_by`` is the id of the key that stored it."""

    version: int
    document: Mapping[str, Any]
    created_us: int
    created_by: str


def newest_policy(connection: Connection, tenant_id: str) -> StoredPolicy | None:
    """The version in force, by one indexed read; ``None`` for a tenant that never stored one."""
    table = routing_policies.c
    row = connection.execute(
        select(table.version, table.document, table.created_us, table.created_by)
        .where(table.tenant_id == tenant_id)
        .order_by(table.version.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else StoredPolicy(row.version, json.loads(row.document), row.created_us, row.created_by)


def tenant_aliases(connection: Connection, tenant_id: str) -> Mapping[str, str]:
    """The tenant's own model names: alias to the router's slug or a catalog slug. Empty without a policy.

    An alias stands before the catalog: a tenant may call a catalog slug and mean the router. A target is never an
    alias, so one step resolves a name; that the target is still in the catalog is for the caller to check.
    """
    policy = newest_policy(connection, tenant_id)
    aliases: Mapping[str, str] = {} if policy is None else policy.document.get("model_aliases", {})
    return aliases
