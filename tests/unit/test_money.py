"""Money: exact in both directions, against the decimal module, and closed against everything that is no amount."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, Context, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ainfera_gateway.money import PICO_PER_USD, AmountError, format_usd, parse_usd

EXACT = Context(prec=200)

WIRE_FORM = re.compile(r"-?[0-9]+\.[0-9]{6,12}")
picousd_amounts = st.integers(min_value=-(2**63), max_value=2**63 - 1)


@given(picousd_amounts)
@example(0)
@example(-1)
@example(PICO_PER_USD - 1)
@example(2**63 - 1)
def test_what_is_formatted_is_parsed_again(picousd: int) -> None:
    text = format_usd(picousd)
    assert parse_usd(text) == picousd
    assert WIRE_FORM.fullmatch(text)
    assert EXACT.multiply(Decimal(text), Decimal(PICO_PER_USD)) == picousd


@given(picousd_amounts)
def test_no_more_places_are_shown_than_carry_something(picousd: int) -> None:
    places = format_usd(picousd).partition(".")[2]
    assert len(places) == 6 or not places.endswith("0")


@given(st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, allow_infinity=False, places=14))
@example(Decimal("0.0000000000001"))
@example(Decimal("-0.00000000000100"))
def test_an_amount_is_exact_or_refused(value: Decimal) -> None:
    scaled = EXACT.multiply(value, Decimal(PICO_PER_USD))
    whole = scaled.quantize(Decimal(1), rounding=ROUND_DOWN, context=EXACT)
    text = format(value, "f")
    if scaled == whole:
        assert parse_usd(text) == int(whole)
        assert parse_usd(value) == int(whole)
    else:
        with pytest.raises(AmountError, match="12 decimal places"):
            parse_usd(text)


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_whole_dollars_as_integers(usd: int) -> None:
    assert parse_usd(usd) == usd * PICO_PER_USD


@given(st.lists(picousd_amounts.map(lambda amount: amount >> 12), max_size=50))
def test_sums_of_wire_amounts_lose_nothing(amounts: list[int]) -> None:
    assert sum(parse_usd(format_usd(amount)) for amount in amounts) == sum(amounts)


@pytest.mark.parametrize(
    ("text", "picousd"),
    [
        ("0.05", 50_000_000_000),
        ("5", 5 * PICO_PER_USD),
        ("-0", 0),
        ("0.000000000001", 1),
        ("1e-12", 1),
        ("2.5E+1", 25 * PICO_PER_USD),
        ("0.1000000000000000000000", 100_000_000_000),
        ("+1.5", 1_500_000_000_000),
        ("0e-99999", 0),
    ],
)
def test_accepted_forms(text: str, picousd: int) -> None:
    assert parse_usd(text) == picousd


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "abc", "1,5", "0x10", "1_000", "--1", "1.2.3", "$5", "NaN", "sNaN", "Infinity", "-inf", "1e19", "9" * 65,
        "1e999999999", "1e-13", "0.0000000000001", "١٢", "1\x00", "\ud800", "½",
    ],
)  # fmt: skip
def test_refused_forms(text: str) -> None:
    with pytest.raises(AmountError):
        parse_usd(text)


@pytest.mark.parametrize("value", [True, False])
def test_a_truth_value_is_no_amount(value: bool) -> None:
    with pytest.raises(AmountError):
        parse_usd(value)


@given(st.text(max_size=80))
def test_any_text_gives_an_integer_or_an_amount_error(text: str) -> None:
    try:
        picousd = parse_usd(text)
    except AmountError:
        return
    assert isinstance(picousd, int)
    assert EXACT.multiply(Decimal(text), Decimal(PICO_PER_USD)) == picousd


@pytest.mark.parametrize(
    ("picousd", "text"),
    [
        (0, "0.000000"),
        (1, "0.000000000001"),
        (-1, "-0.000000000001"),
        (1_000_000, "0.000001"),
        (5 * PICO_PER_USD, "5.000000"),
        (1_234_567_890_123, "1.234567890123"),
        (-10_500_000_000_000, "-10.500000"),
    ],
)
def test_the_wire_form(picousd: int, text: str) -> None:
    assert format_usd(picousd) == text
