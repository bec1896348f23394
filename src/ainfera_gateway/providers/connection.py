"""One HTTP/1.1 connection to a provider: a request out, its answer in piece by piece, aborted the moment it is not wanted."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import cast

import httptools

HEAD_BYTES_MAX = 64 * 1024
QUEUED_BYTES_MAX = 256 * 1024
"""Body bytes that may wait to be read before the provider is slowed down."""


class UpstreamError(Exception):
    """The provider could not be reached or broke off. ``kind`` is connect, timeout, server_error or invalid.

    ``sent`` tells whether the request may have reached the provider.
    """

    def __init__(self, kind: str, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.sent = sent


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. ``reusable`` once an exchange ended as HTTP says and the peer keeps it open."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._pieces: list[bytes] = []
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._head_bytes = 0
        self._before_body_bytes = 0
        self._paused = self._has_head = self._complete = self._keep_alive = False
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self.lost = False

    # ---- for the client ----

    @property
    def reusable(self) -> bool:
        transport = self._transport
        return (
            self._complete
            and self._keep_alive
            and not self.lost
            and not self._queue
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    def send(self, request: bytes) -> None:
        """Begin an exchange with the whole ``request``, head and body."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, {}
        self._head_bytes = self._before_body_bytes = self._queued_bytes = 0
        self._has_head = self._complete = self._keep_alive = False
        if self.lost or self._transport is None:
            self._fail(UpstreamError("server_error", "connection_broken", sent=False))
            return
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for the head of the answer. Raises ``UpstreamError``."""
        while not self._has_head:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def chunk(self) -> bytes | None:
        """The body bytes that have arrived since, waited for if there are none; ``None`` at the end."""
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self._complete:
                return None
            await self._wait()
        data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        if self._paused and self._transport is not None and not self.lost:
            self._paused = False
            self._transport.resume_reading()
        return data

    def rest(self, idle_s: float) -> None:
        """Wait for the next exchange; closed after ``idle_s`` seconds."""
        self._parser = None
        self._idle = asyncio.get_running_loop().call_later(idle_s, self.abort)

    def abort(self) -> None:
        """Close at once; what the provider still sends is refused."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None and not self._complete:
            self._error = error
        self._wake()

    # ---- for the loop ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or self._complete:
            # Bytes that answer nothing: whatever they are, the next answer could not be trusted.
            self._keep_alive = False
            self.abort()
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(UpstreamError("invalid", "not_http", sent=True))
            self.abort()
        if not self._has_head:
            # A header that never ends is in no callback yet, and interim heads have no end either.
            self._before_body_bytes += len(data)
            if self._before_body_bytes > HEAD_BYTES_MAX:
                self._fail(UpstreamError("invalid", "head_too_large", sent=True))
                self.abort()
        if self._pieces:
            self._queue.append(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
            self._pieces.clear()
            self._queued_bytes += len(self._queue[-1])
            if self._queued_bytes > QUEUED_BYTES_MAX and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._has_head and exc is None and not self._complete and self._ends_with_connection:
            self._complete = True
        self._fail(UpstreamError("server_error", "connection_broken", sent=True))

    @property
    def _ends_with_connection(self) -> bool:
        return (
            "content-length" not in self.headers and "chunked" not in self.headers.get("transfer-encoding", "").lower()
        )

    # ---- for the parser ----

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("bytes behind the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("the head is too large")
        self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._parser is None:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
            return
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._has_head and self._parser is not None:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
