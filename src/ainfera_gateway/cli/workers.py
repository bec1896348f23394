"""Several processes that serve one port: the parent holds the socket, starts them, replaces one that dies, ends them.

Workers share nothing but the listening socket and the database. A worker that loses its parent ends in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_BACKOFF_S = 0.1
_BACKOFF_MAX_S = 5.0
_STEADY_S = 30.0
"""A worker that lived so long is replaced at once when it dies."""
_READY_BYTES_MAX = 1 << 20

_log = logging.getLogger("ainfera.workers")


@dataclass(frozen=True, slots=True)
class WorkerFds:
    """What a worker inherits: the listening socket, where it says that it is ready, and a pipe that its parent holds."""

    listener: int
    ready: int
    parent: int

    def __str__(self) -> str:
        return f"{self.listener},{self.ready},{self.parent}"

    @classmethod
    def parse(cls, text: str) -> WorkerFds:
        """The inverse of ``str``; raises ``ValueError``."""
        listener, ready, parent = (int(part) for part in text.split(","))
        return cls(listener, ready, parent)

    def socket(self) -> socket.socket:
        """The listening socket."""
        return socket.socket(fileno=self.listener)

    def say_ready(self, facts: dict[str, Any]) -> None:
        """Tell the parent, once, that this worker serves, and what it found."""
        with os.fdopen(self.ready, "wb") as pipe:
            pipe.write(json.dumps(facts).encode())

    def end_with_parent(self) -> None:
        """From now on, the death of the parent is a SIGTERM."""

        def watch() -> None:
            while os.read(self.parent, 1):
                pass
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="parent", daemon=True).start()


class Workers:
    """``count`` workers on ``listener``. ``await run()`` until a signal; returns the exit status.

    ``on_ready`` gets, once, what the first worker to be ready said of itself, when all of them are.
    """

    def __init__(
        self, listener: socket.socket, count: int, arguments: list[str], on_ready: Callable[[dict[str, Any]], None]
    ) -> None:
        self._listener = listener
        self._count = count
        self._arguments = arguments
        self._on_ready = on_ready
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._ready: dict[int, dict[str, Any]] = {}
        self._said = False
        self._status = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        held, parent = os.pipe()
        try:
            await asyncio.gather(*(self._keep(number, held) for number in range(self._count)))
        finally:
            os.close(held)
            os.close(parent)
        return self._status

    def _signalled(self, number: int) -> None:
        self._stopping.set()
        # Once the workers have closed theirs, a caller who connects is refused at once, and does not wait in a backlog.
        self._listener.close()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, number: int, parent: int) -> None:
        """One worker after the other in this place, until the end."""
        backoff_s = _BACKOFF_S
        while not self._stopping.is_set():
            started_s = asyncio.get_running_loop().time()
            status, was_ready = await self._one(number, parent)
            if self._stopping.is_set():
                # One that was still starting had no handler yet: the signal itself ended it, and nothing was lost.
                unheard = not was_ready and -status in (signal.SIGTERM, signal.SIGINT)
                self._status = self._status or (0 if unheard else abs(status))
                return
            if not was_ready and not self._said:
                # It cannot start at all, and has said why: neither could the next.
                self._status = status if status > 0 else 1
                self._signalled(signal.SIGTERM)
                return
            if asyncio.get_running_loop().time() - started_s >= _STEADY_S:
                backoff_s = _BACKOFF_S
            _log.error("a worker died and is replaced", extra={"event": "worker_died", "status": status})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    async def _one(self, number: int, parent: int) -> tuple[int, bool]:
        """(exit status, whether it had been ready) of one worker's life."""
        read, write = os.pipe()
        fds = WorkerFds(self._listener.fileno(), write, parent)
        # A session of its own: Ctrl-C in a terminal reaches the parent alone, which passes it on once.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ainfera_gateway.cli.main",
            *self._arguments,
            "--worker",
            str(fds),
            pass_fds=(fds.listener, write, parent),
            start_new_session=True,
        )
        os.close(write)
        self._running[number] = process
        if self._stopping.is_set():
            process.terminate()
        said = await asyncio.to_thread(_read_all, read)
        if said:
            self._ready[number] = json.loads(said)
            if not self._said and len(self._ready) == self._count:
                self._said = True
                self._on_ready(self._ready[0])
        status = await process.wait()
        del self._running[number]
        self._ready.pop(number, None)
        return status, bool(said)


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read(_READY_BYTES_MAX)
