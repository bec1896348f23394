"""What a person at a terminal reads first: what can be called, what is missing, and how to make the first call."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.money import format_usd
from ainfera_gateway.routing.aliases import ROUTER_SLUG
from ainfera_gateway.routing.decide import FLOORS
from ainfera_gateway.settings import Settings
from ainfera_gateway.version import __version__

MODELS_SHOWN_MAX = 20
_SIGNUP = {
    "open": "open to whoever reaches this address",
    "internal": "only with the internal key (X-Ainfera-Internal-Key)",
    "off": "closed",
}
_TOPUP = {"self": "by an agent's owner key", "operator": "by the operator, with the internal key"}


@dataclass(frozen=True, slots=True)
class Reach:
    """What this gateway can call: slugs of models, whether the router finds one unasked, and what would add more.

    ``missing`` pairs a variable of the environment with the provider it switches on.
    """

    models: tuple[str, ...]
    routable: bool
    missing: tuple[tuple[str, str], ...]

    @property
    def first_model(self) -> str:
        """The model a first call should name."""
        return ROUTER_SLUG if self.routable or not self.models else self.models[0]


def reach_of(catalog: Catalog, configured: frozenset[str], own: Collection[str] = ()) -> Reach:
    """What can be called when the ``configured`` providers have a credential or an address.

    The models are those that the router can choose and the operator's ``own``; where there are none, those that can
    be named.
    """
    models = catalog.models.values()
    callable_here = [model for model in models if catalog.status(model, configured) == "active"]
    active = [model for model in callable_here if model.prior is not None or model.slug in own] or callable_here
    floor = FLOORS["general"]
    serving = {model.provider for model in models}
    return Reach(
        models=tuple(model.slug for model in active),
        routable=any(model.prior is not None and model.prior >= floor for model in active),
        missing=tuple(
            (provider.api_key_env if provider.key_required else "AINFERA_LOCAL_MODEL=smollm2", provider.display_name)
            for provider in catalog.providers.values()
            if provider.slug in serving - configured
        ),
    )


def print_banner(console: Console, url: str, settings: Settings, reach: Reach) -> None:
    """Write the banner. It holds no secret: names of variables, never their values."""
    console.print(f"\n[bold]Ainfera gateway[/bold] {__version__}  [cyan]{url}[/cyan]\n", highlight=False)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("models", shown_models(reach.models) or "none yet; each variable below switches some on")
    if reach.models:
        router = "picks among them" if reach.routable else 'needs routing_hint {"min_quality": 0} with these'
        facts.add_row("router", f"{ROUTER_SLUG} {router}")
    if reach.missing:
        named = "\n".join(f"{variable}  ({provider})" for variable, provider in reach.missing)
        facts.add_row("more with" if reach.models else "set one", named)
    grant = f", {shown_usd(settings.signup_grant_picousd)} each" if settings.signup_mode != "off" else ""
    facts.add_row("sign-up", _SIGNUP[settings.signup_mode] + grant)
    facts.add_row("top-up", _TOPUP[settings.topup_mode])
    facts.add_row("stop", "Ctrl-C; running calls finish first")
    console.print(facts)
    if settings.signup_mode == "open":
        console.print("\n[dim]the first call:[/dim]\n")
        console.print(first_call(url, reach.first_model), highlight=False, markup=False, soft_wrap=True)
    console.print()


def shown_models(models: tuple[str, ...]) -> str:
    """Their slugs, as many as a person reads; empty without any."""
    more = len(models) - MODELS_SHOWN_MAX
    return ", ".join(models[:MODELS_SHOWN_MAX]) + (f" and {more} more: GET /v1/models" if more > 0 else "")


def shown_usd(picousd: int) -> str:
    """An amount for people: exact, cents at least, no further zeros, for example ``$5.00`` or ``$0.00000042``."""
    sign = "-" if picousd < 0 else ""
    whole, _, places = format_usd(abs(picousd)).partition(".")
    return f"{sign}${whole}.{places.rstrip('0').ljust(2, '0')}"


def first_call(url: str, model: str) -> str:
    """Shell lines that sign an agent up and make its first call."""
    return (
        f"""KEY=$(curl -s {url}/v1/agents/signup -H 'content-type: application/json' \\
  -d '{{"agent_handle": "my-agent-'$RANDOM'"}}' \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["api_key"])')\n"""
        f"""curl -s {url}/v1/chat/completions -H "authorization: Bearer $KEY" -H 'content-type: application/json' \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}], "max_tokens": 60}}'"""
    )
