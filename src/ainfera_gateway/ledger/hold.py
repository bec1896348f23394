"""How much is set aside for a call, and what the caps and the wallet say to it. Pure; money in pico-USD.

The same estimate serves the gate in memory and the hold in the transaction. Caps look at what the call could cost
unclamped; the wallet may clamp the output down to what it pays for, but not below what makes an answer useful.
"""

from __future__ import annotations

from dataclasses import dataclass

from ainfera_gateway.clock import utc_day, utc_month
from ainfera_gateway.errors import GatewayError, rate_limited
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.page import WalletRow

_MILLI = 1_000
_MINUTE_US = 60_000_000

OUTPUT_DEFAULT_TOKENS = 16_384
"""Output that is held for when the caller asks for no limit."""
OUTPUT_USEFUL_TOKENS = 1_024
"""A wallet that cannot pay this much output (or all that was asked) is refused."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call may cost: tokens, and prices in pico-USD per token."""

    input_tokens: int
    output_tokens: int
    output_useful_tokens: int
    input_price_picousd: int
    output_price_picousd: int

    @property
    def input_picousd(self) -> int:
        return self.input_tokens * self.input_price_picousd

    @property
    def projected_picousd(self) -> int:
        """The unclamped projection, which caps look at."""
        return self.input_picousd + self.output_tokens * self.output_price_picousd


@dataclass(frozen=True, slots=True)
class Grant:
    """An admitted ask: what is held, and the output the provider may be asked for."""

    amount_picousd: int
    output_tokens: int


def ask(
    *,
    input_tokens: int,
    asked_tokens: int | None,
    model_output_max: int,
    input_price: int,
    output_price: int,
    thinking_tokens: int = 0,
) -> Ask:
    """The contract's rule: min(asked, the model's max); when none is asked, min(the model's max, 16,384).

    A budget for thinking must fit into the output with a token to spare, so less than that is no useful output.
    """
    output = min(asked_tokens if asked_tokens is not None else OUTPUT_DEFAULT_TOKENS, model_output_max)
    useful = min(output, max(OUTPUT_USEFUL_TOKENS, thinking_tokens + 1 if thinking_tokens else 0))
    return Ask(input_tokens, output, useful, input_price, output_price)


def roll(wallet: WalletRow, now_us: int) -> None:
    """Start the counters of a new UTC day or month."""
    day, month = utc_day(now_us), utc_month(now_us)
    if wallet.day != day:
        wallet.day, wallet.day_spent_picousd, wallet.dirty = day, 0, True
    if wallet.month != month:
        wallet.month, wallet.month_spent_picousd, wallet.dirty = month, 0, True


def take_call(wallet: WalletRow, per_minute: int, now_us: int) -> int:
    """What is left in the wallet's bucket after one call, in thousandths of a call. Changes nothing.

    The bucket holds a minute's calls and refills evenly; ``per_minute`` 0 means no limit. Raises 429 ``rate_limited``.
    """
    if per_minute == 0:
        return wallet.rate_left_milli
    # Clocks of several nodes differ a little; a moment before the last one refills nothing.
    passed_us = max(0, now_us - wallet.rate_us)
    left = min(per_minute * _MILLI, wallet.rate_left_milli + passed_us * per_minute * _MILLI // _MINUTE_US)
    if left < _MILLI:
        raise rate_limited((_MILLI - left) * _MINUTE_US // (per_minute * _MILLI) // 1_000_000)
    return left - _MILLI


def check_caps(wallet: WalletRow, projected_picousd: int, *, already_held: int = 0) -> None:
    """Raise 403 ``spend_policy_exceeded`` with the first cap that the projection would break.

    Money held for open calls counts as spent; ``already_held`` of it belongs to this very call.
    """
    committed = wallet.held_picousd - already_held + projected_picousd
    for reason, cap, total in (
        ("per_call_cap_exceeded", wallet.per_call_cap_picousd, projected_picousd),
        ("daily_cap_exceeded", wallet.daily_cap_picousd, wallet.day_spent_picousd + committed),
        ("monthly_cap_exceeded", wallet.monthly_cap_picousd, wallet.month_spent_picousd + committed),
    ):
        if cap is not None and total > cap:
            raise GatewayError(
                403,
                "spend_policy_exceeded",
                f"This call could cost {format_usd(projected_picousd)} USD, past the agent's spend policy ({reason}: the"
                f" cap is {format_usd(cap)} USD). Ask for less with max_tokens, or have an owner raise the cap"
                " (PATCH /v1/agents/{id}/spend-policy).",
                detail={"reason": reason, "cap_usd": format_usd(cap), "projected_usd": format_usd(projected_picousd)},
                top={"reason": reason},
            )


def grant(wallet: WalletRow, wanted: Ask) -> Grant:
    """What the wallet pays of ``wanted`` now. Raises 402 below the useful output. Changes nothing."""
    room = wallet.available_picousd - wanted.input_picousd
    output = wanted.output_tokens
    if wanted.output_price_picousd > 0:
        output = min(output, room // wanted.output_price_picousd)
    if room < 0 or output < wanted.output_useful_tokens:
        least = wanted.input_picousd + wanted.output_useful_tokens * wanted.output_price_picousd
        raise GatewayError(
            402,
            "wallet_insufficient",
            f"The wallet has {format_usd(wallet.available_picousd)} USD free; this call needs {format_usd(least)} USD.",
            detail={"available_usd": format_usd(wallet.available_picousd), "needed_usd": format_usd(least)},
        )
    return Grant(wanted.input_picousd + output * wanted.output_price_picousd, output)


def reserve(wallet: WalletRow, wanted: Ask, now_us: int) -> Grant:
    """Check caps and funds, then move the hold. Raises before it changes anything but the day's counters."""
    roll(wallet, now_us)
    check_caps(wallet, wanted.projected_picousd)
    granted = grant(wallet, wanted)
    wallet.held_picousd += granted.amount_picousd
    wallet.dirty = True
    return granted


def settle(wallet: WalletRow, held_picousd: int, cost_picousd: int, now_us: int) -> tuple[int, int]:
    """Release a hold and pay ``cost`` out of it; returns (paid, beyond the hold). The wallet never pays beyond."""
    roll(wallet, now_us)
    paid = min(cost_picousd, held_picousd)
    wallet.held_picousd -= held_picousd
    wallet.balance_picousd -= paid
    wallet.day_spent_picousd += paid
    wallet.month_spent_picousd += paid
    wallet.dirty = True
    return paid, cost_picousd - paid
