"""Further agents of a tenant: no grant, an empty wallet, a handle made of the name."""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ainfera_gateway.agents.handles import HANDLE_CHARS_MAX, HANDLE_CHARS_MIN, canonical_uri, did_web, handle_fault
from ainfera_gateway.clock import iso
from ainfera_gateway.control.birth import NewAgent, new_agent
from ainfera_gateway.control.commit import commit, handle_taken
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import RESERVED_HANDLES, AgentRow, agent_of_row, own_agent, select_agents
from ainfera_gateway.control.spend_policy import shown_policy
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import agents, tenants
from ainfera_gateway.storage.tenant_scope import tenant_reads

AGENTS_LISTED_MAX = 500
_TRIES = 5
_NOT_HANDLE = re.compile(r"[^a-z0-9]+")
_SUFFIX_BYTES = 3


@dataclass(frozen=True, slots=True)
class Register:
    """The unit of one more agent."""

    agent: NewAgent
    trace_id: str

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        self.agent.write(page, self.trace_id)


def register(control: Control, *, tenant_id: str, name: str, issuer: str, trace_id: str) -> dict[str, Any]:
    """Record an agent of the tenant; a handle that is taken gets a suffix. Raises 404 for no such tenant."""
    with control.reader.connect() as connection:
        owner = connection.execute(select(tenants.c.owner_handle).where(tenants.c.id == tenant_id)).scalar_one_or_none()
    if owner is None:
        raise not_found()
    handle = handle_of_name(name)
    for attempt in range(_TRIES):
        tried = handle if attempt == 0 and _is_free(control, owner, handle) else suffixed(handle)
        agent = new_agent(control, tenant_id=tenant_id, owner_handle=owner, handle=tried, name=name, issuer=issuer)
        try:
            commit(control, Register(agent, trace_id))
        except GatewayError as exc:
            if exc.code != "handle_taken":
                raise
            continue
        control.changed(agent.agent_id)
        return shown_agent(control, own_agent(control, agent.agent_id, tenant_id))
    raise handle_taken()


def handle_of_name(name: str) -> str:
    """A handle that reads like ``name``: lower case, ASCII, hyphens; ``agent-…`` where nothing readable is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    handle = _NOT_HANDLE.sub("-", plain).strip("-")[:HANDLE_CHARS_MAX].strip("-")
    if len(handle) < HANDLE_CHARS_MIN:
        handle = f"agent-{handle}" if handle else suffixed("agent")
    return suffixed("agent") if handle_fault(handle) else handle


def suffixed(handle: str) -> str:
    """``handle`` with a random suffix, within the bound."""
    suffix = f"-{secrets.token_hex(_SUFFIX_BYTES)}"
    return handle[: HANDLE_CHARS_MAX - len(suffix)].rstrip("-") + suffix


def list_agents(
    control: Control,
    tenant_id: str,
    *,
    limit: int,
    after: str | None,
    status: str | None = None,
    handle: str | None = None,
) -> dict[str, Any]:
    """``{agents, has_more, next_after}`` in the order they were made; ``after`` is the last id of the page before."""
    statement = select_agents().where(agents.c.tenant_id == tenant_id)
    for column, value in ((agents.c.status, status), (agents.c.handle, handle)):
        if value is not None:
            statement = statement.where(column == value)
    if after is not None:
        statement = statement.where(agents.c.id > after)
    with tenant_reads(control.reader, tenant_id) as connection:
        rows = connection.execute(statement.order_by(agents.c.id).limit(limit + 1)).all()
    shown = [shown_agent(control, agent_of_row(row)) for row in rows[:limit]]
    more = len(rows) > limit
    return {"agents": shown, "has_more": more, "next_after": shown[-1]["id"] if more else None}


def shown_agent(control: Control, agent: AgentRow) -> dict[str, Any]:
    """The Agent of the contract."""
    host = control.settings.did_host
    return {
        "id": agent.id,
        "tenant_id": agent.tenant_id,
        "name": agent.name,
        "status": agent.status,
        "public_key_ed25519": agent.public_key_pem,
        "kid": agent.kid,
        "created_at": iso(agent.created_us),
        "handle": agent.handle,
        "owner_handle": agent.owner_handle,
        "canonical_uri": canonical_uri(agent.owner_handle, agent.handle, host),
        "did_web": did_web(agent.owner_handle, agent.handle, host),
        "wallet_address": agent.wallet_address,
        "metadata": None if agent.metadata is None else json.loads(agent.metadata),
        "audit_visibility": agent.audit_visibility,
        **{key: value for key, value in shown_policy(agent).items() if key != "agent_id"},
    }


def _is_free(control: Control, owner: str, handle: str) -> bool:
    if handle in RESERVED_HANDLES:
        return False
    taken = select(agents.c.id).where(agents.c.owner_handle == owner, agents.c.handle == handle)
    with control.reader.connect() as connection:
        return connection.execute(taken).first() is None
