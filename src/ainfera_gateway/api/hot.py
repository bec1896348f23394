"""The small routes that never touch the database: root, health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ainfera_gateway.api.asgi import Receive, Scope, Send, answer
from ainfera_gateway.metrics.registry import Registry
from ainfera_gateway.metrics.render import CONTENT_TYPE, render
from ainfera_gateway.version import __version__


async def root(scope: Scope, _receive: Receive, send: Send) -> None:
    """What this is, for a person and for probes."""
    body = msgspec.json.encode(
        {
            "service": "Ainfera API",
            "version": __version__,
            "default_model": "ainfera-inference",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "models": "/v1/models",
        }
    )
    await answer(send, 200, b"" if scope["method"] == "HEAD" else body, _length(scope, body))


async def health(scope: Scope, _receive: Receive, send: Send) -> None:
    """Alive; no I/O."""
    body = b'{"status":"ok"}'
    await answer(send, 200, b"" if scope["method"] == "HEAD" else body, _length(scope, body))


class Readiness:
    """``/readyz``: 200 while every probe is well, 503 while draining or when one is not."""

    def __init__(self, probe: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        self._probe = probe

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        state = dict(await self._probe())
        body = msgspec.json.encode(state)
        status = 200 if state["status"] == "ok" else 503
        await answer(send, status, b"" if scope["method"] == "HEAD" else body, _length(scope, body))


class MetricsPage:
    """``/metrics``, behind the internal key. ``refresh`` brings gauges up to date from memory."""

    def __init__(self, registry: Registry, refresh: Callable[[], None]) -> None:
        self._registry = registry
        self._refresh = refresh

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self._refresh()
        await answer(send, 200, render(self._registry), {}, content_type=CONTENT_TYPE)


def _length(scope: Scope, body: bytes) -> dict[str, str]:
    return {"content-length": str(len(body))} if scope["method"] == "HEAD" else {}
