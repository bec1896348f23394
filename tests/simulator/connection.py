"""One TCP connection: HTTP/1.1 requests in, raw bytes out. It can be reset, cut short, or written to byte by byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import httptools

BODY_LIMIT: Final = 64 * 1024 * 1024
_REASONS: Final = {
    200: b"OK", 302: b"Found", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 413: b"Content Too Large", 415: b"Unsupported Media Type", 429: b"Too Many Requests",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable",
}  # fmt: skip


class ClientGoneError(Exception):
    """The client closed or lost the connection before its answer was whole."""


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case, the last of a repeated header wins; `path` has no query."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    keep_alive: bool
    http_1_0: bool
    body: bytes = b""


Handler = Callable[["Connection", Request], Coroutine[Any, Any, None] | None]


def head(status: int, headers: dict[str, str]) -> bytes:
    """The bytes of a status line and its headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, _REASONS.get(status, b"Status"), lines)


@dataclass(slots=True)
class _Incoming:
    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)
    size: int = 0


class Connection(asyncio.Protocol):
    """Parses requests one after the other and gives each to the handler, which writes its answer here."""

    def __init__(self, handler: Handler, tasks: set[asyncio.Task[None]]) -> None:
        self._handler = handler
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = _Incoming()
        self._queue: deque[Request] = deque()
        self._busy = False
        self._writable: asyncio.Future[None] | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self.transport: asyncio.Transport

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._incoming = _Incoming()

    def on_url(self, url: bytes) -> None:
        self._incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._incoming.headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._incoming.size += len(body)
        if self._incoming.size > BODY_LIMIT:
            self._refuse(413)
        else:
            self._incoming.body.append(body)

    def on_message_complete(self) -> None:
        if self.transport.is_closing():
            return
        target, _, query = self._incoming.url.decode("latin-1").partition("?")
        self._queue.append(
            Request(
                method=self._parser.get_method().decode("ascii"),
                path=target,
                query=query,
                headers=self._incoming.headers,
                keep_alive=self._parser.should_keep_alive(),
                http_1_0=self._parser.get_http_version() == "1.0",
                body=b"".join(self._incoming.body),
            )
        )
        self._serve()

    def _serve(self) -> None:
        while self._queue and not self._busy:
            work = self._handler(self, self._queue.popleft())
            if work is None:
                continue
            self._busy = True
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._busy = False
        self._serve()

    def _refuse(self, status: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(head(status, {"content-length": "0", "connection": "close"}))
            self.transport.close()

    # What the one who answers calls.

    def write(self, data: bytes) -> None:
        """Hands bytes to the kernel at once. Raises `ClientGoneError`."""
        if self.transport.is_closing():
            raise ClientGoneError
        self.transport.write(data)

    async def drain(self) -> None:
        """Waits while the kernel takes no more. Raises `ClientGoneError`."""
        if self._writable is not None:
            await asyncio.shield(self._writable)
        if self.transport.is_closing():
            raise ClientGoneError

    async def wait(self, *, seconds: float | None = None, until: asyncio.Future[None] | None = None) -> None:
        """Waits so long, or until the future is done, or for ever. Raises `ClientGoneError` as soon as the client leaves."""
        waited = {self.gone} if until is None else {self.gone, until}
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self.gone.done():
            raise ClientGoneError

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close(self) -> None:
        """Ends the connection cleanly, after what was written."""
        self.transport.close()
