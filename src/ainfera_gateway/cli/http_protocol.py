"""One HTTP/1.1 connection: uvicorn's, with deadlines and limits for all that comes before the app, answered in JSON.

What uvicorn lacks, and why it was chosen all the same, is in ``docs/adr/0002-server.md``.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ainfera_gateway.ids import new_id

_FRAMING_BYTES_MAX = 512 * 1024  # chunk sizes, extensions and trailers beyond the body's own bytes, and one read
_FRAMING_BYTES_PER_CHUNK = 20


@dataclass(frozen=True)
class ServerLimits:
    """Limits of one connection before the app sees a request; what is past them is answered 4xx and closed."""

    head_timeout_s: float = 10.0
    head_bytes_max: int = 32 * 1024
    header_count_max: int = 100
    url_bytes_max: int = 8 * 1024
    pipelined_max: int = 16
    connections_max: int = 8192
    keep_alive_s: int = 75
    linger_s: float = 2.0  # for a peer that still sends after its answer: closing at once would reset, and lose it


class GatewayConfig(uvicorn.Config):
    limits: ServerLimits
    draining = False


def error_body(code: str, message: str) -> bytes:
    envelope = {"code": code, "error": code, "message": message, "detail": {"code": code}}
    return json.dumps({**envelope, "request_id": new_id().replace("-", "")}).encode()


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, bounded in time and size from the first byte to the end of each head."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._config = cast("GatewayConfig", config)
        self._limits = self._config.limits
        self._phase: Literal["idle", "head", "body"] = "idle"
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: tuple[int, str, str] | None = None
        self._refused = False
        self._upgrade = False
        self._head_bytes = 0
        self._framing_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections_max:
            self._refuse(503, "overloaded", "too many connections")
        else:
            self._timer = self.loop.call_later(self._limits.head_timeout_s, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        in_head = self._phase == "head"
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "invalid_request", "the request is not valid HTTP/1.1")))
            return
        if self._phase == "head":
            # A value still arriving is in no callback yet, so later reads are counted whole.
            self._head_bytes += len(data) if in_head else 0
            if self._head_bytes > self._limits.head_bytes_max:
                self._refuse(431, "headers_too_large", "the request's headers are too large")
            elif self._timer is None:
                self._timer = self.loop.call_later(self._limits.head_timeout_s, self._head_late)
        elif self._phase == "body":
            self._framing_bytes += len(data)
            if self._framing_bytes > _FRAMING_BYTES_MAX:
                self._refuse(400, "invalid_request", "the request's chunk framing or trailers are too large")
        elif self.cycle is not None and self.cycle.response_complete and self._timer is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The same head as a plain request, for a new parser: the old one drops the body of a request that offers h2c."""
        self._upgrade = False
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._fail(405, "method_not_allowed", "CONNECT is not supported")
        close = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
        kept = [pair for pair in self.headers if pair[0] not in {b"upgrade", b"connection", b"http2-settings"}]
        if close:
            kept.append((b"connection", b"close"))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        lines = [method + b" " + self.url + b" HTTP/1.1", *(name + b": " + value for name, value in kept)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._head_bytes, self._framing_bytes = "head", 0, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._limits.url_bytes_max:
            self._fail(414, "uri_too_long", f"the request target is longer than {self._limits.url_bytes_max} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == "body":  # a trailer: behind a proxy it could pass for a header the proxy strips
            return
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + 4
        if len(self.headers) > self._limits.header_count_max:
            self._fail(431, "headers_too_large", f"more than {self._limits.header_count_max} headers")
        if self._head_bytes > self._limits.head_bytes_max:
            self._fail(431, "headers_too_large", f"the headers are larger than {self._limits.head_bytes_max} bytes")

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._upgrade = self.parser.should_upgrade()
        if self._upgrade:
            return
        if len(self.pipeline) >= self._limits.pipelined_max:
            self._fail(400, "invalid_request", "too many pipelined requests")
        super().on_headers_complete()
        self._phase = "body"
        if self._config.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body) + _FRAMING_BYTES_PER_CHUNK
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._upgrade:
            self._phase = "idle"
            self._stop_timer()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._phase == "body" and self.cycle.response_complete and not self.transport.is_closing():
            # Answered before its body came (401, 413): the rest is read and dropped, for a while.
            self._unset_keepalive_if_required()
            self._timer = self.loop.call_later(self._limits.linger_s, self.transport.close)

    def _fail(self, status: int, code: str, message: str) -> None:
        """Stop the parser from inside one of its callbacks; ``data_received`` then answers."""
        self._refusal = (status, code, message)
        raise httptools.HttpParserError(message)

    def _head_late(self) -> None:
        self._timer = None
        if self._phase == "idle":
            self.transport.close()  # not one byte: a spare connection, which expects no answer
        else:
            self._refuse(408, "request_timeout", f"no complete head within {self._limits.head_timeout_s:g} s")

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._refused = True
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            if self._phase != "body":
                self.cycle.keep_alive = False  # an earlier request is being answered: finish that, then close
                return
            if self.cycle.response_started or self.pipeline:
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = error_body(code, message)
        retry = [(b"retry-after", b"1")] if status == HTTPStatus.SERVICE_UNAVAILABLE else []
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *retry,
        ]
        lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()), *(n + b": " + v for n, v in headers)]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self._limits.linger_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
