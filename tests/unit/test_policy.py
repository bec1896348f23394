from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.errors import GatewayError
from ainfera_gateway.policy.caps import (
    SpendPolicy,
    cap_violation,
    drain_proof_status,
    parse_spend_policy,
    spend_policy_document,
)
from ainfera_gateway.policy.conditions import ConditionError, check_condition, check_context, condition_text, evaluate
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

CONTEXT: dict[str, Any] = {
    "region": "eu",
    "level": 3,
    "share": Decimal("0.5"),
    "pii": False,
    "gone": None,
    "tags": ("a", "b"),
    "empty": (),
}


def holds(condition: dict[str, Any], context: dict[str, Any] | None = None) -> tuple[bool, str]:
    return evaluate(check_condition(condition), CONTEXT if context is None else context)


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ({"eq": ["region", "eu"]}, True),
        ({"eq": ["region", "us"]}, False),
        ({"ne": ["region", "us"]}, True),
        ({"ne": ["region", "eu"]}, False),
        ({"eq": ["pii", False]}, True),
        ({"eq": ["pii", 0]}, False),  # a boolean is no number
        ({"ne": ["pii", 1]}, False),  # nor is its difference from one a finding
        ({"eq": ["level", True]}, False),
        ({"eq": ["share", 0.5]}, True),
        ({"eq": ["level", 3.0]}, True),
        ({"eq": ["level", "3"]}, False),
        ({"in": ["region", ["eu", "ch"]]}, True),
        ({"in": ["region", ["us"]]}, False),
        ({"not_in": ["region", ["us"]]}, True),
        ({"not_in": ["region", [1]]}, False),
        ({"in": ["tags", ["a", "b", "c"]]}, True),
        ({"in": ["tags", ["a"]]}, False),
        ({"in": ["empty", ["a"]]}, False),
        ({"not_in": ["tags", ["c"]]}, True),
        ({"not_in": ["tags", ["b"]]}, False),
        ({"eq": ["tags", "a"]}, False),
        ({"lt": ["level", 4]}, True),
        ({"lt": ["level", 3]}, False),
        ({"lte": ["level", 3]}, True),
        ({"gt": ["level", 3]}, False),
        ({"gt": ["share", 0.4]}, True),
        ({"gte": ["level", 3]}, True),
        ({"gte": ["region", 3]}, False),
        ({"exists": "region"}, True),
        ({"exists": "gone"}, False),
        ({"not": {"exists": "absent"}}, True),
        ({"eq": ["absent", 1]}, False),
        ({"not": {"eq": ["absent", 1]}}, False),  # silence never opens a brand
        ({"not": {"eq": ["region", 1]}}, False),  # nor does a wrong type
        ({"not": {"eq": ["region", "us"]}}, True),
        ({"all": [{"exists": "region"}, {"gt": ["level", 1]}]}, True),
        ({"all": [{"exists": "region"}, {"gt": ["level", 9]}]}, False),
        ({"any": [{"eq": ["absent", 1]}, {"exists": "region"}]}, True),
        ({"any": [{"eq": ["absent", 1]}, {"exists": "absent"}]}, False),
        ({"not": {"any": [{"eq": ["absent", 1]}, {"exists": "absent"}]}}, False),
        ({"not": {"all": [{"eq": ["absent", 1]}, {"exists": "absent"}]}}, True),
    ],
)
def test_operators(condition: dict[str, Any], met: bool) -> None:
    assert holds(condition)[0] is met


def test_the_four_results_have_their_reasons_and_no_value_of_the_caller() -> None:
    condition = {"eq": ["region", "eu"]}
    assert holds(condition, {"region": "eu"}) == (True, "region eq holds")
    assert holds(condition, {"region": "secret"}) == (False, "region eq does not hold")
    assert holds(condition, {}) == (False, "region is missing")
    assert holds(condition, {"region": 7}) == (False, "region is number, text is needed")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("[", "$"),
        ("[]", "$"),
        ("{}", "$"),
        ('{"eq":["a",1],"ne":["a",1]}', "$"),
        ('{"eq":["a",1],"eq":["a",2]}', "$"),
        ('{"regex":["a","b"]}', "$"),
        ('{"eq":["a"]}', "$.eq"),
        ('{"eq":["a",null]}', "$.eq[1]"),
        ('{"eq":["a",[1]]}', "$.eq[1]"),
        ('{"eq":["a",NaN]}', "$"),
        ('{"eq":["a",1e99]}', "$.eq[1]"),
        ('{"eq":["a",1e99999999999999999999]}', "$"),
        ('{"eq":["a","\\u0000"]}', "$.eq[1]"),
        ('{"eq":["a","\\ud800"]}', "$.eq[1]"),
        ('{"eq":["",1]}', "$.eq[0]"),
        ('{"eq":[1,1]}', "$.eq[0]"),
        ('{"lt":["a","b"]}', "$.lt[1]"),
        ('{"lt":["a",true]}', "$.lt[1]"),
        ('{"in":["a","b"]}', "$.in[1]"),
        ('{"in":["a",[]]}', "$.in[1]"),
        ('{"in":["a",[1,"b"]]}', "$.in[1]"),
        ('{"in":["a",[1,true]]}', "$.in[1]"),
        ('{"all":[]}', "$.all"),
        ('{"all":[{"exists":"a"},{"eq":["b",{}]}]}', "$.all[1].eq[1]"),
        ('{"not":[]}', "$.not"),
        ('{"exists":["a"]}', "$.exists"),
    ],
)
def test_a_bad_condition_is_refused_with_its_path(raw: str, path: str) -> None:
    with pytest.raises(ConditionError) as caught:
        check_condition(raw)
    assert caught.value.path == path


def nested(levels: int) -> str:
    return '{"not":' * (levels - 1) + '{"exists":"a"}' + "}" * (levels - 1)


def test_depth_and_size_have_their_bounds() -> None:
    check_condition(nested(8))
    with pytest.raises(ConditionError, match="8 levels"):
        check_condition(nested(9))
    with pytest.raises(ConditionError, match=r"levels deep|not JSON"):
        check_condition("[" * 1024)
    fitting = json.dumps({"eq": ["a", "x" * 1007]}, separators=(",", ":"))
    assert len(fitting) == 1022
    check_condition(fitting)
    for grown in (fitting + "   ", {"eq": ["a", "x" * 1010]}, fitting.replace("x", "é", 3)):
        with pytest.raises(ConditionError, match="at most 1024"):
            check_condition(grown)
    with pytest.raises(ConditionError, match=r"at most|1 to 64"):
        check_condition({"in": ["a", list(range(65))]})


def test_fields_can_be_limited_to_known_ones() -> None:
    check_condition({"exists": "region"}, fields=frozenset({"region"}))
    with pytest.raises(ConditionError, match="known"):
        check_condition({"not": {"exists": "regoin"}}, fields=frozenset({"region"}))


def test_a_context_within_its_bounds_passes_and_beyond_them_is_named() -> None:
    check_context(CONTEXT)
    check_context({f"f{i}": i for i in range(64)} | {"f0": list(range(64))})
    bad: list[tuple[dict[str, Any], str]] = [
        ({f"f{i}": i for i in range(65)}, "context"),
        ({"a": list(range(65))}, "context.a"),
        ({"a": {"b": 1}}, "context.a"),
        ({"a": [[1]]}, "context.a[0]"),
        ({"a": 0.5}, "context.a"),
        ({"a": Decimal("NaN")}, "context.a"),
    ]
    for context, path in bad:
        with pytest.raises(ConditionError) as caught:
            check_context(context)
        assert caught.value.path == path


field_names = st.sampled_from(["a", "b", "c"])
values = st.text("xyé", max_size=3) | st.integers(-5, 5) | st.booleans() | st.sampled_from([Decimal("0.5"), Decimal(2)])
same_kind = st.lists(st.text("xy", max_size=2), min_size=1, max_size=3) | st.lists(
    st.integers(-5, 5), min_size=1, max_size=3
)
leaves = st.one_of(
    st.builds(lambda op, f, v: {op: [f, v]}, st.sampled_from(["eq", "ne"]), field_names, values),
    st.builds(lambda op, f, v: {op: [f, v]}, st.sampled_from(["in", "not_in"]), field_names, same_kind),
    st.builds(
        lambda op, f, v: {op: [f, v]}, st.sampled_from(["lt", "lte", "gt", "gte"]), field_names, st.integers(-5, 5)
    ),
    st.builds(lambda f: {"exists": f}, field_names),
)
trees = st.recursive(
    leaves,
    lambda part: (
        st.builds(lambda op, of: {op: of}, st.sampled_from(["all", "any"]), st.lists(part, min_size=1, max_size=3))
        | st.builds(lambda of: {"not": of}, part)
    ),
    max_leaves=6,
)
contexts = st.dictionaries(field_names, values | st.none() | st.lists(st.integers(-5, 5), max_size=2).map(tuple))


def depth(tree: dict[str, Any]) -> int:
    ((op, body),) = tree.items()
    parts = body if op in ("all", "any") else [body] if op == "not" else []
    return 1 + max(map(depth, parts), default=0)


def kind(value: object) -> str:
    if type(value) is bool:
        return "b"
    return "n" if isinstance(value, (int, Decimal)) else "s" if isinstance(value, str) else "l"


def truth(tree: dict[str, Any], context: dict[str, Any]) -> bool | None:
    """The oracle: three-valued logic over numbers, 1 for met, 0 for not, one half for undecided."""

    def score(node: dict[str, Any]) -> float:
        ((op, body),) = node.items()
        if op in ("all", "any"):
            return (min if op == "all" else max)(score(part) for part in body)
        if op == "not":
            return 1 - score(body)
        if op == "exists":
            return float(context.get(body) is not None)
        field, wanted = body
        got = context.get(field)
        listed = wanted if isinstance(wanted, list) else [wanted]
        mine = list(got) if isinstance(got, tuple) else [got]
        if got is None or any(kind(one) != kind(listed[0]) for one in mine):
            return 0.5
        if isinstance(got, tuple) and op not in ("in", "not_in"):
            return 0.5
        found: dict[str, bool] = {
            "eq": mine == listed,
            "ne": mine != listed,
            "in": bool(mine) and set(mine) <= set(listed),
            "not_in": not set(mine) & set(listed),
        }
        if op in found:
            return float(found[op])
        sign = (got > wanted) - (got < wanted)
        return float(sign in {"lt": (-1,), "lte": (-1, 0), "gt": (1,), "gte": (0, 1)}[op])

    return {1.0: True, 0.0: False}.get(score(tree))


@given(trees.filter(lambda tree: depth(tree) <= 8), contexts)
def test_evaluation_agrees_with_the_oracle_and_text_reads_back(tree: dict[str, Any], context: dict[str, Any]) -> None:
    condition = check_condition(tree)
    assert check_condition(condition_text(condition)) == condition
    expected = truth(tree, context)
    assert evaluate(condition, context)[0] is (expected is True)
    if depth(tree) < 8:
        assert evaluate(check_condition({"not": tree}), context)[0] is (expected is False)


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
