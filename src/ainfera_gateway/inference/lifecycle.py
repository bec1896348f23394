"""The states of a call and the transitions that are legal, as a table."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a call ended: ``outcome_status`` of its one row in ``routing_outcomes``."""

    SUCCEEDED = "succeeded"
    CLIENT_CANCELLED = "client_cancelled"
    FAILED_PROVIDER_ERROR = "failed_provider_error"
    FAILED_OTHER = "failed_other"
    INDETERMINATE = "indeterminate"
    REJECTED_CAP = "rejected_cap_violation"
    REJECTED_FUNDS = "rejected_insufficient_funds"
    REJECTED_NO_CANDIDATE = "rejected_no_candidate"
    REJECTED_KILLSWITCH = "rejected_killswitch"


class State(StrEnum):
    """Where a call stands."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RESERVED = "reserved"
    DISPATCHED = "dispatched"
    ANSWERING = "answering"
    SETTLED = "settled"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.REFUSED, State.RESERVED}),
    State.RESERVED: frozenset({State.DISPATCHED, State.SETTLED}),
    # A retry or a fallback is another dispatch; it is legal until the caller has seen a byte.
    State.DISPATCHED: frozenset({State.DISPATCHED, State.ANSWERING, State.SETTLED}),
    State.ANSWERING: frozenset({State.SETTLED}),
    State.REFUSED: frozenset(),
    State.SETTLED: frozenset(),
}

TERMINAL_EVENT: dict[Outcome, str] = {
    Outcome.SUCCEEDED: "receipt.created",
    Outcome.CLIENT_CANCELLED: "receipt.created",
    Outcome.FAILED_PROVIDER_ERROR: "inference.failed",
    Outcome.FAILED_OTHER: "inference.failed",
    Outcome.INDETERMINATE: "inference.failed",
    Outcome.REJECTED_CAP: "inference.rejected_cap_violation",
    Outcome.REJECTED_FUNDS: "inference.rejected_insufficient_funds",
    Outcome.REJECTED_NO_CANDIDATE: "inference.rejected_no_candidate",
    Outcome.REJECTED_KILLSWITCH: "inference.rejected_killswitch",
}
"""The one event that ends each kind of call."""


class IllegalTransitionError(RuntimeError):
    """A bug of ours: the call was moved to a state it cannot reach from where it stands."""


def move(current: State, following: State) -> State:
    """``following``, if it is legal after ``current``."""
    if following not in TRANSITIONS[current]:
        raise IllegalTransitionError(f"{current} -> {following}")
    return following
