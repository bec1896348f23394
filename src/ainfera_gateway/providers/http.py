"""The one upstream client. Requests are built from scratch: no header of the caller ever goes to a third party."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    ConnectError,
    ConnectTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)

_CONNECT_TIMEOUT_S = 10.0
_IDLE_S = 60.0
_SHORT_IDLE_S = 3.0
USER_AGENT = "ainfera-gateway"


class UpstreamError(Exception):
    """The provider could not be reached or broke off. ``kind`` is connect, timeout or server_error.

    ``sent`` tells whether the request may have reached the provider.
    """

    def __init__(self, kind: str, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.sent = sent


class Reply:
    """A provider's answer whose head has arrived: ``status``, ``headers``, and its body chunk by chunk."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        value: str | None = self._response.get_header(name)
        return value

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrived, ``None`` at the end. Raises ``UpstreamError`` when it breaks off."""
        try:
            piece = await self._response.body_reader.read_chunk()
        except PyreqwestError as exc:
            raise _classified(exc) from exc
        return None if piece is None else bytes(piece)

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
        self._client = _pool(_IDLE_S)
        # The local model's server closes idle connections after 5 s; a pool that keeps them longer would lose calls.
        self._short_idle = _pool(_SHORT_IDLE_S)

    async def close(self) -> None:
        await self._client.close()
        await self._short_idle.close()

    @asynccontextmanager
    async def post(
        self, url: str, *, body: bytes, headers: dict[str, str], head_timeout_s: float, short_idle: bool = False
    ) -> AsyncIterator[Reply]:
        """Send ``body`` and yield the reply once its head is here; leaving the block cancels what is still coming.

        Raises ``UpstreamError`` for connection failures and for a head later than ``head_timeout_s``.
        """
        client = self._short_idle if short_idle else self._client
        request = client.post(url).headers(headers).body_bytes(body)
        # Zero, because any other value collects a stream before its first chunk is given out.
        streamed = request.streamed_read_buffer_limit(0).build_streamed()
        try:
            async with asyncio.timeout(head_timeout_s):
                response = await streamed.__aenter__()
        except TimeoutError as exc:
            raise UpstreamError("timeout", "no_answer_in_time", sent=True) from exc
        except PyreqwestError as exc:
            raise _classified(exc) from exc
        try:
            yield Reply(response)
        finally:
            await streamed.__aexit__(None, None, None)


def _pool(idle_s: float) -> Client:
    return (
        ClientBuilder()
        .connect_timeout(timedelta(seconds=_CONNECT_TIMEOUT_S))
        .pool_idle_timeout(timedelta(seconds=idle_s))
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
        .user_agent(USER_AGENT)
        .build()
    )


def _classified(exc: PyreqwestError) -> UpstreamError:
    if isinstance(exc, ConnectTimeoutError | ConnectError):
        return UpstreamError("connect", "connection_failed", sent=False)
    if isinstance(exc, RequestTimeoutError):
        return UpstreamError("timeout", "read_timed_out", sent=True)
    return UpstreamError("server_error", "connection_broken", sent=True)
