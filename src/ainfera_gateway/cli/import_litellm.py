"""``ainfera-gateway import litellm``: a configuration of LiteLLM becomes a configuration file of ours.

Whatever has no counterpart is named with its path and the reason; keys are never carried, whatever form they have.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.catalog.overlay import with_overlay
from ainfera_gateway.catalog.seed import seed_catalog
from ainfera_gateway.cli.import_litellm_deployment import read_deployment
from ainfera_gateway.cli.import_litellm_facts import GENERAL, LITELLM, NO_COUNTERPART, ROUTER, SECTIONS
from ainfera_gateway.cli.import_litellm_places import Providers
from ainfera_gateway.cli.import_litellm_tables import Tables
from ainfera_gateway.cli.import_report import Report, one_line
from ainfera_gateway.cli.import_yaml import YamlError, read_yaml
from ainfera_gateway.cli.options import EXIT_FAILED, EXIT_USAGE, stop
from ainfera_gateway.config_tables import TableError, read_tables
from ainfera_gateway.routing.gateway_aliases import gateway_aliases
from ainfera_gateway.settings import SettingsError

import_app = typer.Typer(name="import", help="Configurations of other gateways, made into ours.", no_args_is_help=True)

_REASONS: Final[Mapping[str, Mapping[str, str]]] = {
    "litellm_settings": LITELLM,
    "general_settings": GENERAL,
    "router_settings": ROUTER,
    "environment_variables": {},
}


@import_app.callback()
def import_group() -> None:
    """Configurations of other gateways, made into ours."""


@import_app.command("litellm")
def litellm_command(
    config: Annotated[Path, typer.Argument(help="LiteLLM's config.yaml.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="Where to write the TOML file; it must not be there yet.", show_default="stdout")
    ] = None,
) -> None:
    """Make a TOML file of ours from a LiteLLM configuration; standard error says what was left out, and why.

    Exit status 0 also where parts were left out, 2: the file cannot be read, or the output cannot be written.
    """
    try:
        document = read_yaml(config)
    except YamlError as exc:
        stop(str(exc), EXIT_USAGE)
    if not isinstance(document, dict):
        stop(f"{config} holds no configuration: its top is no mapping", EXIT_USAGE)
    report = Report()
    catalog = seed_catalog()
    text, said = converted(document, catalog, report, source=config.name)
    try:
        check(text, catalog)
    except (TableError, SettingsError, tomllib.TOMLDecodeError) as exc:
        stop(f"{config} was read, but what it makes is no configuration: {exc}", EXIT_FAILED)
    if output is None:
        typer.echo(text, nl=False)
    else:
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            stop(f"{output} is there already: name another file, or move it away", EXIT_USAGE)
        except OSError as exc:
            stop(f"{output} cannot be written: {exc.strerror}", EXIT_USAGE)
    for path, reason in report.left_out:
        typer.echo(f"left out: {path}: {reason}", err=True)
    typer.echo(said, err=True)


def converted(document: Mapping[str, Any], catalog: Catalog, report: Report, *, source: str) -> tuple[str, str]:
    """The TOML text, and one line that says how much it is. The same document gives the same text."""
    entries = document.get("model_list")
    if entries is not None and not isinstance(entries, list):
        report.leave("model_list", "is no list")
        entries = None
    read = [
        read_deployment(entry, f"model_list[{number}]", catalog, report) for number, entry in enumerate(entries or [])
    ]
    deployments = [deployment for deployment in read if deployment is not None]
    providers = Providers(catalog.providers, [deployment.place for deployment in deployments])
    tables = Tables(catalog, providers, report)
    for deployment in deployments:
        tables.add(deployment)
    _sections(document, tables, report)
    report.left_out.sort(key=lambda left: _entry_number(left[0]))
    counts = tables.counts
    lines = [
        f"# Made by `ainfera-gateway import litellm` from {one_line(source)}.",
        "# Serve with it: AINFERA_CONFIG=<this file> ainfera-gateway serve",
    ]
    if providers.variables:
        lines += ["#", "# Keys and addresses of providers come from the environment:"]
        lines += [f"#   {name}: {meaning}" for name, meaning in sorted(providers.variables.items())]
    text = "\n\n".join(["\n".join(lines), *tables.text()]) + "\n"
    said = f"{counts[0]} providers, {counts[1]} models and {counts[2]} aliases; left out: {len(report.left_out)}"
    return text, said


def _entry_number(path: str) -> float:
    """Left-out parts are told entry by entry, then section by section as they were met."""
    found = re.match(r"model_list\[(\d+)\]", path)
    return math.inf if found is None else int(found[1])


def check(text: str, catalog: Catalog) -> None:
    """That ``serve`` takes the text. Raises ``TableError``, ``SettingsError`` or ``tomllib.TOMLDecodeError``."""
    overlay = read_tables(tomllib.loads(text, parse_float=Decimal))
    gateway_aliases(overlay, with_overlay(catalog, overlay))


def _sections(document: Mapping[str, Any], tables: Tables, report: Report) -> None:
    for section, content in document.items():
        if section == "model_list":
            continue
        if section not in _REASONS:
            report.leave(section, SECTIONS.get(section, "an unknown part"))
            continue
        if content is None:
            continue
        if not isinstance(content, dict):
            report.leave(section, "is no mapping")
            continue
        otherwise = SECTIONS.get(section, NO_COUNTERPART)
        members = dict(content)
        if section == "router_settings":
            _group_aliases(members.pop("model_group_alias", None), tables, report)
        report.leave_members(section, members, _REASONS[section], otherwise)


def _group_aliases(aliases: object, tables: Tables, report: Report) -> None:
    path = "router_settings.model_group_alias"
    if isinstance(aliases, dict):
        for name, group in aliases.items():
            tables.add_alias(name, group, f"{path}.{name}")
    elif aliases is not None:
        report.leave(path, "is no mapping")
