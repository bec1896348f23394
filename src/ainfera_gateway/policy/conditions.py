"""Conditions of verdicts: a closed set of operators over the fields of a request's ``context``.

A condition is a JSON object with one member, the operator:

- ``{"eq": [field, value]}``, ``ne``: text, number or boolean;
- ``{"lt": [field, number]}``, ``lte``, ``gt``, ``gte``: numbers only;
- ``{"in": [field, [values]]}``, ``not_in``: a list of one kind;
- ``{"exists": field}``;
- ``{"all": [conditions]}``, ``{"any": [conditions]}``, ``{"not": condition}``.

A missing field or a wrong type leaves a comparison undecided, and what is undecided is not met: ``not`` does not turn
it into a pass, because silence about a field must never open a brand. A null counts as missing; a boolean is no number.
``in`` over a list in the context wants every element listed (and at least one), ``not_in`` wants none of them listed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, cast

from msgspec import Struct

CONDITION_BYTES_MAX = 1024
CONDITION_DEPTH_MAX = 8
CONTEXT_FIELDS_MAX = 64
LIST_ITEMS_MAX = 64
FIELD_CHARS_MAX = 64
NUMBER_DIGITS_MAX = 30

Scalar = str | int | Decimal | bool
Op = Literal["eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "exists", "all", "any", "not"]

_EQUALITY: Final = frozenset({"eq", "ne"})
_MEMBERSHIP: Final = frozenset({"in", "not_in"})
_ORDER: Final = frozenset({"lt", "lte", "gt", "gte"})
_JUNCTION: Final = frozenset({"all", "any"})
OPERATORS: Final = _EQUALITY | _MEMBERSHIP | _ORDER | _JUNCTION | {"exists", "not"}


class ConditionError(ValueError):
    """A condition or a context that is refused. ``path`` names the place, for example ``$.all[1].eq[0]``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class Condition(Struct, frozen=True):
    """A checked condition. Comparisons use ``field`` and ``value``, junctions use ``of``."""

    op: Op
    field: str = ""
    value: Scalar | tuple[Scalar, ...] | None = None
    of: tuple[Condition, ...] = ()


class _Finding(Struct, frozen=True):
    met: bool | None  # None: undecided, which counts as not met
    reason: str


def check_condition(raw: str | bytes | Mapping[str, Any], *, fields: frozenset[str] | None = None) -> Condition:
    """Read and check a condition, as JSON text or as a parsed object.

    ``fields`` limits it to known context fields. Raises ``ConditionError`` naming the path.
    """
    text = raw if isinstance(raw, (str, bytes)) else _dump(raw)
    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    if size > CONDITION_BYTES_MAX:
        raise ConditionError("$", f"{size} bytes, at most {CONDITION_BYTES_MAX}")
    return _check(_load(text), "$", 1, fields)


def condition_text(condition: Condition) -> str:
    """The compact JSON text that is stored; ``check_condition`` reads it back to an equal value."""
    return _dump(_plain(condition))


def check_context(context: Mapping[str, Any]) -> None:
    """Refuse a context beyond its limits or with a value that is neither scalar nor a list of scalars.

    Raises ``ConditionError`` naming the field.
    """
    if len(context) > CONTEXT_FIELDS_MAX:
        raise ConditionError("context", f"{len(context)} fields, at most {CONTEXT_FIELDS_MAX}")
    for field, value in context.items():
        path = f"context.{field}"
        if isinstance(value, (list, tuple)):
            if len(value) > LIST_ITEMS_MAX:
                raise ConditionError(path, f"{len(value)} items, at most {LIST_ITEMS_MAX}")
            for index, item in enumerate(value):
                _context_scalar(item, f"{path}[{index}]")
        else:
            _context_scalar(value, path)


def evaluate(condition: Condition, context: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the condition holds for the context, and the reason; reasons name fields, never the caller's values."""
    finding = _evaluate(condition, context)
    return finding.met is True, finding.reason


def _context_scalar(value: object, path: str) -> None:
    if value is None or isinstance(value, (str, bool, int)):
        return
    if isinstance(value, Decimal) and value.is_finite():
        return
    raise ConditionError(path, "text, a finite number, a boolean, null, or a list of these")


# -- reading ---------------------------------------------------------------------------------------------------------


def _dump(value: object) -> str:
    """Compact JSON; a Decimal is written as the number it stands for."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(k), ensure_ascii=False)}:{_dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_dump(item) for item in value) + "]"
    if isinstance(value, Decimal):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as exc:
        raise ConditionError("$", f"{type(value).__name__} is no JSON value") from exc


def _load(text: str | bytes) -> object:
    def constant(name: str) -> object:
        raise ConditionError("$", f"{name} is not a number of JSON")

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(items)) != len(items):
            raise ConditionError("$", "a member stands twice")
        return dict(items)

    try:
        return json.loads(text, parse_float=Decimal, parse_constant=constant, object_pairs_hook=pairs)
    except RecursionError as exc:
        raise ConditionError("$", f"more than {CONDITION_DEPTH_MAX} levels deep") from exc
    except InvalidOperation as exc:
        raise ConditionError("$", "a number out of range") from exc
    except ConditionError:
        raise
    except ValueError as exc:
        raise ConditionError("$", "not JSON") from exc


def _check(node: object, path: str, depth: int, fields: frozenset[str] | None) -> Condition:
    if depth > CONDITION_DEPTH_MAX:
        raise ConditionError(path, f"more than {CONDITION_DEPTH_MAX} levels deep")
    if not isinstance(node, dict) or len(node) != 1:
        raise ConditionError(path, "a condition is an object with one member, its operator")
    op, body = next(iter(node.items()))
    if op not in OPERATORS:
        raise ConditionError(path, f"unknown operator; one of {', '.join(sorted(OPERATORS))}")
    here = f"{path}.{op}"
    known = cast("Op", op)
    if op in _JUNCTION:
        if not isinstance(body, list) or not body:
            raise ConditionError(here, "a list of at least one condition")
        return Condition(known, of=tuple(_check(n, f"{here}[{i}]", depth + 1, fields) for i, n in enumerate(body)))
    if op == "not":
        return Condition(known, of=(_check(body, here, depth + 1, fields),))
    if op == "exists":
        return Condition(known, field=_field(body, here, fields))
    if not isinstance(body, list) or len(body) != 2:
        raise ConditionError(here, "a list of two: the field and the value")
    return Condition(known, field=_field(body[0], f"{here}[0]", fields), value=_value(op, body[1], f"{here}[1]"))


def _field(raw: object, path: str, fields: frozenset[str] | None) -> str:
    if not isinstance(raw, str) or not 0 < len(raw) <= FIELD_CHARS_MAX or not raw.isprintable():
        raise ConditionError(path, f"the name of a context field, 1 to {FIELD_CHARS_MAX} printable characters")
    if fields is not None and raw not in fields:
        raise ConditionError(path, "not a known context field")
    return raw


def _value(op: str, raw: object, path: str) -> Scalar | tuple[Scalar, ...]:
    if op in _MEMBERSHIP:
        if not isinstance(raw, list) or not 0 < len(raw) <= LIST_ITEMS_MAX:
            raise ConditionError(path, f"a list of 1 to {LIST_ITEMS_MAX} values")
        values = tuple(_scalar(item, f"{path}[{index}]") for index, item in enumerate(raw))
        if len({_kind(item) for item in values}) != 1:
            raise ConditionError(path, "values of one kind: all text, all numbers or all booleans")
        return values
    value = _scalar(raw, path)
    if op in _ORDER and _kind(value) != "number":
        raise ConditionError(path, "a number")
    return value


def _scalar(raw: object, path: str) -> Scalar:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        if "\0" in raw or any("\ud800" <= char <= "\udfff" for char in raw):
            raise ConditionError(path, "text with NUL or a lone surrogate cannot be stored")
        return raw
    if isinstance(raw, (int, Decimal)):
        number = Decimal(raw)
        if not number.is_finite() or abs(number.adjusted()) > NUMBER_DIGITS_MAX:
            raise ConditionError(path, "a number out of range")
        return raw
    raise ConditionError(path, "text, a number or a boolean")


def _plain(condition: Condition) -> dict[str, object]:
    if condition.op == "not":
        return {"not": _plain(condition.of[0])}
    if condition.op in _JUNCTION:
        return {condition.op: [_plain(part) for part in condition.of]}
    if condition.op == "exists":
        return {"exists": condition.field}
    return {condition.op: [condition.field, condition.value]}


# -- judging ---------------------------------------------------------------------------------------------------------


def _kind(value: object) -> str:
    """The kind of a value; ``bool`` comes first because Python counts it among the integers."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, Decimal)):
        return "number"
    return "text" if isinstance(value, str) else "list"


def _evaluate(condition: Condition, context: Mapping[str, Any]) -> _Finding:
    op = condition.op
    if op == "all":
        return _all(condition, context)
    if op == "any":
        return _any(condition, context)
    if op == "not":
        inner = _evaluate(condition.of[0], context)
        if inner.met is None:
            return inner
        return _Finding(not inner.met, f"not: {inner.reason}")
    value = context.get(condition.field)
    if op == "exists":
        return _Finding(value is not None, f"{condition.field} is {'missing' if value is None else 'present'}")
    if value is None:
        return _Finding(None, f"{condition.field} is missing")
    return _compare(condition, value)


def _all(condition: Condition, context: Mapping[str, Any]) -> _Finding:
    undecided: _Finding | None = None
    for part in condition.of:
        finding = _evaluate(part, context)
        if finding.met is False:
            return finding
        if finding.met is None and undecided is None:
            undecided = finding
    return undecided or _Finding(True, "all of its parts hold")


def _any(condition: Condition, context: Mapping[str, Any]) -> _Finding:
    findings = []
    for part in condition.of:
        finding = _evaluate(part, context)
        if finding.met:
            return finding
        findings.append(finding)
    met = None if any(finding.met is None for finding in findings) else False
    return _Finding(met, "none holds: " + "; ".join(finding.reason for finding in findings))


_ORDERINGS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
}


def _compare(condition: Condition, value: object) -> _Finding:
    op, field = condition.op, condition.field
    wanted = condition.value
    items = value if isinstance(value, (list, tuple)) else (value,)
    if items is value and op not in _MEMBERSHIP:
        return _Finding(None, f"{field} is a list, {op} needs a single value")
    need = _kind(wanted[0] if isinstance(wanted, tuple) else wanted)
    for item in items:
        kind = "null" if item is None else _kind(item)
        if kind != need or (isinstance(item, Decimal) and not item.is_finite()):
            return _Finding(None, f"{field} is {kind}, {need} is needed")
    if op in _MEMBERSHIP and isinstance(wanted, tuple):
        listed = [item in wanted for item in items]
        met = bool(listed) and all(listed) if op == "in" else not any(listed)
    elif op in _EQUALITY:
        met = (value == wanted) is (op == "eq")
    else:
        met = _ORDERINGS[op](value, wanted)
    return _Finding(met, f"{field} {op} {'holds' if met else 'does not hold'}")
