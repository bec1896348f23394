"""The kill switch by spend and by hand, over a clock that the test moves."""

from __future__ import annotations

import pytest

from ainfera_gateway.clock import utc_day
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.money import parse_usd

DAY_US = 86_400_000_000
MIDNIGHT_US = 1_795_392_000_000_000


class MovedClock:
    def __init__(self) -> None:
        self.us = MIDNIGHT_US + 1

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1_000_000


def switch(clock: MovedClock, *, enabled: bool = True, pinned: bool = True) -> KillSwitch:
    return KillSwitch(clock, threshold_picousd=parse_usd("1"), enabled=enabled, pinned=pinned)


def test_it_engages_at_the_threshold_and_says_why() -> None:
    clock = MovedClock()
    tested = switch(clock)
    tested.spent(parse_usd("0.999999999999"))
    assert tested.refusal(pinned=False) is None
    tested.spent(1)
    refusal = tested.refusal(pinned=False)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (503, "cost_killswitch_engaged")
    assert refusal.detail["spent_usd"] == "1.000000"
    assert refusal.detail["threshold_usd"] == "1.000000"
    assert refusal.headers["x-should-retry"] == "false"


def test_a_new_utc_day_starts_at_nothing() -> None:
    clock = MovedClock()
    tested = switch(clock)
    tested.spent(parse_usd("2"))
    assert tested.engaged
    clock.us = MIDNIGHT_US + DAY_US
    assert not tested.engaged
    assert tested.state()["spent_usd"] == "0.000000"


def test_pinned_calls_may_be_exempted_from_spend_but_not_from_the_hand() -> None:
    clock = MovedClock()
    tested = switch(clock, pinned=False)
    tested.spent(parse_usd("2"))
    assert tested.refusal(pinned=True) is None
    assert tested.refusal(pinned=False) is not None
    tested.set_by_hand(engaged=True)
    assert tested.refusal(pinned=True) is not None


def test_disabled_it_never_engages_by_spend() -> None:
    tested = switch(MovedClock(), enabled=False)
    tested.spent(parse_usd("100"))
    assert tested.refusal(pinned=False) is None


def test_it_is_restored_and_reloaded() -> None:
    tested = switch(MovedClock())
    tested.learn(utc_day(MIDNIGHT_US), parse_usd("0.5"), by_hand=False, threshold_picousd=parse_usd("0.5"))
    assert tested.engaged
    tested.set_threshold(parse_usd("0.6"))
    assert not tested.engaged
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="above 0"):
            tested.set_threshold(wrong)


def test_what_others_spent_counts_and_a_day_that_has_passed_does_not() -> None:
    clock = MovedClock()
    tested = switch(clock)
    tested.spent(parse_usd("0.4"))
    tested.learn(utc_day(clock.us), parse_usd("0.6"), by_hand=False, threshold_picousd=None)
    assert tested.engaged
    clock.us += 24 * 3600 * 1_000_000
    tested.learn(utc_day(MIDNIGHT_US), parse_usd("0.6"), by_hand=False, threshold_picousd=None)
    assert tested.figures() == (False, 0, parse_usd("1"))


def test_the_transaction_that_admits_a_call_is_believed_before_memory() -> None:
    tested = switch(MovedClock())
    assert tested.refusal(pinned=False, by_hand=True) is not None
    tested.set_by_hand(engaged=True)
    assert tested.refusal(pinned=False, by_hand=False) is None
