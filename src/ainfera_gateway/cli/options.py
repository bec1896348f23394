"""What several commands share: their options, and settings that either load or end the command with one line."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ainfera_gateway.catalog.overlay import key_variables
from ainfera_gateway.catalog.seed import SEED_PROVIDERS
from ainfera_gateway.providers.local.model_file import SMOLLM2, model_path
from ainfera_gateway.settings import Settings, SettingsError, load

EXIT_FAILED = 1
EXIT_USAGE = 2
_NAME = "ainfera-gateway"
_BUNDLED = frozenset({"1", "true", "yes", "on", "smollm2", SMOLLM2.slug})
_NONE = frozenset({"", "0", "false", "no", "off"})

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the gateway keeps its data.", show_default=False)
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="sqlite:///path or postgresql://user@host/name.", show_default=False),
]


def stop(message: str, code: int) -> NoReturn:
    """Say why on standard error, as one line, and end the command."""
    typer.echo(f"ainfera-gateway: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


def settings_of(flags: Mapping[str, object | None]) -> Settings:
    """Settings from the TOML file, the environment and ``flags``; ends the command with status 2 if one is wrong."""
    try:
        return load(os.environ, {name: None if value is None else str(value) for name, value in flags.items()})
    except SettingsError as exc:
        stop(str(exc), EXIT_USAGE)


def with_local_model(settings: Settings) -> Settings:
    """``settings`` with ``local_model`` as a path that exists, or empty. Raises ``SettingsError``."""
    asked = settings.local_model.strip()
    if asked.lower() in _NONE:
        return replace(settings, local_model="")
    if asked.lower() in _BUNDLED:
        path = model_path(settings.data_dir)
        remedy = f"run `ainfera-gateway local pull --data-dir {settings.data_dir}`"
    else:
        path = Path(asked).expanduser()
        remedy = "name a GGUF file, or `smollm2` for the one that `ainfera-gateway local pull` fetches"
    if not path.is_file():
        raise SettingsError(f"AINFERA_LOCAL_MODEL: there is no model at {path}: {remedy}")
    return replace(settings, local_model=str(path))


def own_command() -> str:
    """How to call this very command from here: by its name where the shell finds it, else by its path."""
    own = Path(sys.executable).parent / _NAME
    found = shutil.which(_NAME)
    if not own.exists() or (found is not None and Path(found).resolve() == own.resolve()):
        return _NAME
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def known_secrets(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """The exact texts that no line of ours may show."""
    names = [*(provider.api_key_env for provider in SEED_PROVIDERS), *key_variables(settings.overlay)]
    keys = [environ.get(name, "") for name in names]
    return [text for text in (*keys, settings.internal_key, settings.data_key) if text]
