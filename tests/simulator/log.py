"""The attempt log: a line for each POST, on the disk before the first byte of its answer, and a line when that ended.

Lines of one moment share one fsync, made in a thread: a slow disk delays the answers that wait for it, no other one.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec


class AttemptLog:
    """Appends JSON lines to a file. `begun` and `ended` count the lines of both kinds since the process started."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.fsync = fsync
        self.begun = 0
        self.ended = 0
        self._encoder = msgspec.json.Encoder()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open(self) -> int:
        """Attempts begun and not ended."""
        return self.begun - self.ended

    def begin_now(self, record: dict[str, Any]) -> None:
        """Writes the first line without waiting for the disk; for a log without fsync."""
        self._count_begin()
        self._write(self._encoder.encode(record) + b"\n")

    async def begin(self, record: dict[str, Any]) -> None:
        """Returns when the line is on the disk (with fsync), or handed to the kernel (without)."""
        if not self.fsync:
            self.begin_now(record)
            return
        self._count_begin()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._encoder.encode(record) + b"\n", written))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await asyncio.shield(written)

    def end(self, record: dict[str, Any]) -> None:
        """Appends the second line of an attempt; handed to the kernel at once, never waited for."""
        self._write(self._encoder.encode(record) + b"\n")
        self.ended += 1
        if self.open == 0:
            self._idle.set()

    async def wait_idle(self, timeout_s: float) -> bool:
        """True once every attempt that began has ended; False when that did not happen within `timeout_s` seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        os.close(self._fd)

    def _count_begin(self) -> None:
        self.begun += 1
        self._idle.clear()

    def _write(self, line: bytes) -> None:
        if os.write(self._fd, line) != len(line):
            raise OSError("the attempt log took only a part of a line")

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                self._write(b"".join(line for line, _ in batch))
                await loop.run_in_executor(None, os.fsync, self._fd)
            except OSError as error:
                for _, written in batch:
                    written.set_exception(error)
                continue
            for _, written in batch:
                written.set_result(None)
