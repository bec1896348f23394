"""Spend policies: what they take, and which cap a call would break."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.policy.caps import (
    SpendPolicy,
    cap_violation,
    drain_proof_status,
    parse_spend_policy,
    spend_policy_document,
)


def test_a_spend_policy_keeps_sets_and_clears() -> None:
    policy = parse_spend_policy({"per_call_cap_usd": "0.05", "daily_cap_usd": 2, "allowed_brands": ["xai", "google"]})
    assert policy == SpendPolicy(
        per_call_cap_picousd=50_000_000_000, daily_cap_picousd=2 * 10**12, allowed_brands=("google", "xai")
    )
    changed = parse_spend_policy({"per_call_cap_usd": None, "monthly_cap_usd": 0.1, "preset": "cost_first"}, policy)
    assert spend_policy_document(changed) == {
        "per_call_cap_usd": None,
        "daily_cap_usd": "2.000000",
        "monthly_cap_usd": "0.100000",
        "allowed_brands": ["google", "xai"],
        "preset": "cost_first",
    }
    assert parse_spend_policy({"allowed_brands": None, "preset": None}, changed).allowed_brands is None
    assert parse_spend_policy(spend_policy_document(changed)) == changed


@pytest.mark.parametrize(
    ("field", "lowest", "highest", "below", "above"),
    [
        ("per_call_cap_usd", "0.001", "100", "0.000999", "100.000001"),
        ("daily_cap_usd", "0.01", "10000", "0.009999", "10000.000001"),
        ("monthly_cap_usd", "0.01", "310000", "0", "310000.01"),
    ],
)
def test_caps_have_their_bounds(field: str, lowest: str, highest: str, below: str, above: str) -> None:
    for fine in (lowest, highest, Decimal(lowest)):
        parse_spend_policy({field: fine})
    for bad in (below, above, "-1", "NaN", "1e400", "", "abc", True, [], float("inf"), float("nan")):
        with pytest.raises(GatewayError) as caught:
            parse_spend_policy({field: bad})
        assert (caught.value.status, caught.value.code, caught.value.field) == (422, "validation_error", field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cap": 1}, "cap"),
        ({"allowed_brands": "openai"}, "allowed_brands"),
        ({"allowed_brands": ["openai", 1]}, "allowed_brands[1]"),
        ({"allowed_brands": ["x"] * 65}, "allowed_brands"),
        ({"preset": "fastest"}, "preset"),
        ({"preset": ["balanced"]}, "preset"),
    ],
)
def test_other_members_are_checked(body: dict[str, Any], field: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_spend_policy(body)
    assert caught.value.field == field


def test_protected_needs_a_per_call_and_a_daily_cap() -> None:
    assert drain_proof_status(SpendPolicy(per_call_cap_picousd=1, daily_cap_picousd=1)) == "protected"
    assert drain_proof_status(SpendPolicy(per_call_cap_picousd=1, monthly_cap_picousd=1)) == "unprotected"
    assert drain_proof_status(SpendPolicy(daily_cap_picousd=1)) == "unprotected"


def test_the_first_broken_cap_is_named_and_a_cap_met_exactly_holds() -> None:
    policy = SpendPolicy(per_call_cap_picousd=10, daily_cap_picousd=100, monthly_cap_picousd=150)
    assert cap_violation(policy, 10, 90, 140) is None
    assert cap_violation(policy, 11, 0, 0) == "per_call_cap_exceeded"
    assert cap_violation(policy, 10, 91, 140) == "daily_cap_exceeded"
    assert cap_violation(policy, 10, 90, 141) == "monthly_cap_exceeded"
    assert cap_violation(policy, 11, 999, 999) == "per_call_cap_exceeded"
    assert cap_violation(SpendPolicy(), 10**30, 10**30, 10**30) is None
