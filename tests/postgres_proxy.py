"""Stands between a gateway and PostgreSQL and cuts a connection when its COMMIT passes: before the server has it, or after.

Who waits for that commit cannot know which of the two it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_SOCKET = ".s.PGSQL.5432"


class CommitCutter:
    """A context manager. ``url`` leads through it to the database at ``target``; ``cut`` asks for the next cut."""

    def __init__(self, target: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pg-proxy-")
        parts = urlsplit(target)
        (host,) = parse_qs(parts.query)["host"]
        self._upstream = f"{host}/{_SOCKET}"
        self.url = target.replace(parts.query, f"host={self._folder.name}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._wanted: list[tuple[bool, threading.Event]] = []
        self._links: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        self._folder.cleanup()

    def cut(self, *, after: bool) -> threading.Event:
        """Cut at the next COMMIT, ``after`` it was forwarded or instead of that; the event is set when it is done."""
        done = threading.Event()
        self._wanted.append((after, done))
        return done

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._link, str(Path(self._folder.name) / _SOCKET))

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _link(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            far_in, far_out = await asyncio.open_unix_connection(self._upstream)
            back = asyncio.create_task(_copy(far_in, near_out))
            try:
                await self._forward(near_in, far_out)
            finally:
                back.cancel()
                far_out.close()
        except (ConnectionError, asyncio.CancelledError):
            pass  # one side has gone, or the test is over: the other side is closed below
        finally:
            near_out.transport.abort()
            self._links.discard(task)

    async def _forward(self, near_in: asyncio.StreamReader, far_out: asyncio.StreamWriter) -> None:
        while data := await near_in.read(65536):
            if b"COMMIT;" in data and self._wanted:
                after, done = self._wanted.pop(0)
                if after:
                    far_out.write(data)
                    await far_out.drain()
                done.set()
                return
            far_out.write(data)
            await far_out.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
