"""A caller on a bare socket, so that nothing between the gateway and the test collects bytes or repairs an answer."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.integration.books import eventually

_ESTABLISHED, _CLOSE_WAIT = "01", "08"
"""As ``/proc/net/tcp`` writes these states."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Body bytes as one read brought them, and when (``time.monotonic``, seconds)."""

    data: bytes
    at_s: float


class RawStream:
    """One POST whose chunked answer is read piece by piece. ``status`` and ``headers`` are there once it is open."""

    def __init__(
        self, url: str, path: str, body: dict[str, Any] | bytes, key: str, headers: dict[str, str] | None = None
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"POST {path} HTTP/1.1",
            f"host: {parts.netloc}",
            f"authorization: Bearer {key}",
            "content-type: application/json",
            f"content-length: {len(data)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        self._held = b""
        self._body = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False

    def open(self) -> Self:
        """Read the head of the answer."""
        while b"\r\n\r\n" not in self._held:
            self._held += self._receive()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        return self

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the connection ended")
        return data

    def piece(self) -> Piece | None:
        """The next body bytes of a chunked answer; None at its end."""
        if self.ended:
            return None
        while b"\r\n" not in self._held:
            self._held += self._receive()
        size_text, _, self._held = self._held.partition(b"\r\n")
        size = int(size_text, 16)
        while len(self._held) < size + 2:
            self._held += self._receive()
        data, self._held = self._held[:size], self._held[size + 2 :]
        if size == 0:
            self.ended = True
            return None
        self._body += data
        return Piece(data, time.monotonic())

    def event(self, terminator: bytes = b"\n\n") -> bytes | None:
        """The next whole event, terminator included; None at the end."""
        while terminator not in self._body:
            if self.piece() is None:
                return None
        end = self._body.index(terminator) + len(terminator)
        event = bytes(self._body[:end])
        del self._body[:end]
        return event

    def rest(self) -> bytes:
        """All body bytes that were not taken as events yet, to the end."""
        while self.piece() is not None:
            pass
        left = bytes(self._body)
        self._body.clear()
        return left

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def leave(self) -> None:
        """Hang up, and wait until the other side has closed its end: from there on it knows."""
        mine, theirs = self._socket.getsockname()[1], self._socket.getpeername()[1]
        assert is_open(mine, theirs)
        self.close()
        eventually(lambda: not is_open(mine, theirs))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_open(remote: int, local: int) -> bool:
    """Whether the socket on the ``local`` port of this machine still holds its connection to the ``remote`` port."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        here, there, state = line.split()[1:4]
        ports = int(there.rpartition(":")[2], 16), int(here.rpartition(":")[2], 16)
        if ports == (remote, local) and state in {_ESTABLISHED, _CLOSE_WAIT}:
            return True
    return False
