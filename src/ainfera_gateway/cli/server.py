"""Runs the ASGI app on uvicorn, in this process: bind, start, say so, and at a signal drain and end.

Why uvicorn is in ``docs/adr/0002-server.md``; one connection's limits are in ``http_protocol``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from types import MappingProxyType
from typing import Any

import uvicorn
import uvloop

from ainfera_gateway.cli.http_protocol import GatewayConfig, GatewayProtocol, ServerLimits, error_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 2048
_CANCEL_S = 5.0
_CUT_S = 5.0
"""How long requests have to say why they end, and to settle, once they are cut."""
_POLL_S = 0.05
_TICK_S = 1.0
# A peer that vanished, or reads nothing while its buffers are full, is dropped after a minute: its call is settled then.
_TCP_OPTIONS = MappingProxyType({"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000})


def run_server(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    on_ready: Callable[[int], None],
    drain_s: float = 30.0,
    on_drain: Callable[[], None] | None = None,
    on_cut: Callable[[], None] | None = None,
    limits: ServerLimits | None = None,
    listener: socket.socket | None = None,
) -> None:
    """Serve ``app`` on ``host:port`` (port 0: any free one) until SIGTERM or SIGINT; blocks, and returns after the drain.

    ``on_ready`` gets the actual port once the app's lifespan has started and the port is open. At the first signal the
    port closes, ``on_drain`` is called, and running requests get up to ``drain_s`` seconds. Then ``on_cut`` is called;
    what has not ended soon after is cancelled, and the lifespan shuts down. ``listener`` is a bound socket to serve
    instead of binding one. A second SIGINT ends the drain at once, a third interrupts what is left.

    Raises OSError with a readable message if the port cannot be had, and whatever the app's lifespan raised.
    """
    config = GatewayConfig(
        _with_last_resort(app),
        http=GatewayProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        backlog=_BACKLOG,
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    config.limits = limits or ServerLimits()
    config.timeout_keep_alive = config.limits.keep_alive_s
    config.load()
    config.lifespan_class = _Lifespan
    if listener is None:
        listener = bind(host, port)
    try:
        server = _Server(config, on_ready=on_ready, on_drain=on_drain, on_cut=on_cut, drain_s=drain_s)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket on ``host:port``, not listening yet. Raises OSError with a readable message."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted sockets inherit these
        for name, value in _TCP_OPTIONS.items():
            if hasattr(socket, name):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
    except OSError as exc:
        listener.close()
        raise OSError(exc.errno, f"cannot listen on {host}:{port}: {os.strerror(exc.errno or 0)}") from exc
    return listener


def _with_last_resort(app: ASGIApp) -> ASGIApp:
    """``app``, with a JSON answer and a log line for what escapes it: uvicorn's own are plain text, and off."""

    async def guarded(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            await _answer(send, 503, error_body("overloaded", "the server is shutting down"), (b"retry-after", b"1"))
            raise
        except Exception:
            _log.exception("the app raised")
            await _answer(send, 500, error_body("internal_server_error", "internal server error"))
            raise

    return guarded


async def _answer(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more]
    with contextlib.suppress(RuntimeError):  # its answer has begun: uvicorn cuts the connection instead
        await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})


class _Lifespan:
    """The app's lifespan; unlike uvicorn's, what the app raises in it reaches the caller of ``run_server``."""

    def __init__(self, config: uvicorn.Config) -> None:
        self.state: dict[str, Any] = {}
        self.should_exit = False
        self._app = config.loaded_app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._app(scope, self._to_app.get, self._from_app.put))
        await self._step(self._task, "startup")

    async def shutdown(self) -> None:
        if self._task is not None:
            await self._step(self._task, "shutdown")
            await asyncio.wait({self._task}, timeout=_CANCEL_S)

    async def _step(self, task: asyncio.Task[None], name: str) -> None:
        self._to_app.put_nowait({"type": f"lifespan.{name}"})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answer, task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done() and answer.result()["type"] == f"lifespan.{name}.complete":
            return
        answer.cancel()
        await asyncio.wait({task}, timeout=1.0)  # an app that says `failed` mostly raises the cause right after
        if task.done():
            task.result()
        raise RuntimeError(f"the app's {name} failed")


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: GatewayConfig,
        *,
        on_ready: Callable[[int], None],
        on_drain: Callable[[], None] | None,
        on_cut: Callable[[], None] | None,
        drain_s: float,
    ) -> None:
        super().__init__(config)
        self._gateway_config = config
        self._on_ready = on_ready
        self._on_drain = on_drain
        self._on_cut = on_cut
        self._drain_s = drain_s
        self._signalled = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The loop's handlers: they act at once, and do not raise the signal again after a clean end as uvicorn does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._handle, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _handle(self, number: int) -> None:
        if self.should_exit:
            if number == signal.SIGINT:
                self.force_exit = True
                asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            return
        self.should_exit = True
        self._gateway_config.draining = True
        self._signalled.set()
        if self.started:
            for server in self.servers:
                server.close()
        if self._on_drain is not None:
            self._on_drain()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.should_exit or not sockets:
            return
        await self.on_tick(0)  # fills the date header before the first answer
        try:
            self._on_ready(sockets[0].getsockname()[1])
        except BaseException:
            await self.shutdown(sockets)
            raise

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._signalled.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        loop, state = asyncio.get_running_loop(), self.server_state
        end = loop.time() + self._drain_s
        while (state.connections or state.tasks) and not self.force_exit and loop.time() < end:
            for connection in list(state.connections):
                connection.shutdown()
            await asyncio.sleep(_POLL_S)
        if state.tasks and self._on_cut is not None:
            self._on_cut()
            await asyncio.wait(set(state.tasks), timeout=_CUT_S)
        running = set(state.tasks)
        for task in running:
            task.cancel()
        if running:
            _log.warning("cancelled %d requests that outlived the drain", len(running))
            await asyncio.wait(running, timeout=_CANCEL_S)
        await self.lifespan.shutdown()
