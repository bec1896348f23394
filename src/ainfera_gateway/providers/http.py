"""The one upstream client. Requests are built from scratch: no header of the caller ever goes to a third party.

It is our own, because a request that is no longer wanted must end at the provider at once, also while its answer has
not begun: until then the provider works, and bills.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from ainfera_gateway.providers.connection import Connection, UpstreamError

_CONNECT_TIMEOUT_S = 10.0
_IDLE_S = 30.0
# The local model's server closes idle connections after 5 s; a pool that keeps them longer would lose calls.
_SHORT_IDLE_S = 3.0
_IDLE_MAX = 256
USER_AGENT = "ainfera-gateway"

__all__ = ["Reply", "UpstreamClient", "UpstreamError"]


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a URL is posted to, and the lines of its request head that never change."""

    host: str
    port: int
    tls: bool
    head: bytes


@lru_cache(maxsize=256)
def _address(url: str) -> _Address:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a provider's URL must be http:// or https:// with a host")
    tls = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc.rpartition("@")[2]
    head = f"POST {target} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {USER_AGENT}\r\n"
    return _Address(parts.hostname, parts.port or (443 if tls else 80), tls, head.encode("ascii"))


class Reply:
    """A provider's answer whose head has arrived: ``status``, ``headers``, and its body chunk by chunk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = connection.status

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return self._connection.headers.get(name.lower())

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrived, ``None`` at the end. Raises ``UpstreamError`` when it breaks off."""
        return await self._connection.chunk()

    async def body(self, bytes_max: int) -> bytes:
        """The whole body, at most ``bytes_max``. Raises ``UpstreamError`` when it is longer or breaks off."""
        pieces: list[bytes] = []
        size = 0
        while (piece := await self.chunk()) is not None:
            size += len(piece)
            if size > bytes_max:
                raise UpstreamError("invalid", "answer_too_large", sent=True)
            pieces.append(piece)
        return b"".join(pieces)


class UpstreamClient:
    """Pooled HTTP/1.1 connections to providers. Make one per process; close it at the end."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], list[Connection]] = {}
        self._open: set[Connection] = set()
        self._tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Abort every connection, in use or not."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        self._open.clear()
        await asyncio.sleep(0)

    @asynccontextmanager
    async def post(
        self, url: str, *, body: bytes, headers: dict[str, str], head_timeout_s: float, short_idle: bool = False
    ) -> AsyncIterator[Reply]:
        """Send ``body`` and yield the reply once its head is here; leaving the block cancels what is still coming.

        Raises ``UpstreamError`` for connection failures and for a head later than ``head_timeout_s``.
        """
        address = _address(url)
        request = _request(address, headers, body)
        connection = await self._connection(address)
        try:
            connection.send(request)
            try:
                async with asyncio.timeout(head_timeout_s):
                    await connection.head()
            except TimeoutError as exc:
                raise UpstreamError("timeout", "no_answer_in_time", sent=True) from exc
            yield Reply(connection)
        finally:
            self._give_back(address, connection, _SHORT_IDLE_S if short_idle else _IDLE_S)

    async def _connection(self, address: _Address) -> Connection:
        idle = self._idle.get((address.host, address.port, address.tls))
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
            self._drop(connection)
        return await self._connect(address)

    async def _connect(self, address: _Address) -> Connection:
        if address.tls and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    Connection, address.host, address.port, ssl=self._tls if address.tls else None
                )
        except (OSError, TimeoutError) as exc:
            raise UpstreamError("connect", "connection_failed", sent=False) from exc
        self._open.add(connection)
        return connection

    def _give_back(self, address: _Address, connection: Connection, idle_s: float) -> None:
        idle = self._idle.setdefault((address.host, address.port, address.tls), [])
        # Those that ended while they rested lie at the front, for the newest is taken first.
        while idle and not idle[0].reusable:
            self._drop(idle.pop(0))
        if connection.reusable and connection in self._open and len(idle) < _IDLE_MAX:
            connection.rest(idle_s)
            idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.abort()


def _request(address: _Address, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = "".join(lines)
    if text.count("\r") != len(lines) or text.count("\n") != len(lines) or "\0" in text:
        raise ValueError("a header of a provider's request holds a line break")
    return b"%s%scontent-length: %d\r\n\r\n%s" % (address.head, text.encode("latin-1"), len(body), body)
