"""Strict validation of the top-level fields of a chat completion: names, types, ranges, which field needs which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .dialect import RefusedError
from .openai_checks import (
    BOOLEAN,
    COUNT,
    OBJECT,
    STRING,
    Check,
    function,
    integer,
    metadata,
    number,
    one_of,
    response_format,
    tool_name,
)
from .openai_messages import check_messages, only_fields, require_type, required


def _stop(value: Any, param: str) -> None:
    stops = [value] if isinstance(value, str) else value
    require_type(stops, list, param, "a string or an array of strings")
    if not 1 <= len(stops) <= 4:
        raise RefusedError(f"'{param}' takes one to four sequences.", param, "array_above_max_length")
    for position, stop in enumerate(stops):
        require_type(stop, str, f"{param}[{position}]", "a string")
        if not stop:
            raise RefusedError(f"'{param}[{position}]' is empty.", f"{param}[{position}]")


def _logit_bias(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    for token, bias in value.items():
        if not token.isdecimal():
            raise RefusedError(f"'{param}' has a key that is not a token number.", param)
        number(-100, 100)(bias, f"{param}.{token}")


def _modalities(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    if not value or any(item not in ("text", "audio") for item in value):
        raise RefusedError(f"'{param}' takes 'text' and 'audio'.", param)


def _stream_options(value: Any, param: str) -> None:
    require_type(value, dict, param, "an object")
    only_fields(value, {"include_usage", "include_obfuscation"}, param)
    for name, flag in value.items():
        require_type(flag, bool, f"{param}.{name}", "a boolean")


def _tools(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    if not 1 <= len(value) <= 128:
        code = "array_above_max_length" if value else "empty_array"
        raise RefusedError(f"'{param}' takes 1 to 128 tools.", param, code)
    for position, tool in enumerate(value):
        where = f"{param}[{position}]"
        require_type(tool, dict, where, "an object")
        kind = required(tool, "type", where)
        one_of("function", "custom")(kind, f"{where}.type")
        only_fields(tool, {"type", kind}, where)
        inner = required(tool, kind, where)
        if kind == "function":
            function(inner, f"{where}.function")
        else:
            require_type(inner, dict, f"{where}.custom", "an object")
            only_fields(inner, {"name", "description", "format"}, f"{where}.custom")
            tool_name(required(inner, "name", f"{where}.custom"), f"{where}.custom.name")


def _functions(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    for position, item in enumerate(value):
        function(item, f"{param}[{position}]")


def _anything(value: Any, param: str) -> None:
    """For fields that are checked elsewhere, together with others."""


FIELDS: Final[Mapping[str, Check]] = {
    "messages": _anything,
    "model": _anything,
    "audio": OBJECT,
    "frequency_penalty": number(-2, 2),
    "function_call": _anything,
    "functions": _functions,
    "logit_bias": _logit_bias,
    "logprobs": BOOLEAN,
    "max_completion_tokens": COUNT,
    "max_tokens": COUNT,
    "metadata": metadata,
    "modalities": _modalities,
    "moderation": OBJECT,
    "n": integer(1, 128),
    "parallel_tool_calls": BOOLEAN,
    "prediction": OBJECT,
    "presence_penalty": number(-2, 2),
    "prompt_cache_key": STRING,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": one_of("in_memory", "24h"),
    "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "response_format": response_format,
    "safety_identifier": STRING,
    "seed": integer(-(2**63), 2**63 - 1),
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "stop": _stop,
    "store": BOOLEAN,
    "stream": BOOLEAN,
    "stream_options": _stream_options,
    "temperature": number(0, 2),
    "tool_choice": _anything,
    "tools": _tools,
    "top_logprobs": integer(0, 20),
    "top_p": number(0, 1),
    "user": STRING,
    "verbosity": one_of("low", "medium", "high"),
    "web_search_options": OBJECT,
}


def _check_tool_choice(request: Mapping[str, Any]) -> None:
    choice = request.get("tool_choice")
    if choice is None:
        return
    tools = request.get("tools")
    if tools is None:
        raise RefusedError("'tool_choice' is allowed only beside 'tools'.", "tool_choice")
    if isinstance(choice, str):
        one_of("none", "auto", "required")(choice, "tool_choice")
        return
    require_type(choice, dict, "tool_choice", "a string or an object")
    kind = required(choice, "type", "tool_choice")
    one_of("function", "custom", "allowed_tools")(kind, "tool_choice.type")
    only_fields(choice, {"type", kind}, "tool_choice")
    inner = required(choice, kind, "tool_choice")
    require_type(inner, dict, f"tool_choice.{kind}", "an object")
    if kind == "allowed_tools":
        only_fields(inner, {"mode", "tools"}, "tool_choice.allowed_tools")
        mode = required(inner, "mode", "tool_choice.allowed_tools")
        one_of("auto", "required")(mode, "tool_choice.allowed_tools.mode")
        return
    only_fields(inner, {"name"}, f"tool_choice.{kind}")
    name = required(inner, "name", f"tool_choice.{kind}")
    if not any(tool["type"] == kind and tool[kind]["name"] == name for tool in tools):
        raise RefusedError(f"'tool_choice.{kind}.name' names none of the tools.", f"tool_choice.{kind}.name")


def check_request(request: object, *, lenient: bool) -> Mapping[str, Any]:
    """The request itself when the provider would take it. Raises `RefusedError`. Lenient: unknown top-level fields pass."""
    require_type(request, dict, "body", "a JSON object")
    assert isinstance(request, dict)
    if not lenient:
        only_fields(request, set(FIELDS), "")
    model = required(request, "model", "")
    require_type(model, str, "model", "a string")
    if not model:
        raise RefusedError("'model' is empty.", "model", "missing_required_parameter")
    check_messages(required(request, "messages", ""))
    for name, value in request.items():
        if value is not None and name in FIELDS:
            FIELDS[name](value, name)
    if request.get("max_tokens") is not None and request.get("max_completion_tokens") is not None:
        message = "'max_tokens' and 'max_completion_tokens' exclude each other."
        raise RefusedError(message, "max_tokens", "invalid_parameter_combination")
    if request.get("stream_options") is not None and not request.get("stream"):
        raise RefusedError("'stream_options' is allowed only with 'stream': true.", "stream_options")
    if request.get("parallel_tool_calls") is not None and request.get("tools") is None:
        raise RefusedError("'parallel_tool_calls' is allowed only beside 'tools'.", "parallel_tool_calls")
    if request.get("top_logprobs") is not None and not request.get("logprobs"):
        raise RefusedError("'top_logprobs' is allowed only with 'logprobs': true.", "top_logprobs")
    _check_tool_choice(request)
    return request
