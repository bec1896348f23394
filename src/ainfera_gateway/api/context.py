"""What the door hands to a handler, in ``scope["ainfera"]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ainfera_gateway.agents.caller import Caller


@dataclass(slots=True)
class RequestContext:
    """One request: its trace (32 and 16 hex characters), who calls, and from where.

    ``caller`` is set on bearer routes (and on public ones when a valid key came along); ``internal`` when the internal
    key was shown. ``headers`` are added to whatever the handler answers.
    """

    trace_id: str
    span_id: str
    address: str
    route: str
    dialect: str
    caller: Caller | None = None
    internal: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def context_of(scope: Any) -> RequestContext:
    """The context of a request that came through the door."""
    context: RequestContext = scope["ainfera"]
    return context
