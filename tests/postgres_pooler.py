"""A pooler of transactions, as strict as they get: each transaction has another server connection than the one before.

So whatever a session keeps (settings, named statements, session locks) is gone, or somebody else's, in the next one.
Parameters of a start-up that such poolers do not know are refused, as PgBouncer does.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque

from tests.postgres_between import Between

_KNOWN = {"user", "database", "application_name", "client_encoding", "DateStyle", "TimeZone", "replication"}
_SERVERS_MIN = 2
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Server:
    """One connection to PostgreSQL, started, with what it said then."""

    def __init__(self, streams: Streams, greeting: bytes) -> None:
        self.reader, self.writer = streams
        self.greeting = greeting


class TransactionPooler(Between):
    """``url`` says what it is, ``plain_url`` does not; ``transactions`` counts them."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.plain_url = self.url
        self.url += "&pgbouncer=true"
        self.transactions = 0
        self._idle: deque[Server] = deque()

    async def _close(self) -> None:
        await super()._close()
        for server in self._idle:
            server.writer.transport.abort()

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
