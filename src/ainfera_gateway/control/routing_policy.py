"""A tenant's routing policy: versioned documents, the newest in force. Each version is a row that nobody can change.

A chain belongs to an agent and a policy to its tenant, so a change has no audit event; the row is its record.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.clock import iso
from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.ids import new_id
from ainfera_gateway.routing.aliases import ALIASES, ROUTER_SLUG, resolve
from ainfera_gateway.routing.store import StoredPolicy, newest_policy
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tenant_scope import tenant_reads

ALIASES_MAX = 256
ALIAS_CHARS_MAX = 128
TARGET_CHARS_MAX = 256
_RESERVED = frozenset({ROUTER_SLUG, *ALIASES})
_TOLERATED_PREFIX = "openai/"
_TRIES = 5
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,80}")


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """The unit that adds one version."""

    tenant_id: str
    version: int
    document: str
    created_by: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        row = {
            "id": new_id(),
            "tenant_id": self.tenant_id,
            "version": self.version,
            "document": self.document,
            "created_us": page.now_us,
            "created_by": self.created_by,
        }
        page.insert("routing_policies", row)


def shown_routing_policy(control: Control, tenant_id: str) -> dict[str, Any]:
    """``{tenant_id, version, document, created_at, created_by}``; version 0 is the empty document of the start."""
    with tenant_reads(control.reader, tenant_id) as connection:
        return _shown(tenant_id, newest_policy(connection, tenant_id))


def put_routing_policy(control: Control, caller: Caller, model_aliases: Mapping[str, str]) -> dict[str, Any]:
    """Check and store the document, and answer as a read would. The same document again is no new version.

    Raises 400 ``invalid_request`` that names the member. The next call on this process is under the new version.
    """
    faults = alias_faults(model_aliases, control.catalog().models)
    if faults:
        raise bad_document(faults)
    document = {"model_aliases": dict(sorted(model_aliases.items()))}
    for _ in range(_TRIES):
        with tenant_reads(control.reader, caller.tenant_id) as connection:
            newest = newest_policy(connection, caller.tenant_id)
        if newest is not None and newest.document == document:
            break
        version = 1 if newest is None else newest.version + 1
        try:
            commit(control, StorePolicy(caller.tenant_id, version, json.dumps(document), caller.key_id))
        except (sqlite3.IntegrityError, asyncpg.UniqueViolationError):
            # Another change took this number; this one comes after it.
            continue
        control.changed(caller.tenant_id)
        break
    else:
        raise GatewayError(503, "overloaded", "The policy changes too fast; try again.", headers={"retry-after": "1"})
    return shown_routing_policy(control, caller.tenant_id)


def alias_faults(aliases: Mapping[str, str], models: Mapping[str, Model]) -> list[tuple[str, str]]:
    """(field, reason) of each alias that cannot stand. The catalog has ``models``."""
    faults = []
    for name, target in aliases.items():
        reason = _name_fault(name) or _target_fault(target, aliases, models)
        if reason is not None:
            faults.append((f"model_aliases.{name}" if _PLAIN.fullmatch(name) else "model_aliases", reason))
    return faults


def bad_document(faults: list[tuple[str, str]]) -> GatewayError:
    """400 ``invalid_request``; ``detail.fields`` lists ``{field, message}``."""
    shown = [{"field": field, "message": message} for field, message in faults[:20]]
    first, message = faults[0]
    return GatewayError(400, "invalid_request", f"{first}: {message}", field=first, detail={"fields": shown})


def _name_fault(name: str) -> str | None:
    if not 1 <= len(name) <= ALIAS_CHARS_MAX:
        return f"a name has 1 to {ALIAS_CHARS_MAX} characters"
    if not name.isprintable() or name != name.strip():
        return "a name is printable text without a space at its ends"
    if name.removeprefix(_TOLERATED_PREFIX) in _RESERVED:
        return "this name always means the router"
    return None


def _target_fault(target: str, aliases: Mapping[str, str], models: Mapping[str, Model]) -> str | None:
    if target in aliases:
        return "an alias cannot lead to an alias"
    try:
        resolved = resolve(target, models)
    except GatewayError:
        return f"must lead to {ROUTER_SLUG} or to a model of the catalog"
    return None if resolved.alias is None else f"say {ROUTER_SLUG} for the router"


def _shown(tenant_id: str, policy: StoredPolicy | None) -> dict[str, Any]:
    document = {"model_aliases": {}} if policy is None else policy.document
    return {
        "tenant_id": tenant_id,
        "version": 0 if policy is None else policy.version,
        "document": document,
        "created_at": None if policy is None else iso(policy.created_us),
        "created_by": None if policy is None else policy.created_by,
    }
