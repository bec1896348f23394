"""A call that is decided and priced, ready for T1: who may serve it, in which order, at what ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ainfera_gateway.catalog.model import Model
from ainfera_gateway.inference.records import CallFacts
from ainfera_gateway.ledger.hold import Ask
from ainfera_gateway.wire.parsed import Parsed


@dataclass(frozen=True, slots=True)
class Target:
    """One model that may serve the call, and what it would cost there."""

    model: Model
    ask: Ask
    upstream_model: str


@dataclass(frozen=True, slots=True)
class CallPlan:
    """All that the run of a call needs. ``targets`` is in decision order, never empty.

    ``forwarded`` and ``query`` are what of the caller's head goes to a provider of the same dialect.
    """

    facts: CallFacts
    parsed: Parsed
    targets: tuple[Target, ...]
    baseline: Model | None
    audit_url: str
    pinned: bool
    forwarded: Mapping[str, str] = field(default_factory=dict)
    query: str = ""

    @property
    def first(self) -> Target:
        return self.targets[0]
