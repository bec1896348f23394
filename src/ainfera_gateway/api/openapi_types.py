"""JSON schemas of msgspec types, inline. msgspec's own generator stops at a field whose default is raw JSON."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

_PLAIN: dict[type[inspect.Type], dict[str, Any]] = {
    inspect.StrType: {"type": "string"},
    inspect.IntType: {"type": "integer"},
    inspect.FloatType: {"type": "number"},
    inspect.DecimalType: {"anyOf": [{"type": "number"}, {"type": "string"}]},
    inspect.BoolType: {"type": "boolean"},
    inspect.NoneType: {"type": "null"},
    inspect.RawType: {},
    inspect.AnyType: {},
}
_BOUNDS = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}


def schema_of(struct: type) -> dict[str, Any]:
    """The schema of what a JSON decoder of ``struct`` takes. The types must not refer to themselves."""
    return _schema(inspect.type_info(struct))


def _schema(kind: inspect.Type) -> dict[str, Any]:
    if isinstance(kind, inspect.Metadata):
        return _schema(kind.type)
    if isinstance(kind, inspect.StructType):
        return _object(kind)
    if isinstance(kind, inspect.UnionType):
        return {"anyOf": [_schema(member) for member in kind.types]}
    if isinstance(kind, inspect.LiteralType):
        return {"enum": list(kind.values)}
    if isinstance(kind, inspect.VarTupleType | inspect.ListType | inspect.FrozenSetType | inspect.SetType):
        items = {"minItems": kind.min_length} if kind.min_length is not None else {}
        return {"type": "array", "items": _schema(kind.item_type), **items}
    if isinstance(kind, inspect.DictType):
        return {"type": "object", "additionalProperties": _schema(kind.value_type)}
    bounds = {name: getattr(kind, bound, None) for bound, name in _BOUNDS.items()}
    return _PLAIN[type(kind)] | {name: value for name, value in bounds.items() if value is not None}


def _object(kind: inspect.StructType) -> dict[str, Any]:
    required = [field.encode_name for field in kind.fields if field.required]
    made: dict[str, Any] = {
        "type": "object",
        "properties": {field.encode_name: _schema(field.type) for field in kind.fields},
    }
    if required:
        made["required"] = required
    if kind.forbid_unknown_fields:
        made["additionalProperties"] = False
    return made
