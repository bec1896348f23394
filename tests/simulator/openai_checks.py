"""Checks of single members that OpenAI's interfaces share. Each refuses a value that the provider would refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from .dialect import RefusedError
from .openai_messages import only_fields, require_type, required

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
Check = Callable[[Any, str], None]


def number(low: float, high: float) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, (int, float), param, "a number")
        if not low <= value <= high:
            raise RefusedError(f"'{param}' must lie between {low:g} and {high:g}.", param, "decimal_out_of_range")

    return check


def integer(low: int, high: int) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, int, param, "an integer")
        if not low <= value <= high:
            raise RefusedError(f"'{param}' must lie between {low} and {high}.", param, "integer_out_of_range")

    return check


def of_kind(kind: type, wanted: str) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, kind, param, wanted)

    return check


def one_of(*values: str) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, str, param, "a string")
        if value not in values:
            raise RefusedError(f"'{param}' is none of {', '.join(values)}.", param)

    return check


def metadata(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    if len(value) > 16:
        raise RefusedError(f"'{param}' takes at most 16 members.", param, "object_above_max_properties")
    for name, text in value.items():
        require_type(text, str, f"{param}.{name}", "a string")
        if len(name) > 64 or len(text) > 512:
            raise RefusedError(f"'{param}.{name}' is too long.", f"{param}.{name}", "string_above_max_length")


def response_format(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    kind = required(value, "type", param)
    one_of("text", "json_object", "json_schema")(kind, f"{param}.type")
    only_fields(value, {"type", "json_schema"} if kind == "json_schema" else {"type"}, param)
    if kind == "json_schema":
        where = f"{param}.json_schema"
        schema = required(value, "json_schema", param)
        require_type(schema, dict, where, "an object")
        only_fields(schema, {"name", "description", "schema", "strict"}, where)
        tool_name(required(schema, "name", where), f"{where}.name")


def tool_name(value: Any, param: str) -> None:
    require_type(value, str, param, "a string")
    if not _NAME.fullmatch(value):
        raise RefusedError(f"'{param}' must be 1 to 64 letters, digits, '_' or '-'.", param)


def function(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    only_fields(value, {"name", "description", "parameters", "strict"}, param)
    tool_name(required(value, "name", param), f"{param}.name")
    if value.get("description") is not None:
        require_type(value["description"], str, f"{param}.description", "a string")
    if value.get("strict") is not None:
        require_type(value["strict"], bool, f"{param}.strict", "a boolean")
    parameters = value.get("parameters")
    if parameters is not None:
        require_type(parameters, dict, f"{param}.parameters", "an object")
        if parameters and parameters.get("type") != "object":
            where = f"{param}.parameters"
            raise RefusedError(f"'{where}' must be a schema of type 'object'.", where, "invalid_function_parameters")


OBJECT: Final = of_kind(dict, "an object")
STRING: Final = of_kind(str, "a string")
BOOLEAN: Final = of_kind(bool, "a boolean")
COUNT: Final = integer(1, 2**31 - 1)
