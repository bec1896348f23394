"""A pooler of transactions, as strict as they get: each transaction has another server connection than the one before.

So whatever a session keeps (settings, named statements, session locks) is gone, or somebody else's, in the next one.
Parameters of a start-up that such poolers do not know are refused, as PgBouncer does.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tempfile
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_SOCKET = ".s.PGSQL.5432"
_KNOWN = {"user", "database", "application_name", "client_encoding", "DateStyle", "TimeZone", "replication"}
_SERVERS_MIN = 2
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Server:
    """One connection to PostgreSQL, started, with what it said then."""

    def __init__(self, streams: Streams, greeting: bytes) -> None:
        self.reader, self.writer = streams
        self.greeting = greeting


class TransactionPooler:
    """A context manager. ``url`` leads through it to the database at ``target``, and says so."""

    def __init__(self, target: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pg-pooler-")
        parts = urlsplit(target)
        (host,) = parse_qs(parts.query)["host"]
        self._upstream = f"{host}/{_SOCKET}"
        self.plain_url = target.replace(parts.query, f"host={self._folder.name}")
        self.url = self.plain_url + "&pgbouncer=true"
        self.transactions = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._idle: deque[Server] = deque()
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

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._link, str(Path(self._folder.name) / _SOCKET))

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        for server in self._idle:
            server.writer.transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.transport.abort()
            self._links.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!I", await reader.readexactly(4))
        start = await reader.readexactly(size - 4)
        words = start[4:].rstrip(b"\0").split(b"\0")
        unknown = {name.decode() for name in words[::2]} - _KNOWN
        if unknown:
            writer.write(_error(f"unsupported startup parameter: {', '.join(sorted(unknown))}"))
            await writer.drain()
            return
        while len(self._idle) < _SERVERS_MIN:
            self._idle.append(await self._start(start))
        writer.write(self._idle[0].greeting)
        while True:
            first = await _message(reader)
            if first[:1] == b"X":
                return
            server = self._idle.popleft() if self._idle else await self._start(start)
            self.transactions += 1
            try:
                await _transaction(first, (reader, writer), server)
            except BaseException:
                server.writer.transport.abort()
                raise
            self._idle.append(server)

    async def _start(self, start: bytes) -> Server:
        streams = await asyncio.open_unix_connection(self._upstream)
        streams[1].write(struct.pack("!I", len(start) + 4) + start)
        greeting = b""
        while True:
            message = await _message(streams[0])
            greeting += message
            if message[:1] == b"Z":
                return Server(streams, greeting)


async def _transaction(first: bytes, client: Streams, server: Server) -> None:
    """Carry messages to and fro until the server is out of the transaction, and nothing is under way."""
    owed = 0
    message: bytes | None = first
    inbound: asyncio.Task[bytes] | None = None
    outbound = asyncio.ensure_future(_message(server.reader))
    try:
        while True:
            if message is not None:
                owed += message[:1] in (b"Q", b"S")
                server.writer.write(message)
                message = None
            if inbound is None:
                inbound = asyncio.ensure_future(_message(client[0]))
            await asyncio.wait({inbound, outbound}, return_when=asyncio.FIRST_COMPLETED)
            if outbound.done():
                answer = outbound.result()
                client[1].write(answer)
                if answer[:1] == b"Z":
                    owed -= 1
                    if not owed and answer[5:6] == b"I" and not inbound.done():
                        await client[1].drain()
                        return
                outbound = asyncio.ensure_future(_message(server.reader))
            if inbound.done():
                message, inbound = inbound.result(), None
    finally:
        for task in (inbound, outbound):
            if task is not None:
                await _withdraw(task)


async def _withdraw(task: asyncio.Task[bytes]) -> None:
    """A message is read in two steps; one that waits for its first byte may be given up, and nothing is lost."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
        await task


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


def _error(text: str) -> bytes:
    body = b"SFATAL\0C08P01\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body
