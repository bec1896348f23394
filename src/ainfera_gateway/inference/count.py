"""Count the input tokens of a request: where the provider counts exactly, there; else by our own estimate.

Counting is no inference: it costs nothing at the provider, holds nothing and leaves no row.
"""

from __future__ import annotations

import asyncio
import logging

from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.asked import Origin
from ainfera_gateway.inference.plan import Target
from ainfera_gateway.inference.prepare import Planner
from ainfera_gateway.providers.backend import Backends
from ainfera_gateway.providers.http import UpstreamClient, UpstreamError
from ainfera_gateway.wire.anthropic_messages.count import count_tokens_body, read_count
from ainfera_gateway.wire.anthropic_messages.request import ParsedMessages

_COUNT_S = 5.0
_ANSWER_BYTES_MAX = 64 * 1024

_log = logging.getLogger("ainfera.inference")


class TokenCounter:
    """Counts for callers of the messages dialect."""

    def __init__(self, planner: Planner, client: UpstreamClient, backends: Backends) -> None:
        self._planner = planner
        self._client = client
        self._backends = backends

    async def count(self, origin: Origin, parsed: ParsedMessages, headers: dict[str, str]) -> int:
        """The tokens. Raises ``GatewayError``; a provider that does not answer is not an error."""
        target, estimate = await self._planner.count(origin, parsed, headers)
        exact = None if target is None else await self._ask(target, origin, parsed)
        return estimate if exact is None else exact

    async def _ask(self, target: Target, origin: Origin, parsed: ParsedMessages) -> int | None:
        backend = self._backends.get(target.model.provider)
        if backend is None or (target.model.wire or backend.wire) != "anthropic_messages":
            return None
        try:
            async with (
                asyncio.timeout(_COUNT_S),
                self._client.post(
                    backend.url("/messages/count_tokens") + origin.query,
                    body=count_tokens_body(parsed, model=target.upstream_model),
                    headers=backend.headers(new_id(), "anthropic_messages", origin.forwarded),
                    head_timeout_s=_COUNT_S,
                ) as reply,
            ):
                body = await reply.body(_ANSWER_BYTES_MAX)
                return read_count(body) if reply.status == 200 else None
        except (TimeoutError, UpstreamError):
            _log.warning("tokens could not be counted at the provider", extra={"event": "count_failed"})
            return None
