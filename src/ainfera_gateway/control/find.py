"""Which agent a caller means: by UUID, or by handle where only one can be meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select

from ainfera_gateway.control.context import Control
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.ids import is_id
from ainfera_gateway.storage.tables import agents, tenants

HANDLE = re.compile(r"[a-z0-9-]{3,40}")
RESERVED_HANDLES = frozenset({"cards", "height", "public", "register", "signup", "topup"})
"""Handles that a path of ours would hide."""


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent and its tenant's facts, as the control plane reads them. Caps in pico-USD, moments in microseconds."""

    id: str
    tenant_id: str
    owner_handle: str
    handle: str
    name: str
    status: str
    public_key_pem: str
    kid: str
    wallet_address: str | None
    metadata: str | None
    per_call_cap_picousd: int | None
    daily_cap_picousd: int | None
    monthly_cap_picousd: int | None
    allowed_brands: str | None
    preset: str | None
    created_us: int
    audit_visibility: str


_COLUMNS = tuple(agents.c[name] for name in AgentRow.__dataclass_fields__ if name != "audit_visibility")


def select_agents() -> Select[*tuple[Any, ...]]:
    """The columns of ``AgentRow``, in its order."""
    return select(*_COLUMNS, tenants.c.audit_visibility).join(tenants, tenants.c.id == agents.c.tenant_id)


def agent_of_row(row: Row[*tuple[Any, ...]]) -> AgentRow:
    """An ``AgentRow`` of a row that ``select_agents`` read."""
    return AgentRow(*row)


def own_agent(control: Control, reference: str, tenant_id: str | None) -> AgentRow:
    """The tenant's agent by UUID or handle; ``None`` as tenant is the operator, who sees all.

    Raises 404 ``not_found``, the same for unknown, foreign and ambiguous.
    """
    mine = () if tenant_id is None else (agents.c.tenant_id == tenant_id,)
    found = _find(control, reference, mine)
    if len(found) != 1:
        raise not_found()
    return found[0]


def agent_in_body(control: Control, reference: str, tenant_id: str | None) -> AgentRow:
    """As ``own_agent``, for an agent that a body names: 403 ``forbidden``, the same for foreign and unknown."""
    try:
        return own_agent(control, reference, tenant_id)
    except GatewayError as exc:
        if tenant_id is None:
            raise
        raise GatewayError(403, "forbidden", "The key's tenant has no such agent.", field="agent_id") from exc


def audited_agent(control: Control, reference: str, tenant_id: str | None, *, internal: bool) -> AgentRow:
    """An agent whose chain the caller may read: any of a public tenant, else only its own. Raises 404.

    A handle means the caller's own agent first, then the only visible one.
    """
    found = _find(control, reference, ())
    own = [agent for agent in found if agent.tenant_id == tenant_id]
    visible = [agent for agent in found if internal or agent.audit_visibility == "public"]
    for candidates in (own, visible):
        if len(candidates) == 1:
            return candidates[0]
    raise not_found()


def _find(control: Control, reference: str, conditions: tuple[ColumnElement[bool], ...]) -> list[AgentRow]:
    if is_id(reference):
        wanted = agents.c.id == reference
    elif HANDLE.fullmatch(reference):
        wanted = agents.c.handle == reference
    else:
        return []
    # Two rows are enough to know that a handle is ambiguous, except across tenants, where each may be visible or not.
    statement = select_agents().where(wanted, *conditions).order_by(agents.c.id).limit(100)
    with control.reader.connect() as connection:
        return [agent_of_row(row) for row in connection.execute(statement)]
