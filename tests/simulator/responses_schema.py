"""Strict validation of a request to OpenAI's Responses: fields, input items, tools."""

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
    tool_name,
)
from .openai_messages import only_fields, require_type, required
from .signatures import is_envelope

MAKER: Final = "openai"
WITHOUT_TOOLS: Final = "gpt-5.5-pro"
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "input_text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "input_image": frozenset({"type", "image_url", "file_id", "detail", "prompt_cache_breakpoint"}),
    "input_file": frozenset(
        {"type", "file_data", "file_id", "file_url", "filename", "detail", "prompt_cache_breakpoint"}
    ),
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
}
_SAID: Final = frozenset({"output_text", "refusal"})
_ITEMS: Final[Mapping[str, frozenset[str]]] = {
    "message": frozenset({"type", "role", "content", "id", "status", "phase"}),
    "function_call": frozenset(
        {"type", "call_id", "name", "arguments", "id", "status", "namespace", "caller", "async"}
    ),
    "function_call_output": frozenset({"type", "call_id", "output", "id", "status", "name", "namespace", "caller"}),
    "custom_tool_call": frozenset({"type", "call_id", "name", "input", "id", "status", "namespace", "caller"}),
    "custom_tool_call_output": frozenset({"type", "call_id", "output", "id", "status", "name", "caller"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
    "item_reference": frozenset({"type", "id"}),
}
# Items of tools that the provider runs itself, and the like: taken unread.
_UNREAD: Final = frozenset(
    {
        "file_search_call", "web_search_call", "computer_call", "computer_call_output", "image_generation_call",
        "code_interpreter_call", "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output",
        "apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request",
        "mcp_approval_response", "mcp_call", "tool_search_call", "tool_search_output", "additional_tools",
        "compaction", "compaction_trigger", "program", "program_output",
    }
)  # fmt: skip


def _reasoning(value: Any, param: str) -> None:
    OBJECT(value, param)
    only_fields(value, {"effort", "summary", "generate_summary", "context", "mode"}, param)
    if value.get("effort") is not None:
        one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")(value["effort"], f"{param}.effort")
    if value.get("summary") is not None:
        one_of("auto", "concise", "detailed")(value["summary"], f"{param}.summary")


def _text(value: Any, param: str) -> None:
    OBJECT(value, param)
    only_fields(value, {"format", "verbosity"}, param)
    form = value.get("format")
    if form is None:
        return
    where = f"{param}.format"
    OBJECT(form, where)
    kind = required(form, "type", where)
    one_of("text", "json_object", "json_schema")(kind, f"{where}.type")
    if kind == "json_schema":
        only_fields(form, {"type", "name", "description", "schema", "strict"}, where)
        tool_name(required(form, "name", where), f"{where}.name")
        OBJECT(required(form, "schema", where), f"{where}.schema")
    else:
        only_fields(form, {"type"}, where)


def _tools(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    for position, tool in enumerate(value):
        where = f"{param}[{position}]"
        OBJECT(tool, where)
        kind = required(tool, "type", where)
        STRING(kind, f"{where}.type")
        if kind == "function":
            only_fields(tool, _FUNCTION_TOOL, where)
            required(tool, "name", where)
            function({name: tool[name] for name in tool if name in _FUNCTION}, where)
        elif kind == "custom":
            tool_name(required(tool, "name", where), f"{where}.name")


_FUNCTION: Final = frozenset({"name", "description", "parameters", "strict"})
_FUNCTION_TOOL: Final = _FUNCTION | {"type", "defer_loading", "allowed_callers", "async", "output_schema"}


def _include(value: Any, param: str) -> None:
    require_type(value, list, param, "an array")
    for position, item in enumerate(value):
        STRING(item, f"{param}[{position}]")


def _stream_options(value: Any, param: str) -> None:
    OBJECT(value, param)
    only_fields(value, {"include_obfuscation"}, param)


def _anything(value: Any, param: str) -> None:
    """For fields that are checked elsewhere, or that only the provider reads."""


_FIELDS: Final[Mapping[str, Check]] = {
    "model": _anything, "input": _anything, "tool_choice": _anything, "conversation": _anything,
    "context_management": _anything, "instructions": STRING, "max_output_tokens": integer(16, 2**31 - 1),
    "max_tool_calls": COUNT, "tools": _tools, "reasoning": _reasoning, "text": _text, "temperature": number(0, 2),
    "top_p": number(0, 1), "metadata": metadata, "store": BOOLEAN, "stream": BOOLEAN, "background": BOOLEAN,
    "parallel_tool_calls": BOOLEAN, "include": _include, "stream_options": _stream_options, "user": STRING,
    "previous_response_id": STRING, "prompt_cache_key": STRING, "safety_identifier": STRING, "prompt": OBJECT,
    "prompt_cache_options": OBJECT, "moderation": OBJECT, "image": OBJECT, "access_programs": OBJECT,
    "background_options": OBJECT, "client_metadata": OBJECT, "top_logprobs": integer(0, 20),
    "prompt_cache_retention": one_of("in_memory", "24h"), "truncation": one_of("auto", "disabled"),
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast"),
}  # fmt: skip


def check_request(request: object) -> Mapping[str, Any]:
    """The request itself when the provider would take it. Raises `RefusedError`."""
    require_type(request, dict, "body", "a JSON object")
    assert isinstance(request, dict)
    only_fields(request, set(_FIELDS), "")
    model = required(request, "model", "")
    STRING(model, "model")
    for name, value in request.items():
        if value is not None:
            _FIELDS[name](value, name)
    if model.startswith(WITHOUT_TOOLS) and request.get("tools"):
        raise RefusedError(f"'tools' is not supported with the model {model}.", "tools", "unsupported_parameter")
    _check_input(required(request, "input", ""))
    _check_tool_choice(request)
    if request.get("stream_options") is not None and not request.get("stream"):
        raise RefusedError("'stream_options' is allowed only with 'stream': true.", "stream_options")
    return request


def _check_tool_choice(request: Mapping[str, Any]) -> None:
    choice = request.get("tool_choice")
    if choice is None:
        return
    if isinstance(choice, str):
        one_of("none", "auto", "required")(choice, "tool_choice")
        if choice == "required" and not request.get("tools"):
            raise RefusedError("A tool may be required only where tools are given.", "tool_choice")
        return
    OBJECT(choice, "tool_choice")
    kind = required(choice, "type", "tool_choice")
    if kind in ("function", "custom"):
        only_fields(choice, {"type", "name"}, "tool_choice")
        name = required(choice, "name", "tool_choice")
        if name not in [tool.get("name") for tool in request.get("tools") or [] if tool["type"] == kind]:
            raise RefusedError("'tool_choice.name' names none of the tools.", "tool_choice")


def _check_input(value: object) -> None:
    if isinstance(value, str):
        return
    require_type(value, list, "input", "a string or an array of items")
    assert isinstance(value, list)
    called: dict[str, bool] = {}
    for position, item in enumerate(value):
        param = f"input[{position}]"
        OBJECT(item, param)
        kind = item.get("type", "message" if "role" in item else "item_reference")
        if kind in _UNREAD:
            continue
        if kind not in _ITEMS:
            raise RefusedError(f"'{param}.type' is no type of item: {kind!r}.", f"{param}.type")
        only_fields(item, _ITEMS[kind], param)
        match kind:
            case "message":
                _check_message(item, param)
            case "function_call" | "custom_tool_call":
                for name in ("call_id", "name", "arguments" if kind == "function_call" else "input"):
                    STRING(required(item, name, param), f"{param}.{name}")
                called[item["call_id"]] = False
            case "function_call_output" | "custom_tool_call_output":
                _check_output(item, param, called)
            case "reasoning":
                _check_reasoning(item, param)
            case _:
                STRING(required(item, "id", param), f"{param}.id")
    missing = [name for name, answered in called.items() if not answered]
    if missing:
        raise RefusedError(f"No output was given for the tool calls {', '.join(missing)}.", "input")


def _check_output(item: Mapping[str, Any], param: str, called: dict[str, bool]) -> None:
    call_id = required(item, "call_id", param)
    if call_id not in called:
        raise RefusedError(f"'{param}' is the output of no tool call before it: {call_id}.", "input")
    called[call_id] = True
    output = required(item, "output", param)
    require_type(output, (str, list), f"{param}.output", "a string or an array of parts")
    if isinstance(output, list):
        for place, part in enumerate(output):
            _check_part(part, "user", f"{param}.output[{place}]")


def _check_reasoning(item: Mapping[str, Any], param: str) -> None:
    STRING(required(item, "id", param), f"{param}.id")
    require_type(required(item, "summary", param), list, f"{param}.summary", "an array")
    sealed = item.get("encrypted_content")
    if sealed is not None and not is_envelope(MAKER, sealed):
        where = f"{param}.encrypted_content"
        raise RefusedError(f"'{where}' could not be verified.", where, "invalid_encrypted_content")


def _check_message(item: Mapping[str, Any], param: str) -> None:
    role = required(item, "role", param)
    one_of("user", "system", "developer", "assistant")(role, f"{param}.role")
    content = required(item, "content", param)
    require_type(content, (str, list), f"{param}.content", "a string or an array of parts")
    if isinstance(content, list):
        for place, part in enumerate(content):
            _check_part(part, role, f"{param}.content[{place}]")


def _check_part(part: object, role: str, param: str) -> None:
    OBJECT(part, param)
    assert isinstance(part, dict)
    kind = required(part, "type", param)
    if kind not in _PARTS or (kind in _SAID) != (role == "assistant"):
        raise RefusedError(f"'{param}.type' may not be {kind!r} in a {role} message.", f"{param}.type")
    only_fields(part, _PARTS[kind], param)
    if kind in ("input_text", "output_text", "refusal"):
        name = "refusal" if kind == "refusal" else "text"
        STRING(required(part, name, param), f"{param}.{name}")
    elif kind == "input_image":
        url = part.get("image_url")
        if url is None and part.get("file_id") is None:
            raise RefusedError(f"'{param}' needs image_url or file_id.", param, "missing_required_parameter")
        if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://", "data:image/"))):
            raise RefusedError(f"'{param}.image_url' is no address of an image.", f"{param}.image_url")
    elif not any(part.get(name) for name in ("file_data", "file_id", "file_url")):
        raise RefusedError(f"'{param}' needs file_data, file_id or file_url.", param, "missing_required_parameter")
