"""Money is an integer count of pico-USD (1e-12 USD). Names that hold it end in ``_picousd``.

Of the list prices in use today some are not whole nano-USD per token; all are whole pico-USD, so every
cost is exact. Floats never enter: amounts arrive as decimal text (or as JSON numbers read as text).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

PICO_PER_USD = 10**12
_PLACES = 12
_AMOUNT_CHARS_MAX = 64


class AmountError(ValueError):
    """The text is not an exact, finite amount of USD with at most 12 places."""


def parse_usd(text: str | int | Decimal) -> int:
    """Exact pico-USD of a decimal text such as ``"0.05"``.

    Raises ``AmountError`` for anything that is not finite, has more than 12 places or is absurdly long.
    """
    if isinstance(text, bool):
        raise AmountError("an amount is a decimal string or a number")
    raw = str(text)
    if len(raw) > _AMOUNT_CHARS_MAX:
        raise AmountError("the amount is too long")
    if not raw.isascii() or "_" in raw:
        raise AmountError("an amount is a decimal string such as 0.05")
    try:
        value = Decimal(raw)
    except InvalidOperation as exc:
        raise AmountError("an amount is a decimal string such as 0.05") from exc
    if not value.is_finite():
        raise AmountError("the amount is not finite")
    if value and value.adjusted() > 18:
        raise AmountError("the amount is too large")
    sign, digits, exponent = value.as_tuple()
    # Integers from here on: a Decimal context would round what has more digits than it keeps.
    whole = int("".join(map(str, digits)))
    shift = int(exponent) + _PLACES
    if shift >= 0:
        whole *= 10**shift
    else:
        whole, rest = divmod(whole, 10 ** min(-shift, _AMOUNT_CHARS_MAX)) if whole else (0, 0)
        if rest:
            raise AmountError("the amount has more than 12 decimal places")
    return -whole if sign else whole


def format_usd(picousd: int) -> str:
    """Exact decimal text with 6 to 12 places, the wire form of the contract."""
    sign = "-" if picousd < 0 else ""
    whole, pico = divmod(abs(picousd), PICO_PER_USD)
    places = f"{pico:012d}"
    kept = places.rstrip("0")
    return f"{sign}{whole}.{kept.ljust(6, '0')}"
