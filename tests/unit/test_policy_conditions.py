"""The conditions of verdicts: operators, bounds, and three-valued truth against an oracle."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.policy.conditions import ConditionError, check_condition, check_context, condition_text, evaluate

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
