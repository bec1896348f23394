"""Strict validation of the top-level fields of a chat completion: names, types, ranges, which field needs which."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from .openai_messages import InvalidError, check_messages, only_fields, require_type, required

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
Check = Callable[[Any, str], None]


def _number(low: float, high: float) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, (int, float), param, "a number")
        if not low <= value <= high:
            raise InvalidError(f"'{param}' must lie between {low:g} and {high:g}.", param, "decimal_out_of_range")

    return check


def _integer(low: int, high: int) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, int, param, "an integer")
        if not low <= value <= high:
            raise InvalidError(f"'{param}' must lie between {low} and {high}.", param, "integer_out_of_range")

    return check


def _kind(kind: type, wanted: str) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, kind, param, wanted)

    return check


def _one_of(*values: str) -> Check:
    def check(value: Any, param: str) -> None:
        require_type(value, str, param, "a string")
        if value not in values:
            raise InvalidError(f"'{param}' is none of {', '.join(values)}.", param)

    return check


def _stop(value: Any, param: str) -> None:
    stops = [value] if isinstance(value, str) else value
    require_type(stops, list, param, "a string or an array of strings")
    if not 1 <= len(stops) <= 4:
        raise InvalidError(f"'{param}' takes one to four sequences.", param, "array_above_max_length")
    for position, stop in enumerate(stops):
        require_type(stop, str, f"{param}[{position}]", "a string")
        if not stop:
            raise InvalidError(f"'{param}[{position}]' is empty.", f"{param}[{position}]")


def _metadata(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    if len(value) > 16:
        raise InvalidError(f"'{param}' takes at most 16 members.", param, "object_above_max_properties")
    for name, text in value.items():
        require_type(text, str, f"{param}.{name}", "a string")
        if len(name) > 64 or len(text) > 512:
            raise InvalidError(f"'{param}.{name}' is too long.", f"{param}.{name}", "string_above_max_length")


def _logit_bias(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    for token, bias in value.items():
        if not token.isdecimal():
            raise InvalidError(f"'{param}' has a key that is not a token number.", param)
        _number(-100, 100)(bias, f"{param}.{token}")


def _modalities(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    if not value or any(item not in ("text", "audio") for item in value):
        raise InvalidError(f"'{param}' takes 'text' and 'audio'.", param)


def _response_format(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    kind = required(value, "type", param)
    _one_of("text", "json_object", "json_schema")(kind, f"{param}.type")
    only_fields(value, {"type", "json_schema"} if kind == "json_schema" else {"type"}, param)
    if kind == "json_schema":
        where = f"{param}.json_schema"
        schema = required(value, "json_schema", param)
        require_type(schema, dict, where, "an object")
        only_fields(schema, {"name", "description", "schema", "strict"}, where)
        _tool_name(required(schema, "name", where), f"{where}.name")


def _stream_options(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    only_fields(value, {"include_usage", "include_obfuscation"}, param)
    for name, flag in value.items():
        require_type(flag, bool, f"{param}.{name}", "a boolean")


def _tool_name(value: Any, param: str) -> None:
    require_type(value, str, param, "a string")
    if not _NAME.fullmatch(value):
        raise InvalidError(f"'{param}' must be 1 to 64 letters, digits, '_' or '-'.", param)


def _function(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    only_fields(value, {"name", "description", "parameters", "strict"}, param)
    _tool_name(required(value, "name", param), f"{param}.name")
    if value.get("description") is not None:
        require_type(value["description"], str, f"{param}.description", "a string")
    if value.get("strict") is not None:
        require_type(value["strict"], bool, f"{param}.strict", "a boolean")
    parameters = value.get("parameters")
    if parameters is not None:
        require_type(parameters, dict, f"{param}.parameters", "an object")
        if parameters and parameters.get("type") != "object":
            where = f"{param}.parameters"
            raise InvalidError(f"'{where}' must be a schema of type 'object'.", where, "invalid_function_parameters")


def _tools(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    if not 1 <= len(value) <= 128:
        code = "array_above_max_length" if value else "empty_array"
        raise InvalidError(f"'{param}' takes 1 to 128 tools.", param, code)
    for position, tool in enumerate(value):
        where = f"{param}[{position}]"
        require_type(tool, dict, where, "an object")
        kind = required(tool, "type", where)
        _one_of("function", "custom")(kind, f"{where}.type")
        only_fields(tool, {"type", kind}, where)
        inner = required(tool, kind, where)
        if kind == "function":
            _function(inner, f"{where}.function")
        else:
            require_type(inner, dict, f"{where}.custom", "an object")
            only_fields(inner, {"name", "description", "format"}, f"{where}.custom")
            _tool_name(required(inner, "name", f"{where}.custom"), f"{where}.custom.name")


def _functions(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    for position, function in enumerate(value):
        _function(function, f"{param}[{position}]")


_OBJECT: Final = _kind(dict, "an object")
_STRING: Final = _kind(str, "a string")
_BOOLEAN: Final = _kind(bool, "a boolean")
_COUNT: Final = _integer(1, 2**31 - 1)


def _anything(value: Any, param: str) -> None:
    """For fields that are checked elsewhere, together with others."""


FIELDS: Final[Mapping[str, Check]] = {
    "messages": _anything,
    "model": _anything,
    "audio": _OBJECT,
    "frequency_penalty": _number(-2, 2),
    "function_call": _anything,
    "functions": _functions,
    "logit_bias": _logit_bias,
    "logprobs": _BOOLEAN,
    "max_completion_tokens": _COUNT,
    "max_tokens": _COUNT,
    "metadata": _metadata,
    "modalities": _modalities,
    "moderation": _OBJECT,
    "n": _integer(1, 128),
    "parallel_tool_calls": _BOOLEAN,
    "prediction": _OBJECT,
    "presence_penalty": _number(-2, 2),
    "prompt_cache_key": _STRING,
    "prompt_cache_options": _OBJECT,
    "prompt_cache_retention": _one_of("in_memory", "24h"),
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "response_format": _response_format,
    "safety_identifier": _STRING,
    "seed": _integer(-(2**63), 2**63 - 1),
    "service_tier": _one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "stop": _stop,
    "store": _BOOLEAN,
    "stream": _BOOLEAN,
    "stream_options": _stream_options,
    "temperature": _number(0, 2),
    "tool_choice": _anything,
    "tools": _tools,
    "top_logprobs": _integer(0, 20),
    "top_p": _number(0, 1),
    "user": _STRING,
    "verbosity": _one_of("low", "medium", "high"),
    "web_search_options": _OBJECT,
}


def _check_tool_choice(request: Mapping[str, Any]) -> None:
    choice = request.get("tool_choice")
    if choice is None:
        return
    tools = request.get("tools")
    if tools is None:
        raise InvalidError("'tool_choice' is allowed only beside 'tools'.", "tool_choice")
    if isinstance(choice, str):
        _one_of("none", "auto", "required")(choice, "tool_choice")
        return
    require_type(choice, dict, "tool_choice", "a string or an object")
    kind = required(choice, "type", "tool_choice")
    _one_of("function", "custom", "allowed_tools")(kind, "tool_choice.type")
    only_fields(choice, {"type", kind}, "tool_choice")
    inner = required(choice, kind, "tool_choice")
    require_type(inner, dict, f"tool_choice.{kind}", "an object")
    if kind == "allowed_tools":
        only_fields(inner, {"mode", "tools"}, "tool_choice.allowed_tools")
        mode = required(inner, "mode", "tool_choice.allowed_tools")
        _one_of("auto", "required")(mode, "tool_choice.allowed_tools.mode")
        return
    only_fields(inner, {"name"}, f"tool_choice.{kind}")
    name = required(inner, "name", f"tool_choice.{kind}")
    if not any(tool["type"] == kind and tool[kind]["name"] == name for tool in tools):
        raise InvalidError(f"'tool_choice.{kind}.name' names none of the tools.", f"tool_choice.{kind}.name")


def check_request(request: object, *, lenient: bool) -> Mapping[str, Any]:
    """The request itself when the provider would take it. Raises `InvalidError`. Lenient: unknown top-level fields pass."""
    require_type(request, dict, "body", "a JSON object")
    assert isinstance(request, dict)
    if not lenient:
        only_fields(request, set(FIELDS), "")
    model = required(request, "model", "")
    require_type(model, str, "model", "a string")
    if not model:
        raise InvalidError("'model' is empty.", "model", "missing_required_parameter")
    check_messages(required(request, "messages", ""))
    for name, value in request.items():
        if value is not None and name in FIELDS:
            FIELDS[name](value, name)
    if request.get("max_tokens") is not None and request.get("max_completion_tokens") is not None:
        message = "'max_tokens' and 'max_completion_tokens' exclude each other."
        raise InvalidError(message, "max_tokens", "invalid_parameter_combination")
    if request.get("stream_options") is not None and not request.get("stream"):
        raise InvalidError("'stream_options' is allowed only with 'stream': true.", "stream_options")
    if request.get("parallel_tool_calls") is not None and request.get("tools") is None:
        raise InvalidError("'parallel_tool_calls' is allowed only beside 'tools'.", "parallel_tool_calls")
    if request.get("top_logprobs") is not None and not request.get("logprobs"):
        raise InvalidError("'top_logprobs' is allowed only with 'logprobs': true.", "top_logprobs")
    _check_tool_choice(request)
    return request
