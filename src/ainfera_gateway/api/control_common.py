"""What the control plane's handlers share: who calls, the control rooms, the address we are known by, answers."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Path, Query, Request, Response

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.api.context import RequestContext, context_of
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import AgentRow, audited_agent, own_agent
from ainfera_gateway.control.reads_audit import VerifiedHeads
from ainfera_gateway.errors import GatewayError

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")


class Here:
    """One request among the control rooms."""

    __slots__ = ("context", "control", "heads", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.context: RequestContext = context_of(request.scope)
        self.control: Control = request.app.state.control
        self.heads: VerifiedHeads = request.app.state.heads

    @property
    def caller(self) -> Caller:
        """The bearer. The door lets nobody else through on such routes; this holds if it ever did."""
        if self.context.caller is None:
            raise GatewayError(401, "missing_api_key", "Show a key: Authorization: Bearer <key>.")
        return self.context.caller

    @property
    def owner(self) -> Caller:
        """The bearer of an owner's key."""
        caller = self.caller
        if caller.scope != "owner":
            raise GatewayError(403, "forbidden", "This key's scope is inference; an owner's key may do this.")
        return caller

    @property
    def trace_id(self) -> str:
        return self.context.trace_id

    @property
    def base_url(self) -> str:
        """Our public URL without a slash at the end: the setting, else the host that this request named."""
        settings = self.control.settings
        if settings.public_url:
            return settings.public_url.rstrip("/")
        host = self.request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            host = f"{settings.host}:{settings.port}"
        return f"{self.request.scope.get('scheme', 'http')}://{host}"

    def agent(self, reference: str) -> AgentRow:
        """The caller's own agent, or 404."""
        return own_agent(self.control, reference, self.caller.tenant_id)

    def audited(self, reference: str) -> AgentRow:
        """An agent whose chain may be read by this caller, or 404."""
        caller = self.context.caller
        tenant_id = None if caller is None else caller.tenant_id
        return audited_agent(self.control, reference, tenant_id, internal=self.context.internal)


async def _here(request: Request) -> Here:
    return Here(request)


HereDep = Annotated[Here, Depends(_here)]
AgentPath = Annotated[str, Path(description="The agent's UUID, or its handle where only one agent can be meant")]


def page_limit(default: int, most: int) -> Any:
    """A ``limit`` parameter: from 1 up to ``most``."""
    return Query(ge=1, le=most, description=f"At most {most}; {default} when left out")


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def require_internal(here: Here) -> None:
    """The door lets nobody else through on the operator's routes; this holds if it ever did."""
    if not here.context.internal:
        raise GatewayError(401, "missing_api_key", "This route needs the internal key.")
