"""The local model as a supervised child process that speaks the OpenAI dialect on a free loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ainfera_gateway.providers.local.model_file import check_gguf

log: Final = logging.getLogger(__name__)

SLOTS: Final = 2
CONTEXT_TOKENS: Final = 4096
READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 2.0
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 10.0
STEADY_S: Final = 60.0
_STDERR_BYTES_MAX: Final = 4096
# The child needs no credential of ours: everything else in the environment stays here.
_ENVIRONMENT_PASSED: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV",
)  # fmt: skip


class LocalModelError(Exception):
    """The model's process did not become ready; the message says why."""


@dataclass(frozen=True, slots=True)
class _Child:
    process: asyncio.subprocess.Process
    port: int
    ready_at_s: float


def backoff_s(failures: int) -> float:
    """Seconds to wait before the next start, after ``failures`` short lives or failed starts in a row."""
    return float(min(BACKOFF_FIRST_S * 2 ** min(failures, 16), BACKOFF_MAX_S))


class LocalModel:
    """One GGUF model on the CPU, served on loopback, restarted with backoff when its process dies.

    ``slots`` calls are worked on at once, each with ``context_tokens`` tokens of prompt and answer; more wait their
    turn. Belongs to one event loop, whose thread must outlive it: Linux ends the child together with that thread.
    """

    def __init__(
        self,
        path: Path,
        *,
        alias: str | None = None,
        slots: int = SLOTS,
        context_tokens: int = CONTEXT_TOKENS,
        threads: int | None = None,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        self.path = path
        self.alias = alias or path.stem
        self.slots = slots
        self.context_tokens = context_tokens
        self.restarts = 0
        self._threads = threads or _cpu_count()
        self._ready_timeout_s = ready_timeout_s
        self._api_key = secrets.token_urlsafe(32)
        self._child: _Child | None = None
        self._port = 0
        self._healthy = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``; the port may change with a restart. Raises ``LocalModelError`` before start."""
        if not self._port:
            raise LocalModelError("the local model has not been started")
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def api_key(self) -> str:
        """The bearer token that the server asks for; random, the same over restarts."""
        return self._api_key

    @property
    def healthy(self) -> bool:
        """Whether the process runs and has said that it is ready."""
        return self._healthy.is_set()

    @property
    def pid(self) -> int | None:
        """The process id of the child that serves now, or None while there is none."""
        return self._child.process.pid if self._child is not None and self.healthy else None

    async def wait_healthy(self, timeout_s: float) -> None:
        """Return once the model can be called; raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            await self._healthy.wait()

    async def start(self) -> None:
        """Start the process and return when it answers; raises ``LocalModelError`` or ``ModelFileError``."""
        if self._supervisor is not None:
            raise LocalModelError("the local model is already started")
        await asyncio.to_thread(check_gguf, self.path)
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name="local-model-supervisor")

    async def stop(self) -> None:
        """End the process and wait for its end; safe to call twice or before ``start``."""
        self._healthy.clear()
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        if self._child is not None:
            await _end(self._child.process)
            self._child = None

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._child is not None:
            status = await self._child.process.wait()
            self._healthy.clear()
            failures = 0 if loop.time() - self._child.ready_at_s >= STEADY_S else failures + 1
            log.warning("local model ended with status %s, starting it again", status)
            while not self.healthy:
                await asyncio.sleep(backoff_s(failures - 1 if failures else 0))
                try:
                    await self._spawn()
                except (LocalModelError, OSError) as exc:
                    failures += 1
                    log.error("local model did not start again: %s", exc)  # noqa: TRY400 - the message is the cause
                else:
                    self.restarts += 1

    async def _spawn(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "ainfera_gateway.providers.local.server_main",
            "--model", str(self.path), "--alias", self.alias, "--port", "0",
            "--threads", str(self._threads), "--slots", str(self.slots),
            "--context-tokens", str(self.slots * self.context_tokens),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT_PASSED if name in os.environ},
            start_new_session=True,  # Ctrl-C is for the gateway, which first finishes the calls that are under way
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._ready_timeout_s):
                port = await _handshake(process, self._api_key)
        except TimeoutError as exc:
            await _end(process)
            raise LocalModelError(f"the local model was not ready within {self._ready_timeout_s:g} s") from exc
        except BaseException:
            await _end(process)
            raise
        self._child = _Child(process, port, asyncio.get_running_loop().time())
        self._port = port
        self._healthy.set()


async def _handshake(process: asyncio.subprocess.Process, api_key: str) -> int:
    """Hand over the key and return the port the child reports; raises ``LocalModelError`` with what it said."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise LocalModelError("the child process has no pipes")
    with contextlib.suppress(ConnectionError):  # it died already: its exit and its words are read below
        process.stdin.write(api_key.encode() + b"\n")
        await process.stdin.drain()
    tail = asyncio.create_task(_tail(process.stderr))
    try:
        line = await process.stdout.readline()
        try:
            return int(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError) as exc:
            status = await process.wait()
            words = " ".join((await tail).decode("utf-8", "replace").split()) or "it said nothing"
            raise LocalModelError(f"the local model's process ended with status {status}: {words}") from exc
    finally:
        tail.cancel()  # a ready child says no more; not its end of file, which a loop that leaks descriptors may delay


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The last bytes of ``stream``, read to its end."""
    tail = b""
    while chunk := await stream.read(_STDERR_BYTES_MAX):
        tail = (tail + chunk)[-_STDERR_BYTES_MAX:]
    return tail


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the child to go by closing its input, then insist; return when it is gone."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    finally:
        if process.returncode is None:  # cancelled while waiting: it must not outlive us
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _cpu_count() -> int:
    """Processors this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
