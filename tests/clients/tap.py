"""A wire tap: a port before the simulator that passes every byte on and keeps the requests, heads included."""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

_READ: Final = 1 << 16


@dataclass(frozen=True)
class Heard:
    """One request: its path, query, headers (names in lower case) and body, as they came over the wire."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Tap:
    """Listens on a free loopback port for `port`. A context manager; `url` is what a provider's base URL begins with."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._kept: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def heard(self) -> list[Heard]:
        """Every request so far, in the order of the connections. Requests must have a content-length."""
        return [request for kept in self._kept for request in _requests(bytes(kept))]

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            kept = bytearray()
            self._kept.append(kept)
            self._sockets += [caller, server]
            self._start(self._pass, caller, server, kept)
            self._start(self._pass, server, caller, None)

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        try:
            while data := source.recv(_READ):
                if kept is not None:
                    kept += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                each.close()
        for thread in self._threads:
            thread.join(5)
        for each in self._sockets:
            each.close()


def _requests(data: bytes) -> list[Heard]:
    found: list[Heard] = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *others = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in others)}
        length = int(headers.get("content-length", "0"))
        target = re.split(" ", first)[1]
        split = urlsplit(target)
        found.append(Heard(split.path, dict(parse_qsl(split.query)), headers, rest[:length]))
        data = rest[length:]
    return found
