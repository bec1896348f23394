"""Stands between a gateway and PostgreSQL and cuts a connection when its COMMIT passes: before the server has it, or after.

Who waits for that commit cannot know which of the two it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

from tests.postgres_between import Between


class CommitCutter(Between):
    """``cut`` asks for the next cut."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._wanted: list[tuple[bool, threading.Event]] = []

    def cut(self, *, after: bool) -> threading.Event:
        """Cut at the next COMMIT, ``after`` it was forwarded or instead of that; the event is set when it is done."""
        done = threading.Event()
        self._wanted.append((after, done))
        return done

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_unix_connection(self._upstream)
        back = asyncio.create_task(_copy(far_in, writer))
        try:
            await self._forward(reader, far_out)
        finally:
            back.cancel()
            far_out.close()

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
