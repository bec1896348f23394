"""Holds: a wallet is never overdrawn, whatever order calls open and end in; caps and the clamp by an oracle."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.ledger.hold import Ask, ask, check_caps, grant, reserve, roll, settle
from ainfera_gateway.storage.page import WalletRow

NOW_US = 1_795_392_000_000_000  # 2026-11-23
DAY_US = 86_400_000_000

prices = st.sampled_from([0, 1, 10_000, 1_250_000, 75_000_000])
tokens = st.integers(min_value=0, max_value=200_000)
amounts = st.integers(min_value=0, max_value=10**14)
caps = st.none() | st.integers(min_value=0, max_value=10**13)


def wallet_of(balance: int, held: int = 0, **more: int | None) -> WalletRow:
    row = WalletRow(
        agent_id="a", tenant_id="t", balance_picousd=balance, held_picousd=held, day="2026-11-23",
        day_spent_picousd=0, month="2026-11", month_spent_picousd=0, calls=0, status="active",
        per_call_cap_picousd=None, daily_cap_picousd=None, monthly_cap_picousd=None,
    )  # fmt: skip
    return replace(row, **more)


asks = st.builds(
    ask,
    input_tokens=tokens,
    asked_tokens=st.none() | st.integers(min_value=1, max_value=2**31),
    model_output_max=st.sampled_from([1, 500, 1_024, 4_096, 65_536]),
    input_price=prices,
    output_price=prices,
)


@pytest.mark.parametrize(
    ("asked", "most", "output", "useful"),
    [
        (None, 128_000, 16_384, 1_024),
        (None, 4_096, 4_096, 1_024),
        (None, 500, 500, 500),
        (10, 128_000, 10, 10),
        (1_024, 128_000, 1_024, 1_024),
        (50_000, 128_000, 50_000, 1_024),
        (2**31, 65_536, 65_536, 1_024),
    ],
)
def test_how_much_output_is_held_for(asked: int | None, most: int, output: int, useful: int) -> None:
    made = ask(input_tokens=7, asked_tokens=asked, model_output_max=most, input_price=2, output_price=3)
    assert (made.output_tokens, made.output_useful_tokens) == (output, useful)
    assert made.projected_picousd == 7 * 2 + output * 3


@given(amounts, amounts, asks)
def test_a_grant_is_the_most_the_wallet_pays(balance: int, held: int, wanted: Ask) -> None:
    wallet = wallet_of(balance, min(balance, held))
    free = balance - min(balance, held)

    def price(output: int) -> int:
        return wanted.input_tokens * wanted.input_price_picousd + output * wanted.output_price_picousd

    if price(wanted.output_useful_tokens) > free:
        with pytest.raises(GatewayError) as raised:
            grant(wallet, wanted)
        assert (raised.value.status, raised.value.code) == (402, "wallet_insufficient")
        assert raised.value.headers["x-should-retry"] == "false"
        return
    granted = grant(wallet, wanted)
    assert granted.amount_picousd == price(granted.output_tokens) <= free
    assert wanted.output_useful_tokens <= granted.output_tokens <= wanted.output_tokens
    assert granted.output_tokens == wanted.output_tokens or price(granted.output_tokens + 1) > free


@given(amounts, caps, caps, caps, amounts, amounts, amounts, asks)
def test_caps_in_their_order(
    held: int, call: int | None, day: int | None, month: int | None, spent_day: int, spent_month: int, own: int,
    wanted: Ask,
) -> None:  # fmt: skip
    own = min(own, held)
    wallet = wallet_of(
        10**15, held, per_call_cap_picousd=call, daily_cap_picousd=day, monthly_cap_picousd=month,
        day_spent_picousd=spent_day, month_spent_picousd=spent_month,
    )  # fmt: skip
    cost = wanted.projected_picousd
    open_elsewhere = held - own
    reason = None
    if call is not None and cost > call:
        reason = "per_call_cap_exceeded"
    elif day is not None and spent_day + open_elsewhere + cost > day:
        reason = "daily_cap_exceeded"
    elif month is not None and spent_month + open_elsewhere + cost > month:
        reason = "monthly_cap_exceeded"
    if reason is None:
        check_caps(wallet, cost, already_held=own)
        return
    with pytest.raises(GatewayError) as raised:
        check_caps(wallet, cost, already_held=own)
    assert (raised.value.status, raised.value.code) == (403, "spend_policy_exceeded")
    assert raised.value.detail["reason"] == raised.value.top["reason"] == reason
    assert raised.value.detail["cap_usd"] in raised.value.message
    assert "spend-policy" in raised.value.message, "what to do"


@given(amounts, st.integers(min_value=0, max_value=10**13), asks)
def test_a_refusal_changes_nothing(balance: int, cap: int, wanted: Ask) -> None:
    wallet = wallet_of(balance, per_call_cap_picousd=cap)
    before = replace(wallet)
    try:
        reserve(wallet, wanted, NOW_US)
    except GatewayError:
        assert wallet == before
    else:
        assert wallet.held_picousd > 0 or wanted.projected_picousd == 0 or wallet.dirty


@given(amounts, asks, amounts)
def test_settling_pays_the_hold_at_most(balance: int, wanted: Ask, cost: int) -> None:
    wallet = wallet_of(balance)
    try:
        granted = reserve(wallet, wanted, NOW_US)
    except GatewayError:
        return
    paid, beyond = settle(wallet, granted.amount_picousd, cost, NOW_US)
    assert paid == min(cost, granted.amount_picousd)
    assert paid + beyond == cost
    assert wallet.held_picousd == 0
    assert wallet.balance_picousd == balance - paid >= 0
    assert wallet.day_spent_picousd == wallet.month_spent_picousd == paid


def test_a_new_day_and_a_new_month_start_from_nothing() -> None:
    wallet = wallet_of(10, day_spent_picousd=5, month_spent_picousd=7)
    roll(wallet, NOW_US)
    assert (wallet.day_spent_picousd, wallet.month_spent_picousd, wallet.dirty) == (5, 7, False)
    roll(wallet, NOW_US + DAY_US)
    assert (wallet.day, wallet.day_spent_picousd, wallet.month_spent_picousd, wallet.dirty) == (
        "2026-11-24",
        0,
        7,
        True,
    )
    roll(wallet, NOW_US + 8 * DAY_US)
    assert (wallet.month, wallet.day_spent_picousd, wallet.month_spent_picousd) == ("2026-12", 0, 0)


class Wallets(RuleBasedStateMachine):
    """Calls open and end in any order, wallets are filled, days pass: nothing is overdrawn and every cap holds."""

    open_calls = Bundle("open_calls")

    def __init__(self) -> None:
        super().__init__()
        self.wallet = wallet_of(0, daily_cap_picousd=5 * 10**12)
        self.holds: list[int] = []
        self.filled = 0
        self.paid = 0
        self.now_us = NOW_US

    @rule(amount=amounts)
    def fill(self, amount: int) -> None:
        self.wallet.balance_picousd += amount
        self.filled += amount

    @rule(target=open_calls, wanted=asks)
    def open(self, wanted: Ask) -> int:
        try:
            granted = reserve(self.wallet, wanted, self.now_us)
        except GatewayError:
            return -1
        self.holds.append(granted.amount_picousd)
        return granted.amount_picousd

    @rule(held=consumes(open_calls), cost=amounts)
    def end(self, held: int, cost: int) -> None:
        if held < 0:
            return
        paid, _ = settle(self.wallet, held, cost, self.now_us)
        self.holds.remove(held)
        self.paid += paid

    @rule()
    def wait_a_day(self) -> None:
        self.now_us += DAY_US

    @invariant()
    def never_overdrawn(self) -> None:
        assert 0 <= self.wallet.held_picousd <= self.wallet.balance_picousd
        assert self.wallet.held_picousd == sum(self.holds)
        assert self.wallet.balance_picousd == self.filled - self.paid

    @invariant()
    def the_day_stays_within_its_cap(self) -> None:
        assert self.wallet.day_spent_picousd <= 5 * 10**12


TestWallets = Wallets.TestCase
