"""``/v1/messages/count_tokens``."""

from __future__ import annotations

from ainfera_gateway.api.asgi import Receive, Scope, Send, answer, read_body
from ainfera_gateway.api.calls import caller_of, of_the_dialect, read_request
from ainfera_gateway.api.context import context_of
from ainfera_gateway.inference.asked import Origin
from ainfera_gateway.inference.count import TokenCounter
from ainfera_gateway.settings import BODY_BYTES_MAX
from ainfera_gateway.wire.anthropic_messages.count import count_answer
from ainfera_gateway.wire.anthropic_messages.request import parse_count_tokens


class CountTokensHandler:
    """The route's ASGI app."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        parsed = read_request(parse_count_tokens, await read_body(receive, BODY_BYTES_MAX))
        forwarded, query = of_the_dialect(scope, "anthropic")
        origin = Origin(caller_of(context), context.trace_id, context.span_id, forwarded, query)
        tokens = await self._counter.count(origin, parsed, context.headers)
        await answer(send, 200, count_answer(tokens), {})
