"""Strict validation of the `messages` of a chat completion: roles, content forms, tool results that answer calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .dialect import RefusedError

MESSAGE_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "developer": frozenset({"role", "content", "name"}),
    "system": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "audio", "tool_calls", "function_call"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
    "function": frozenset({"role", "content", "name"}),
}
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "developer": frozenset({"text"}),
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": frozenset({"text"}),
}


def require_type(value: object, kinds: type | tuple[type, ...], param: str, wanted: str) -> None:
    """Raises `RefusedError` unless value is of the kinds; a boolean never passes for a number."""
    wrong_bool = isinstance(value, bool) and kinds is not bool
    if wrong_bool or not isinstance(value, kinds):
        raise RefusedError(f"'{param}' must be {wanted}, not {json_type(value)}.", param, "invalid_type")


def json_type(value: object) -> str:
    """The name of a decoded value's JSON type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def only_fields(value: Mapping[str, Any], known: frozenset[str] | set[str], param: str) -> None:
    """Raises `RefusedError` for the first member that is not known."""
    for name in value:
        if name not in known:
            where = f"{param}.{name}" if param else name
            raise RefusedError(f"The parameter '{where}' is not known.", where, "unknown_parameter")


def required(value: Mapping[str, Any], name: str, param: str) -> Any:
    """The member's value; raises `RefusedError` when it is absent."""
    if name not in value:
        where = f"{param}.{name}" if param else name
        raise RefusedError(f"The parameter '{where}' is required.", where, "missing_required_parameter")
    return value[name]


def check_messages(messages: object) -> None:
    """Raises `RefusedError` unless the conversation is one the provider takes."""
    require_type(messages, list, "messages", "an array")
    assert isinstance(messages, list)
    if not messages:
        raise RefusedError("'messages' needs at least one message.", "messages", "empty_array")
    unanswered: set[str] = set()
    answerable: set[str] = set()
    for position, message in enumerate(messages):
        param = f"messages[{position}]"
        require_type(message, dict, param, "an object")
        role = required(message, "role", param)
        if not isinstance(role, str) or role not in MESSAGE_FIELDS:
            raise RefusedError(f"'{param}.role' is none of {', '.join(sorted(MESSAGE_FIELDS))}.", f"{param}.role")
        only_fields(message, MESSAGE_FIELDS[role], param)
        if "name" in message:
            require_type(message["name"], str, f"{param}.name", "a string")
        if role == "tool":
            _check_tool_result(message, param, answerable)
            unanswered.discard(message["tool_call_id"])
            continue
        if unanswered:
            raise RefusedError(
                f"Before '{param}' the results of these tool calls are missing: {', '.join(sorted(unanswered))}.", param
            )
        if role == "assistant":
            unanswered = _check_assistant(message, param)
            answerable = set(unanswered)
        else:
            answerable = set()
            content = required(message, "content", param)
            if role == "function":
                required(message, "name", param)
                require_type(content, (str, type(None)), f"{param}.content", "a string")
            else:
                _check_content(content, role, f"{param}.content")
    if unanswered:
        raise RefusedError(f"These tool calls have no tool message: {', '.join(sorted(unanswered))}.", "messages")


def _check_tool_result(message: Mapping[str, Any], param: str, answerable: set[str]) -> None:
    call_id = required(message, "tool_call_id", param)
    require_type(call_id, str, f"{param}.tool_call_id", "a string")
    if len(call_id) > 40:
        where = f"{param}.tool_call_id"
        raise RefusedError(f"'{where}' is longer than 40 characters.", where, "string_above_max_length")
    if call_id not in answerable:
        raise RefusedError(f"'{param}' has the role 'tool' but answers no tool call before it.", f"{param}.role")
    _check_content(required(message, "content", param), "tool", f"{param}.content")


def _check_assistant(message: Mapping[str, Any], param: str) -> set[str]:
    """Returns the ids of the tool calls that now wait for their results."""
    content = message.get("content")
    calls = message.get("tool_calls")
    if content is None and calls is None and not any(message.get(k) for k in ("function_call", "refusal", "audio")):
        raise RefusedError(f"'{param}.content' may be absent only beside tool calls.", f"{param}.content")
    if content is not None:
        _check_content(content, "assistant", f"{param}.content")
    if message.get("refusal") is not None:
        require_type(message["refusal"], str, f"{param}.refusal", "a string")
    if calls is None:
        return set()
    require_type(calls, list, f"{param}.tool_calls", "an array")
    if not calls:
        raise RefusedError(f"'{param}.tool_calls' is empty.", f"{param}.tool_calls", "empty_array")
    ids: set[str] = set()
    for position, call in enumerate(calls):
        ids.add(_check_tool_call(call, f"{param}.tool_calls[{position}]"))
    if len(ids) != len(calls):
        raise RefusedError(f"Two of '{param}.tool_calls' have the same id.", f"{param}.tool_calls")
    return ids


def _check_tool_call(call: object, param: str) -> str:
    require_type(call, dict, param, "an object")
    assert isinstance(call, dict)
    call_id = required(call, "id", param)
    require_type(call_id, str, f"{param}.id", "a string")
    if not 1 <= len(call_id) <= 40:
        raise RefusedError(f"'{param}.id' must have 1 to 40 characters.", f"{param}.id", "string_above_max_length")
    kind = required(call, "type", param)
    if kind not in ("function", "custom"):
        raise RefusedError(f"'{param}.type' is neither 'function' nor 'custom'.", f"{param}.type")
    only_fields(call, {"id", "type", kind}, param)
    inner = required(call, kind, param)
    require_type(inner, dict, f"{param}.{kind}", "an object")
    text = "arguments" if kind == "function" else "input"
    only_fields(inner, {"name", text}, f"{param}.{kind}")
    for name in ("name", text):
        require_type(required(inner, name, f"{param}.{kind}"), str, f"{param}.{kind}.{name}", "a string")
    return str(call_id)


def _check_content(content: object, role: str, param: str) -> None:
    if isinstance(content, str):
        return
    require_type(content, list, param, "a string or an array of parts")
    assert isinstance(content, list)
    if not content:
        raise RefusedError(f"'{param}' has no parts.", param, "empty_array")
    for position, part in enumerate(content):
        _check_part(part, role, f"{param}[{position}]")


def _check_part(part: object, role: str, param: str) -> None:
    require_type(part, dict, param, "an object")
    assert isinstance(part, dict)
    kind = required(part, "type", param)
    if kind not in _PARTS[role]:
        known = ", ".join(sorted(_PARTS[role]))
        raise RefusedError(f"'{param}.type' is none of {known} in a {role} message.", f"{param}.type")
    only_fields(part, {"type", kind, "prompt_cache_breakpoint"}, param)
    inner = required(part, kind, param)
    where = f"{param}.{kind}"
    if kind in ("text", "refusal"):
        require_type(inner, str, where, "a string")
        return
    require_type(inner, dict, where, "an object")
    if kind == "image_url":
        only_fields(inner, {"url", "detail"}, where)
        url = required(inner, "url", where)
        require_type(url, str, f"{where}.url", "a string")
        if not url.startswith(("http://", "https://", "data:image/")):
            raise RefusedError(
                f"'{where}.url' is neither a web address nor a data URL.", f"{where}.url", "invalid_image_url"
            )
        if inner.get("detail", "auto") not in ("auto", "low", "high", "original"):
            raise RefusedError(f"'{where}.detail' is none of auto, low, high, original.", f"{where}.detail")
    elif kind == "input_audio":
        only_fields(inner, {"data", "format"}, where)
        require_type(required(inner, "data", where), str, f"{where}.data", "a string")
        if required(inner, "format", where) not in ("wav", "mp3"):
            raise RefusedError(f"'{where}.format' is neither wav nor mp3.", f"{where}.format")
    else:
        only_fields(inner, {"file_data", "file_id", "filename"}, where)
        if not inner.get("file_data") and not inner.get("file_id"):
            raise RefusedError(f"'{where}' needs file_data or file_id.", where, "missing_required_parameter")
