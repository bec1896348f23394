"""A call that is decided and priced, ready for T1: who may serve it, in which order, at what ask."""

from __future__ import annotations

from dataclasses import dataclass

from ainfera_gateway.catalog.model import Model
from ainfera_gateway.inference.records import CallFacts
from ainfera_gateway.ledger.hold import Ask
from ainfera_gateway.wire.openai_chat.request import ParsedChat


@dataclass(frozen=True, slots=True)
class Target:
    """One model that may serve the call, and what it would cost there."""

    model: Model
    ask: Ask


@dataclass(frozen=True, slots=True)
class CallPlan:
    """All that the run of a call needs. ``targets`` is in decision order, never empty."""

    facts: CallFacts
    parsed: ParsedChat
    targets: tuple[Target, ...]
    baseline: Model | None
    audit_url: str
    pinned: bool

    @property
    def first(self) -> Target:
        return self.targets[0]
