"""Agents: signup, register, reads, state, cards, spend policy, keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from ainfera_gateway.api.control_body import body_of, documented
from ainfera_gateway.api.control_common import AgentPath, HereDep, answer
from ainfera_gateway.api.control_types import CardBody, KeyBody, PolicyBody, RegisterBody, SignUpBody
from ainfera_gateway.control import cards, keys, register, signup, spend_policy, suspend
from ainfera_gateway.control.birth import Policy
from ainfera_gateway.errors import not_found

router = APIRouter()

SignUpDep = Annotated[SignUpBody, Depends(body_of(SignUpBody))]
RegisterDep = Annotated[RegisterBody, Depends(body_of(RegisterBody))]
CardDep = Annotated[CardBody, Depends(body_of(CardBody))]
PolicyDep = Annotated[PolicyBody, Depends(body_of(PolicyBody))]
KeyDep = Annotated[KeyBody, Depends(body_of(KeyBody))]


@router.post("/v1/agents/signup", status_code=201, tags=["agents"], openapi_extra=documented(SignUpBody))
def sign_up(here: HereDep, body: SignUpDep) -> Response:
    """Become a tenant with one agent, its wallet and its key, which is shown once."""
    control, internal = here.control, here.context.internal
    signup.admit(control.settings.signup_mode, internal=internal)
    owner_handle, owner_source = signup.owner_of(body.owner_handle, body.owner_source, internal=internal)
    request = signup.SignUpRequest(
        agent_handle=body.agent_handle,
        owner_handle=owner_handle,
        owner_source=owner_source,
        owner_contact=body.owner_contact,
        policy=Policy(per_call_cap_picousd=body.per_call_cap_usd, daily_cap_picousd=body.daily_cap_usd),
        wallet_address=body.wallet_address,
        # The validator made JSON text of the object.
        metadata=None if body.metadata is None else str(body.metadata),
    )
    if internal:
        return answer(signup.sign_up(control, request, issuer=here.base_url, trace_id=here.trace_id), 201)
    limits: signup.SignUpLimits = here.request.app.state.signup_limits
    wait_s = limits.take(here.context.address)
    if wait_s is not None:
        raise signup.limited(wait_s)
    try:
        return answer(signup.sign_up(control, request, issuer=here.base_url, trace_id=here.trace_id), 201)
    except BaseException:
        limits.give_back(here.context.address)
        raise


@router.post("/v1/agents/register", status_code=201, tags=["agents"], openapi_extra=documented(RegisterBody))
def register_agent(here: HereDep, body: RegisterDep) -> Response:
    """One more agent of the tenant, with an empty wallet."""
    if body.tenant_id != here.owner.tenant_id:
        raise not_found()
    made = register.register(
        here.control, tenant_id=body.tenant_id, name=body.name, issuer=here.base_url, trace_id=here.trace_id
    )
    return answer(made, 201)


@router.post("/v1/agents/cards/verify", tags=["agents"], openapi_extra=documented(CardBody))
def verify_card(here: HereDep, body: CardDep) -> Response:
    """Whether a card was signed by the agent that it names; 200 for both verdicts."""
    return answer(cards.verdict(here.control, body.jws))


@router.get("/v1/agents/{agent_id}", tags=["agents"])
def get_agent(here: HereDep, agent_id: AgentPath) -> Response:
    """One agent of the tenant."""
    return answer(register.shown_agent(here.control, here.agent(agent_id)))


@router.post("/v1/agents/{agent_id}/suspend", tags=["agents"])
def suspend_agent(here: HereDep, agent_id: AgentPath) -> Response:
    """No call of this agent leaves from now on."""
    return _set_status(here, agent_id, "suspended")


@router.post("/v1/agents/{agent_id}/activate", tags=["agents"])
def activate_agent(here: HereDep, agent_id: AgentPath) -> Response:
    """Calls of this agent leave again."""
    return _set_status(here, agent_id, "active")


@router.get("/v1/agents/{agent_id}/card", tags=["agents"])
def get_card(here: HereDep, agent_id: AgentPath) -> Response:
    """The agent's newest signed card."""
    return answer(cards.newest_card(here.control, here.agent(agent_id)))


@router.post("/v1/agents/{agent_id}/card", tags=["agents"])
def mint_card(here: HereDep, agent_id: AgentPath) -> Response:
    """A card signed now."""
    agent = here.agent(agent_id)
    return answer(cards.new_card(here.control, agent, issuer=here.base_url, trace_id=here.trace_id))


@router.patch("/v1/agents/{agent_id}/spend-policy", tags=["agents"], openapi_extra=documented(PolicyBody))
def patch_policy(here: HereDep, agent_id: AgentPath, body: PolicyDep) -> Response:
    """Change what is given, leave the rest; null clears."""
    return _set_policy(here, agent_id, body, replace=False)


@router.post("/v1/agents/{agent_id}/spend-policy", tags=["agents"], openapi_extra=documented(PolicyBody))
def replace_policy(here: HereDep, agent_id: AgentPath, body: PolicyDep) -> Response:
    """Replace the whole policy."""
    return _set_policy(here, agent_id, body, replace=True)


@router.post("/v1/keys", status_code=201, tags=["keys"], openapi_extra=documented(KeyBody))
def create_key(here: HereDep, body: KeyDep) -> Response:
    """A new key; it is shown here and never again. Give `agent_id` (an id or a handle) to bind it to that agent: its
    calls are then the agent's. Left out, the key is bound to no agent, and each of its calls names its `agent_id`."""
    made = keys.create_key(
        here.control,
        tenant_id=here.owner.tenant_id,
        scope=body.scope,
        agent=body.agent_id,
        name=body.name,
        trace_id=here.trace_id,
    )
    return answer(made, 201)


@router.get("/v1/keys", tags=["keys"])
def list_keys(here: HereDep) -> Response:
    """The tenant's keys by prefix, newest first."""
    return answer({"keys": keys.list_keys(here.control, here.owner.tenant_id)})


@router.delete("/v1/keys/{key_id}", tags=["keys"])
def revoke_key(here: HereDep, key_id: str) -> Response:
    """End a key."""
    tenant_id = here.owner.tenant_id
    return answer(keys.revoke_key(here.control, tenant_id=tenant_id, key_id=key_id, trace_id=here.trace_id))


def _set_status(here: HereDep, agent_id: str, status: suspend.Status) -> Response:
    tenant_id = here.owner.tenant_id
    shown = suspend.set_status(here.control, agent=agent_id, tenant_id=tenant_id, status=status, trace_id=here.trace_id)
    return answer(shown)


def _set_policy(here: HereDep, agent_id: str, body: PolicyBody, *, replace: bool) -> Response:
    tenant_id = here.owner.tenant_id
    changes = body.changes(replace=replace)
    return answer(
        spend_policy.change_policy(
            here.control, agent=agent_id, tenant_id=tenant_id, changes=changes, trace_id=here.trace_id
        )
    )
