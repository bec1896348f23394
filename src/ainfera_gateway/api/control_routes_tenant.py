"""What a tenant asks of all its agents at once: lists of calls, what they used and cost, and its routing policy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from ainfera_gateway.api.asgi import read_body
from ainfera_gateway.api.control_body import BODY_BYTES_MAX, documented, parse_body
from ainfera_gateway.api.control_common import HereDep, answer
from ainfera_gateway.api.control_query import AgentsQuery, CallsQuery, UsageQuery
from ainfera_gateway.api.control_types import RoutingPolicyBody
from ainfera_gateway.control import list_inferences, register, routing_policy
from ainfera_gateway.control.usage import usage
from ainfera_gateway.errors import GatewayError

router = APIRouter()

AgentsAsked = Annotated[AgentsQuery, Query()]
CallsAsked = Annotated[CallsQuery, Query()]
UsageAsked = Annotated[UsageQuery, Query()]


async def _policy_document(request: Request) -> RoutingPolicyBody:
    """The body of ``PUT /v1/routing-policy``; a bad document is 400 there."""
    raw = await read_body(request.receive, BODY_BYTES_MAX)
    try:
        return parse_body(raw, RoutingPolicyBody)
    except GatewayError as exc:
        faults = [(fault["field"], fault["message"]) for fault in exc.detail["fields"]]
        raise routing_policy.bad_document(faults) from exc


PolicyDep = Annotated[RoutingPolicyBody, Depends(_policy_document)]


@router.get("/v1/agents", tags=["agents"])
def list_agents(here: HereDep, asked: AgentsAsked) -> Response:
    """The tenant's agents in the order they were made; `next_after` asks for the next page."""
    asked.check(here.request)
    found = register.list_agents(
        here.control,
        here.caller.tenant_id,
        limit=asked.limit,
        after=asked.after,
        status=asked.status,
        handle=asked.handle,
    )
    return answer(found)


@router.get("/v1/inferences", tags=["inferences"])
def list_calls(here: HereDep, asked: CallsAsked) -> Response:
    """Ended calls of the tenant, the one that ended last first. A page with filters may show less than `limit`, even
    nothing, while `has_more` is true: go on with `next_before`."""
    asked.check(here.request)
    page = list_inferences.page(
        here.control.reader,
        here.caller.tenant_id,
        asked.wanted(None if asked.agent_id is None else here.agent(asked.agent_id).id),
        limit=asked.limit,
        before=asked.before,
        after=asked.after,
    )
    return answer(page)


@router.get("/v1/usage", tags=["usage"])
def get_usage(here: HereDep, asked: UsageAsked) -> Response:
    """Calls, tokens and cost by agent, model, UTC day and tag, as JSON or CSV. A call with several tags counts in the
    row of each of them, and once in the total."""
    asked.check(here.request)
    found = usage(
        here.control.reader,
        here.caller.tenant_id,
        group_by=asked.group_by,
        agent_id=None if asked.agent_id is None else here.agent(asked.agent_id).id,
        since_us=asked.since,
        until_us=asked.until,
    )
    if asked.format == "json":
        return answer(found.document())
    disposition = {"content-disposition": 'attachment; filename="usage.csv"'}
    return Response(found.csv_text(), 200, disposition, "text/csv; charset=utf-8; header=present")


@router.get("/v1/routing-policy", tags=["routing"])
def get_policy(here: HereDep) -> Response:
    """The tenant's routing policy with its version; version 0 says that none was stored yet."""
    return answer(routing_policy.shown_routing_policy(here.control, here.caller.tenant_id))


@router.put("/v1/routing-policy", tags=["routing"], openapi_extra=documented(RoutingPolicyBody))
def put_policy(here: HereDep, document: PolicyDep) -> Response:
    """Replace the routing policy. `model_aliases` gives models names of the tenant's own: each leads to
    `ainfera-inference` or to a model of the catalog."""
    return answer(routing_policy.put_routing_policy(here.control, here.owner, document.model_aliases))
