"""What a request weighs: its input tokens, and what it may cost at one model. Pure."""

from __future__ import annotations

from ainfera_gateway.canonical.needs import TOOLS
from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.inference.plan import Target
from ainfera_gateway.ledger.estimate import input_tokens
from ainfera_gateway.ledger.hold import ask
from ainfera_gateway.ledger.media import TOOL_PROMPT_TOKENS, media_tokens
from ainfera_gateway.routing.aliases import ROUTER_SLUG
from ainfera_gateway.wire.parsed import Parsed

_AN_HOUR = frozenset({"cache_write_1h"})
"""The price of input kept for an hour is held only for a request that asks for that."""


def estimated_input(parsed: Parsed, slug: str) -> int:
    """Input tokens for the model ``slug``, the router's included: an upper estimate of text, media and tools.

    One estimate for the gate in memory, the hold and what a caller is told (docs/estimates.md).
    """
    weight = parsed.weigh()
    tokens = input_tokens(weight.text, weight.messages) + weight.tokens
    tokens += sum(media_tokens(one, slug) for one in weight.media)
    # Whom the router will choose is not known yet, and it may be a model that is told about tools in words.
    if TOOLS in parsed.request.needs and (slug == ROUTER_SLUG or "claude" in slug):
        tokens += TOOL_PROMPT_TOKENS
    return tokens


def target_of(model: Model, request: ChatRequest, tokens: int, upstream: str | None) -> Target:
    """The model as one that may serve the request of so many input tokens, and what it would cost there.

    ``upstream`` is what the model is to be called at its provider, where that is not its own name.
    """
    input_price, output_price = model.prices.hold_prices(tokens, frozenset() if request.caches_an_hour else _AN_HOUR)
    return Target(
        model,
        ask(
            input_tokens=tokens,
            asked_tokens=request.max_tokens,
            model_output_max=model.max_output_tokens,
            input_price=input_price,
            output_price=output_price * request.n,
            thinking_tokens=request.thinking_tokens,
        ),
        upstream or model.upstream_model,
    )
