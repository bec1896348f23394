"""``ainfera-gateway doctor``: what is configured, what can be called, and which limit an agent meets next.

Beside a running gateway it speaks of that one's settings, which the gateway left in the data directory; otherwise of
what ``serve`` would take from this shell.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.catalog.overlay import with_overlay
from ainfera_gateway.catalog.seed import seed_catalog
from ainfera_gateway.catalog.store import load_catalog
from ainfera_gateway.cli.banner import reach_of, shown_models, shown_usd
from ainfera_gateway.cli.db import revision_of, shown_url, unreachable
from ainfera_gateway.cli.limits import AgentLimits, Switch, read_agents, read_switch
from ainfera_gateway.cli.options import (
    EXIT_FAILED,
    EXIT_USAGE,
    DatabaseUrl,
    DataDir,
    settings_of,
    stop,
    with_local_model,
)
from ainfera_gateway.cli.running import RunningGateway, running_gateways, shown_database
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.providers.configured import LOCAL, BaseUrlError, configured_backends
from ainfera_gateway.settings import Settings, SettingsError
from ainfera_gateway.storage.engine import Database, head_revision


@dataclass(frozen=True, slots=True)
class Findings:
    """What to show: names with values in order, what stands in the way of a call, and what was asked for in vain."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        self.rows.append((name, value))


def doctor_command(
    agent: Annotated[str | None, typer.Option(help="An agent's id or handle: show its limits too.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Say what is configured, what can be called and which limits apply.

    Exit status 1: something is in the way of a call, 2: there is no such agent.
    """
    settings = settings_of({"data_dir": data_dir, "database_url": database_url})
    found = Findings()
    try:
        gateway = _gateway(found, settings)
        if gateway is not None:
            settings = gateway.in_force(settings)
        _examine(found, settings, agent, gateway)
    except SQLAlchemyError as exc:
        stop(unreachable(exc), EXIT_FAILED)
    console = Console()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in found.rows:
        table.add_row(name, Text(value))
    console.print(table)
    for problem in found.problems:
        console.print(Text(f"! {problem}", style="yellow"), soft_wrap=True)
    for message in found.not_found:
        stop(message, EXIT_USAGE)
    if found.problems:
        raise typer.Exit(EXIT_FAILED)
    console.print("nothing stands in the way of a call", style="green")


def _gateway(found: Findings, own: Settings) -> RunningGateway | None:
    """The gateway to look at: one on this database, or when none was named the newest on the data directory."""
    alive = running_gateways(own.data_dir)
    fitting = [one for one in alive if one.database == shown_database(own)]
    chosen = next(iter(fitting or ([] if own.database_url else alive)), None)
    if chosen is None:
        found.add("gateway", "none is running here: this is what `serve` would take from this shell")
    else:
        found.add("gateway", f"{chosen.url}, process {chosen.pid}, version {chosen.version}; this is what it has")
        if chosen.database_has_password and not fitting:
            stop(f"{chosen.url} uses {chosen.database}: name it with its password, by --database-url", EXIT_USAGE)
    for other in alive:
        if other is not chosen:
            found.add("also running", f"{other.url}, process {other.pid}, on {other.database}")
    return chosen


def _examine(found: Findings, settings: Settings, reference: str | None, gateway: RunningGateway | None) -> None:
    database = Database(settings.database)
    revision, newest = revision_of(database), head_revision()
    found.add("data", str(settings.data_dir))
    found.add("database", shown_url(database))
    found.add("schema", revision or "none yet")
    found.add("listens on", f"{settings.host}:{settings.port}")
    found.add("sign-up", settings.signup_mode)
    found.add("top-up", settings.topup_mode)
    has_internal_key = bool(settings.internal_key) if gateway is None else gateway.has_internal_key
    found.add("internal key", "set" if has_internal_key else "not set: operator routes refuse everybody")
    if revision != newest:
        _models(found, settings, with_overlay(seed_catalog(), settings.overlay), gateway)
        if not database.is_sqlite:
            found.problems.append(f"the schema is not at {newest}: run `ainfera-gateway db migrate`")
        if reference is not None:
            found.problems.append(
                "no agent can be looked up before the database has its schema: start the gateway once"
            )
        return
    reader = database.reader()
    try:
        with reader.connect() as connection:
            _models(found, settings, with_overlay(_catalog(connection), settings.overlay), gateway)
        _limits(found, reader, settings, reference)
    finally:
        reader.dispose()


def _catalog(connection: Connection) -> Catalog:
    stored = load_catalog(connection)
    return stored if stored.models else seed_catalog()  # migrated, but no gateway has started on it yet


def _models(found: Findings, settings: Settings, catalog: Catalog, gateway: RunningGateway | None) -> None:
    if gateway is None:
        configured = _configured(found, settings, catalog)
    else:
        configured = gateway.providers
        if settings.local_model:
            found.add("local model", settings.local_model)
    reach = reach_of(catalog, configured, {model.slug for model in settings.overlay.models})
    found.add("providers", ", ".join(sorted(configured)) or "none configured")
    found.add("models", shown_models(reach.models) or "none can be called")
    for variable, provider in reach.missing:
        found.add("not set", f"{variable}  ({provider})")
    if not reach.models:
        again = "" if gateway is None else " and start the gateway again"
        found.problems.append(f"no model can be called: set one of the variables above{again}")


def _configured(found: Findings, settings: Settings, catalog: Catalog) -> frozenset[str]:
    """The providers that a gateway started from this shell would have."""
    try:
        configured = frozenset(configured_backends(catalog.providers.values(), os.environ))
    except BaseUrlError as exc:
        found.problems.append(str(exc))
        configured = frozenset()
    try:
        if path := with_local_model(settings).local_model:
            configured |= {LOCAL}
            found.add("local model", path)
    except SettingsError as exc:
        found.problems.append(str(exc))
    return configured


def _limits(found: Findings, reader: Engine, settings: Settings, reference: str | None) -> None:
    now_us = SystemClock().now_us()
    switch = read_switch(reader, settings, now_us)
    found.add("kill switch", _shown_switch(switch))
    if switch.engaged:
        found.problems.append("the kill switch is engaged: calls are refused")
    if reference is None:
        return
    with reader.connect() as connection:
        agents = read_agents(connection, reference, now_us)
    if not agents:
        found.not_found.append(f"there is no agent {reference!r} in {shown_url(Database(settings.database))}")
    for agent in agents:
        _agent(found, agent, switch)


def _agent(found: Findings, agent: AgentLimits, switch: Switch) -> None:
    found.add("", "")
    found.add("agent", f"{agent.owner_handle}/{agent.handle}  {agent.id}")
    found.add("state", agent.status)
    found.add("balance", f"{shown_usd(agent.balance_picousd)}, {shown_usd(agent.held_picousd)} of it held")
    found.add("per-call cap", _shown_cap(agent.per_call_cap_picousd))
    found.add("daily cap", _shown_cap(agent.daily_cap_picousd, agent.day_spent_picousd, "today"))
    found.add("monthly cap", _shown_cap(agent.monthly_cap_picousd, agent.month_spent_picousd, "this month"))
    found.add("brands", agent.allowed_brands or "all that the verdicts allow")
    most, because = agent.next_call(switch)
    found.add("next call", f"may cost up to {shown_usd(most)}: {because}")
    if most == 0:
        found.problems.append(f"{agent.handle} cannot make a call that costs anything: {because}")


def _shown_switch(switch: Switch) -> str:
    if switch.by_hand:
        return "engaged by hand"
    if not switch.enabled:
        return "off"
    state = "ENGAGED" if switch.engaged else "released"
    return (
        f"{state}: {shown_usd(switch.spent_picousd)} of {shown_usd(switch.threshold_picousd)} spent today by all agents"
    )


def _shown_cap(cap_picousd: int | None, spent_picousd: int = 0, window: str = "") -> str:
    if cap_picousd is None:
        return "none" + (f", {shown_usd(spent_picousd)} spent {window}" if window else "")
    return shown_usd(cap_picousd) + (f", {shown_usd(spent_picousd)} spent {window}" if window else "")
