"""The states of a call: what may follow what, held against a list that is written out here."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.inference.lifecycle import (
    TERMINAL_EVENT,
    TRANSITIONS,
    IllegalTransitionError,
    Outcome,
    State,
    move,
)

LEGAL = {
    (State.ACCEPTED, State.REFUSED),
    (State.ACCEPTED, State.RESERVED),
    (State.RESERVED, State.DISPATCHED),
    (State.RESERVED, State.SETTLED),
    (State.DISPATCHED, State.DISPATCHED),
    (State.DISPATCHED, State.ANSWERING),
    (State.DISPATCHED, State.SETTLED),
    (State.ANSWERING, State.SETTLED),
}


@pytest.mark.parametrize(("current", "following"), list(itertools.product(State, State)))
def test_exactly_the_legal_moves_are_taken(current: State, following: State) -> None:
    if (current, following) in LEGAL:
        assert move(current, following) is following
    else:
        with pytest.raises(IllegalTransitionError, match=f"{current} -> {following}"):
            move(current, following)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)


@given(st.lists(st.sampled_from(State), max_size=12))
def test_no_walk_dispatches_after_a_byte_or_settles_twice(wanted: list[State]) -> None:
    state, walked = State.ACCEPTED, [State.ACCEPTED]
    for following in wanted:
        try:
            state = move(state, following)
        except IllegalTransitionError:
            continue
        walked.append(state)
    assert walked.count(State.SETTLED) + walked.count(State.REFUSED) <= 1
    assert walked.count(State.ANSWERING) <= 1
    if State.ANSWERING in walked:
        assert State.DISPATCHED not in walked[walked.index(State.ANSWERING) :]
    if State.DISPATCHED in walked:
        assert State.RESERVED in walked[: walked.index(State.DISPATCHED)]


def test_every_outcome_ends_with_one_kind_of_event() -> None:
    assert TERMINAL_EVENT == {
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
    assert set(TERMINAL_EVENT) == set(Outcome)


def test_outcomes_are_stored_under_the_contract_s_names() -> None:
    assert {str(outcome) for outcome in Outcome} >= {
        "succeeded", "client_cancelled", "failed_provider_error", "failed_other", "indeterminate",
    }  # fmt: skip
    assert all(str(outcome).startswith("rejected_") for outcome in Outcome if outcome.name.startswith("REJECTED"))
