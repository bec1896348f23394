"""The gateway as its users run it: the real command in a process of its own, on a free port, on a fresh data directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import httpx

from tests.stored import Stored

_PASSED = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
_ROOT = Path(__file__).resolve().parents[1]
INTERNAL_KEY = "internal-key-of-the-tests-0123456789"

ANCHOR_PROVIDERS = ("ANTHROPIC", "OPENAI", "GEMINI", "XAI", "MISTRAL")


def provider_environment(base_url: str, *providers: str) -> dict[str, str]:
    """Base URLs and keys that point the named providers (all anchors by default) at a simulator."""
    named = providers or ANCHOR_PROVIDERS
    made: dict[str, str] = {}
    for name in named:
        made[f"{name}_BASE_URL"] = base_url
        made[f"{name}_API_KEY"] = f"sk-test-{name.lower()}-0123456789abcdef"
    return made


# Where the simulator plays each provider with its own strictness, as that provider's base URL would end.
FAMILY_PATHS = {
    "ANTHROPIC": "/anthropic",
    "OPENAI": "/v1",
    "GEMINI": "/gemini/v1beta/openai",
    "MISTRAL": "/mistral/v1",
    "TOGETHER": "/together/v1",
    "XAI": "/xai/v1",
    "GROQ": "/groq/openai/v1",
    "DEEPSEEK": "/deepseek/v1",
    "FIREWORKS": "/fireworks/inference/v1",
    "OPENROUTER": "/openrouter/api/v1",
    "CEREBRAS": "/cerebras/v1",
    "AZURE": "/azure/openai/v1",
}


def family_environment(base_url: str, *providers: str) -> dict[str, str]:
    """Base URLs and keys that point the named providers (default: all) each at its own family of a simulator.

    ``base_url`` is the simulator's root; a ``/v1`` at its end is taken off.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    made = provider_environment(root, *(providers or FAMILY_PATHS))
    return made | {f"{name}_BASE_URL": root + FAMILY_PATHS[name] for name in providers or FAMILY_PATHS}


class GatewayProcess:
    """A running gateway. ``log`` holds the JSON lines it has printed so far."""

    def __init__(
        self, data_dir: Path, environment: dict[str, str] | None = None, *, port: int = 0, faults: Path | None = None
    ) -> None:
        self.data_dir = data_dir
        self._environment = {
            **{name: os.environ[name] for name in _PASSED if name in os.environ},
            "AINFERA_INTERNAL_KEY": INTERNAL_KEY,
            **(environment or {}),
        }
        self._port = port
        # With a file for faults, the command is the one that has places to fail at.
        self._command = [str(Path(sys.executable).parent / "ainfera-gateway")]
        if faults is not None:
            self._command = [sys.executable, "-m", "tests.crash.faulty", str(faults)]
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self.log: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.url = ""

    def start(self, timeout_s: float = 90.0) -> Self:
        command = [*self._command, "serve", "--port", str(self._port)]
        command += ["--data-dir", str(self.data_dir)]
        self._ready.clear()
        self.url = ""
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment, cwd=_ROOT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(timeout_s) or not self.url:
            self.kill()
            raise AssertionError("the gateway did not become ready:\n" + "\n".join(self.raw[-30:]))
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.raw.append(line.rstrip("\n"))
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.log.append(record)
            if record.get("event") == "ready":
                self.url = record["url"].rstrip("/")
                self._ready.set()
        self._ready.set()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> int:
        """How many processes serve."""
        return int(self._environment.get("AINFERA_WORKERS", "1"))

    @property
    def database(self) -> Stored:
        return self._environment.get("AINFERA_DATABASE_URL") or self.data_dir / "ainfera.db"

    def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM; returns the exit code."""
        self.signal_stop()
        return self.wait(timeout_s)

    def signal_stop(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = 90.0) -> int:
        """The exit code of a gateway that is ending."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._reader.join(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)
        self._reader.join(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def signup(self, handle: str, **more: Any) -> dict[str, Any]:
        """A new tenant and agent; the bundle of the contract."""
        response = httpx.post(f"{self.url}/v1/agents/signup", json={"agent_handle": handle, **more}, timeout=60)
        assert response.status_code == 201, response.text
        bundle: dict[str, Any] = response.json()
        return bundle

    def client(self, key: str = "") -> httpx.Client:
        """An HTTP client that shows ``key``."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)
