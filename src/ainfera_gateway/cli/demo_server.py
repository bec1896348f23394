"""The demo's gateway: ``ainfera-gateway serve`` as a process of its own, on a free port, logging to a file."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ainfera_gateway.catalog.seed import SEED_PROVIDERS

READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 40.0
_POLL_S = 0.05


class ServerError(Exception):
    """The gateway did not start; the message ends with the last lines it wrote."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where the gateway listens, and how long it took to be ready."""

    url: str
    models: tuple[str, ...]
    ready_s: float


@contextlib.contextmanager
def running_server(data_dir: Path, model: Path, log: Path) -> Iterator[RunningServer]:
    """Run a gateway with nothing but the local model, and stop it at the end. Raises ``ServerError``."""
    command = [sys.executable, "-P", "-m", "ainfera_gateway.cli.main", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--data-dir", str(data_dir), "--database-url", f"sqlite:///{(data_dir / 'demo.db').absolute()}"]
    command += ["--local-model", str(model)]
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            ready = _wait_until_ready(process, log, begun + READY_TIMEOUT_S)
            yield RunningServer(str(ready["url"]), tuple(map(str, ready["models"])), time.monotonic() - begun)
        finally:
            _stop(process)


def _environment() -> dict[str, str]:
    """Ours, without settings and without providers: the demo must spend nobody's money and meet nobody's mistakes."""
    providers = {name for provider in SEED_PROVIDERS for name in (provider.api_key_env, provider.base_url_env)}
    return {
        name: value for name, value in os.environ.items() if not name.startswith("AINFERA_") and name not in providers
    }


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, end_s: float) -> dict[str, list[str] | str]:
    while time.monotonic() < end_s:
        ended = process.poll() is not None
        for line in log.read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, AttributeError):  # a line that is only half there, or no JSON
                record = json.loads(line)
                if record.get("event") == "ready":
                    return dict(record)
        if ended:
            break
        time.sleep(_POLL_S)
    tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-5:])
    raise ServerError(f"the gateway did not start; {log} ends with:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
