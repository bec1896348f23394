"""What a machine or a person finds first: the card of the gateway, llms.txt, the key document, models, providers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from ainfera_gateway.api.control_common import Here, HereDep, answer
from ainfera_gateway.clock import iso
from ainfera_gateway.control import reads_audit, reads_catalog
from ainfera_gateway.routing.aliases import ROUTER_SLUG
from ainfera_gateway.version import __version__

router = APIRouter()

_CACHED = {"cache-control": "max-age=60"}
_DAY_US = 86_400 * 1_000_000
_CAPABILITIES = {
    "identity": "Every agent has an Ed25519 key, a signed card and a did:web.",
    "routing": "A pure, recorded decision picks the cheapest model that clears the quality floor.",
    "settlement": "Each call is paid from the agent's prepaid wallet, to the exact pico-dollar.",
    "audit": "Each call leaves hash-chained events that anyone can verify offline.",
    "orchestration": "Tools, streams, retries and fallback, in the dialect that the caller speaks.",
}
_FACETS = ("identity", "routing", "settlement", "audit", "orchestration")


@router.get("/.well-known/agent-card.json", tags=["discovery"])
def agent_card(here: HereDep) -> Response:
    """What this gateway is and offers."""
    # The day's beginning: the document stays the same between two requests of a day.
    now_us = here.control.clock.now_us()
    return answer(_agent_card(here, iso(now_us - now_us % _DAY_US)), headers=_CACHED)


@router.get("/llms.txt", tags=["discovery"])
def llms_txt(here: HereDep) -> Response:
    """How to use this gateway, in text that a model reads."""
    return Response(_llms_txt(here), 200, _CACHED, "text/plain; charset=utf-8")


@router.get("/.well-known/ainfera-public-key.json", tags=["discovery"])
def public_key(here: HereDep) -> Response:
    """The keys that events and checkpoints are verified with."""
    return answer(here.control.public_key_document, headers=_CACHED)


@router.get("/.well-known/mcp.json", tags=["discovery"])
def mcp(here: HereDep) -> Response:
    """Where the MCP server is."""
    url = here.control.settings.mcp_url
    return answer({"mcp_url": url, "servers": [{"name": "ainfera", "url": url}]}, headers=_CACHED)


@router.get("/api/audit-ticker", tags=["discovery"])
def audit_ticker(here: HereDep) -> Response:
    """The height of the log, for a ticker."""
    return answer({"status": "ok", "chain_height": reads_audit.height(here.control)["height"]})


@router.get("/v1/models", tags=["catalog"])
@router.get("/openai/v1/models", tags=["catalog"])
def list_models(here: HereDep, format: str = "") -> Response:  # noqa: A002 - the parameter's name in the contract
    """Models, `ainfera-inference` first; in OpenAI's form, which has no member for it, those that can be called here."""
    if not _wants_openai(here, format):
        return answer(reads_catalog.list_models(here.control))
    # Anthropic's SDK shows the same header, so its members stand beside OpenAI's.
    rows = reads_catalog.callable_models(here.control)
    data = [reads_catalog.openai_model(row) | reads_catalog.anthropic_model(row) for row in rows]
    return answer({"object": "list"} | _anthropic_list(data))


@router.get("/anthropic/v1/models", tags=["catalog"])
def list_anthropic_models(here: HereDep) -> Response:
    """The models that can be called here, in Anthropic's form."""
    rows = reads_catalog.callable_models(here.control)
    return answer(_anthropic_list([reads_catalog.anthropic_model(row) for row in rows]))


@router.get("/v1/models/{slug:path}", tags=["catalog"])
@router.get("/openai/v1/models/{slug:path}", tags=["catalog"])
def get_model(here: HereDep, slug: str, format: str = "") -> Response:  # noqa: A002 - as above
    """One model."""
    row = reads_catalog.one_model(here.control, slug)
    if not _wants_openai(here, format):
        return answer(row)
    return answer(reads_catalog.openai_model(row) | reads_catalog.anthropic_model(row))


@router.get("/anthropic/v1/models/{slug:path}", tags=["catalog"])
def get_anthropic_model(here: HereDep, slug: str) -> Response:
    """One model in Anthropic's form."""
    return answer(reads_catalog.anthropic_model(reads_catalog.one_model(here.control, slug)))


@router.get("/v1/providers", tags=["catalog"])
def list_providers(here: HereDep) -> Response:
    """Providers, and which have a credential here."""
    return answer(reads_catalog.list_providers(here.control))


def _wants_openai(here: Here, form: str) -> bool:
    dropped_in = here.request.url.path.startswith("/openai/")
    return dropped_in or form == "openai" or "x-stainless-lang" in here.request.headers


def _anthropic_list(data: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}


def _agent_card(here: Here, issued_at: str) -> dict[str, Any]:
    base = here.base_url
    return {
        "name": "Ainfera",
        "description": "Ainfera Inference: one endpoint that routes, pays for and proves each call of an agent.",
        "version": __version__,
        "url": base,
        "default_model": ROUTER_SLUG,
        "products": [
            {
                "slug": ROUTER_SLUG,
                "display_name": "Ainfera Inference",
                "domain": "agentic-inference",
                "facets": list(_FACETS),
            }
        ],
        "mcp_url": here.control.settings.mcp_url,
        "issued_at": issued_at,
        "capabilities": [{"name": name, "description": text} for name, text in _CAPABILITIES.items()],
        "endpoints": {
            "openai_base_url": f"{base}/v1",
            # What each vendor's SDK takes as its base: Anthropic's adds the version itself.
            "anthropic_base_url": base,
            "openai_dropin": f"{base}/openai/v1",
            "anthropic_dropin": f"{base}/anthropic",
            "signup": f"{base}/v1/agents/signup",
            "models": f"{base}/v1/models",
            "usage": f"{base}/v1/usage",
            "openapi": f"{base}/openapi.json",
            "public_key": f"{base}/.well-known/ainfera-public-key.json",
        },
    }


def _llms_txt(here: Here) -> str:
    base = here.base_url
    mcp_host = here.control.settings.mcp_url
    capabilities = "\n".join(f"- {name}: {text}" for name, text in _CAPABILITIES.items())
    return f"""# Ainfera Inference

> Ainfera Inference (model `{ROUTER_SLUG}`) is one endpoint for agents. It picks a model for each call,
> pays for it from the agent's prepaid wallet, and leaves a proof that anyone can verify offline.

## First call

1. `POST {base}/v1/agents/signup` with `{{"agent_handle": "my-agent"}}` answers with an `api_key`, shown once.
2. Point any OpenAI SDK at `{base}/v1`, or Anthropic's at `{base}`, with that key and ask for model
   `{ROUTER_SLUG}`. The router takes no model below a quality floor (0.68 for a general task): when it
   refuses with `no_candidate_clears_floor`, send `"routing_hint": {{"min_quality": 0}}`, or name a model of
   `GET {base}/v1/models`.
3. `GET {base}/v1/receipts/{{receipt_id}}` shows what the call cost; `GET {base}/v1/audit/{{agent_id}}/verify` its proof.

## What it does

{capabilities}

## Looking back

- Calls: `GET {base}/v1/inferences`, newest first, by agent, model, tag, outcome and time
- Usage: `GET {base}/v1/usage?group_by=agent,model,day,tag`, as JSON or with `format=csv`
- Names of your own for models: `PUT {base}/v1/routing-policy` with `{{"model_aliases": {{"fast": "..."}}}}`

## Where things are

- MCP server: {mcp_host}
- OpenAPI: {base}/openapi.json
- Models: {base}/v1/models
- Card: {base}/.well-known/agent-card.json
- Keys for verification: {base}/.well-known/ainfera-public-key.json
"""
