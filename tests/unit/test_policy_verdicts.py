"""Which verdict holds for a brand."""

from __future__ import annotations

from typing import Any

import pytest

from ainfera_gateway.policy.conditions import ConditionError
from ainfera_gateway.policy.verdicts import (
    Verdict,
    VerdictError,
    allowed,
    check_new,
    newest,
    pin_allowed,
    rulings,
    verdict_of_row,
)


def verdict(brand: str, word: Any, version: int = 1, condition: Any = None) -> Verdict:
    return verdict_of_row(
        {
            "id": f"{brand}-{version}",
            "brand": brand,
            "verdict": word,
            "condition": condition,
            "decided_by": "ops",
            "decided_at_us": version,
            "evidence_url": None,
            "version": version,
        }
    )


def test_only_the_newest_row_counts_whatever_the_order() -> None:
    rows = [verdict("a", "PASS", 2), verdict("a", "FAIL", 10), verdict("a", "PASS", 9), verdict("b", "PASS")]
    for order in (rows, rows[::-1]):
        latest = newest(order)
        assert {brand: row.version for brand, row in latest.items()} == {"a": 10, "b": 1}
    assert allowed("a", newest(rows), {}) == (False, "FAIL", 10)


def test_a_pass_is_an_explicit_row_except_for_a_pin() -> None:
    assert allowed("ghost", {}, {}) == (False, "no verdict", None)
    assert pin_allowed("ghost", {}, {}).allowed
    failed = newest([verdict("a", "FAIL")])
    assert pin_allowed("a", failed, {}) == (False, "FAIL", 1)


@pytest.mark.parametrize("judge", [allowed, pin_allowed])
def test_a_conditional_holds_only_with_its_condition(judge: Any) -> None:
    rows = newest([verdict("a", "CONDITIONAL", 3, '{"eq":["region","eu"]}')])
    assert judge("a", rows, {"region": "eu"}) == (True, "CONDITIONAL: region eq holds", 3)
    assert judge("a", rows, {"region": "us"}) == (False, "CONDITIONAL: region eq does not hold", 3)
    assert judge("a", rows, {}) == (False, "CONDITIONAL: region is missing", 3)
    assert judge("a", rows, {"region": 1})[0] is False


@pytest.mark.parametrize("stored", [None, "not json"])
def test_a_conditional_that_cannot_be_read_allows_nothing(stored: str | None) -> None:
    assert not allowed("a", newest([verdict("a", "CONDITIONAL", 1, stored)]), {}).allowed


def test_the_allowed_brands_of_a_spend_policy_only_take_away() -> None:
    rows = newest([verdict("a", "PASS"), verdict("b", "PASS"), verdict("c", "FAIL")])
    found = rulings(["a", "b", "c", "a"], rows, {}, allowed_brands=("a", "c"))
    assert {brand: ruling.allowed for brand, ruling in found.items()} == {"a": True, "b": False, "c": False}
    assert found["b"].version == 1
    assert rulings(["ghost"], rows, {}, pinned=True)["ghost"].allowed
    assert not rulings(["ghost"], rows, {}, pinned=True, allowed_brands=())["ghost"].allowed


def test_a_new_verdict_is_checked() -> None:
    body = {"brand": "openai", "verdict": "CONDITIONAL", "condition": {"exists": "dpa"}, "decided_by": "legal"}
    assert check_new(body).condition == '{"exists":"dpa"}'
    assert check_new(body | {"verdict": "PASS", "condition": None}).condition is None
    for change, field in [
        ({"brand": "Open AI"}, "brand"),
        ({"brand": ""}, "brand"),
        ({"verdict": "pass"}, "verdict"),
        ({"verdict": ["PASS"]}, "verdict"),
        ({"verdict": "FAIL"}, "condition"),
        ({"condition": None}, "condition"),
        ({"condition": 7}, "condition"),
        ({"decided_by": None}, "decided_by"),
        ({"evidence_url": "x" * 2001}, "evidence_url"),
        ({"version": 4}, "version"),
    ]:
        with pytest.raises(VerdictError) as caught:
            check_new(body | change)
        assert caught.value.field == field
    with pytest.raises(ConditionError):
        check_new(body | {"condition": {"exists": 1}})
