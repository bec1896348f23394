"""API keys: made (shown once), listed, revoked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ainfera_gateway.agents.keys import MintedKey, mint
from ainfera_gateway.clock import iso
from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import agent_in_body
from ainfera_gateway.errors import not_found
from ainfera_gateway.ids import is_id, new_id
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import agents, api_keys
from ainfera_gateway.storage.tenant_scope import tenant_reads

KEYS_LISTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class NewKey:
    """The unit that records a key; only its hash and prefix are stored.

    ``witness`` is the agent whose chain the event goes to: the bound one, or for an unbound key the tenant's first.
    """

    key_id: str
    tenant_id: str
    agent_id: str | None
    witness: str
    scope: str
    name: str | None
    minted: MintedKey
    trace_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.witness,))

    def apply(self, page: Page) -> int:
        write_key(page, self)
        return page.now_us


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """The unit that ends a key. ``submit`` returns the moment in microseconds."""

    key_id: str
    witness: str
    scope: str
    trace_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.witness,))

    def apply(self, page: Page) -> int:
        page.execute(
            "UPDATE api_keys SET revoked_us = :now_us WHERE id = :id AND revoked_us IS NULL",
            {"now_us": page.now_us, "id": self.key_id},
        )
        page.append(
            self.witness, "key.revoked", {"trace_id": self.trace_id, "key_id": self.key_id, "scope": self.scope}
        )
        return page.now_us


def write_key(page: Page, new: NewKey) -> None:
    """The row and the event of a new key."""
    page.insert(
        "api_keys",
        {
            "id": new.key_id,
            "tenant_id": new.tenant_id,
            "agent_id": new.agent_id,
            "scope": new.scope,
            "key_hash": new.minted.key_hash,
            "prefix": new.minted.prefix,
            "name": new.name,
            "created_us": page.now_us,
            "revoked_us": None,
        },
    )
    page.append(
        new.witness,
        "key.created",
        {"trace_id": new.trace_id, "key_id": new.key_id, "scope": new.scope, "bound": new.agent_id is not None},
    )


def create_key(
    control: Control, *, tenant_id: str, scope: str, agent: str | None, name: str | None, trace_id: str
) -> dict[str, Any]:
    """A new key of the tenant, bound to ``agent`` when given, otherwise to none: its calls name their ``agent_id``.

    Raises 403 ``forbidden`` for no agent of the tenant.
    """
    agent_id = None if agent is None else agent_in_body(control, agent, tenant_id).id
    new = NewKey(
        new_id(), tenant_id, agent_id, agent_id or _first_agent(control, tenant_id), scope, name, mint(), trace_id
    )
    created_us = commit(control, new)
    control.changed(new.key_id)
    shown = _shown(new.key_id, agent_id, scope, new.minted.prefix, name, created_us, None)
    return {**shown, "api_key": new.minted.secret}


def list_keys(control: Control, tenant_id: str) -> list[dict[str, Any]]:
    """The tenant's keys, newest first, revoked ones included."""
    statement = (
        select(
            api_keys.c.id,
            api_keys.c.agent_id,
            api_keys.c.scope,
            api_keys.c.prefix,
            api_keys.c.name,
            api_keys.c.created_us,
            api_keys.c.revoked_us,
        )
        .where(api_keys.c.tenant_id == tenant_id)
        .order_by(api_keys.c.id.desc())
        .limit(KEYS_LISTED_MAX)
    )
    with tenant_reads(control.reader, tenant_id) as connection:
        return [_shown(*row) for row in connection.execute(statement)]


def revoke_key(control: Control, *, tenant_id: str, key_id: str, trace_id: str) -> dict[str, Any]:
    """End a key of the tenant; ending it again changes nothing. Raises 404."""
    statement = select(
        api_keys.c.id,
        api_keys.c.agent_id,
        api_keys.c.scope,
        api_keys.c.prefix,
        api_keys.c.name,
        api_keys.c.created_us,
        api_keys.c.revoked_us,
    ).where(api_keys.c.id == key_id, api_keys.c.tenant_id == tenant_id)
    with tenant_reads(control.reader, tenant_id) as connection:
        row = connection.execute(statement).one_or_none() if is_id(key_id) else None
    if row is None:
        raise not_found()
    revoked_us = row.revoked_us
    if revoked_us is None:
        witness = row.agent_id or _first_agent(control, tenant_id)
        revoked_us = commit(control, RevokeKey(key_id, witness, row.scope, trace_id))
        control.changed(key_id)
    return _shown(row.id, row.agent_id, row.scope, row.prefix, row.name, row.created_us, revoked_us)


def _first_agent(control: Control, tenant_id: str) -> str:
    statement = select(agents.c.id).where(agents.c.tenant_id == tenant_id).order_by(agents.c.id).limit(1)
    with tenant_reads(control.reader, tenant_id) as connection:
        return str(connection.execute(statement).scalar_one())


def _shown(
    key_id: str,
    agent_id: str | None,
    scope: str,
    prefix: str,
    name: str | None,
    created_us: int,
    revoked_us: int | None,
) -> dict[str, Any]:
    return {
        "id": key_id,
        "agent_id": agent_id,
        "scope": scope,
        "prefix": prefix,
        "name": name,
        "created_at": iso(created_us),
        "revoked_at": None if revoked_us is None else iso(revoked_us),
    }
