"""Strict validation of the top-level members of a Messages request: names, types, ranges, which excludes which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .anthropic_blocks import check_block, check_cache_control, check_type, need, only, refuse
from .anthropic_messages import check_messages

VERSIONS: Final = ("2023-01-01", "2023-06-01", "2026-10-21")
_COUNTED: Final = frozenset(
    {
        "model", "messages", "system", "tools", "tool_choice", "thinking", "cache_control", "output_config", "speed",
        "user_profile_id", "workspace_id",
    }
)  # fmt: skip
_CREATED: Final = _COUNTED | {
    "max_tokens", "metadata", "stop_sequences", "stream", "temperature", "top_k", "top_p", "service_tier", "container",
    "inference_geo", "diagnostics",
}  # fmt: skip
# Known only to a request that names a beta.
_BETA: Final = frozenset(
    {
        "context_management", "mcp_servers", "compaction", "fallbacks", "fallback_credit_token", "billing_policy",
        "output_format", "thread",
    }
)  # fmt: skip
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TYPED: Final = re.compile(r"[a-z_]+_\d{8}")
_CUSTOM: Final = frozenset(
    {
        "name", "type", "description", "input_schema", "cache_control", "strict", "defer_loading", "allowed_callers",
        "eager_input_streaming", "input_examples",
    }
)  # fmt: skip
_THINKING: Final[Mapping[str, frozenset[str]]] = {
    "enabled": frozenset({"type", "budget_tokens", "display"}),
    "adaptive": frozenset({"type", "display"}),
    "between_tools": frozenset({"type"}),
    "disabled": frozenset({"type"}),
}
_BREAKPOINTS: Final = 4


def check_request(request: object, *, version: str, betas: bool, counting: bool) -> Mapping[str, Any]:
    """The request itself when the provider would take it. `counting`: it goes to count_tokens. Raises `RefusedError`."""
    if not isinstance(request, dict):
        raise refuse("", "The body must be a JSON object.")
    only(request, (_COUNTED if counting else _CREATED) | (_BETA if betas else set()), "")
    if not need(request, "model", "", str):
        raise refuse("model", "String should have at least 1 character")
    if not counting:
        _check_numbers(request)
    thinking = _check_thinking(request)
    _check_tools(request)
    _check_tool_choice(request, thinking=thinking)
    _check_system(request.get("system"))
    check_cache_control(request.get("cache_control"), "cache_control")
    for name in ("output_config", "context_management", "diagnostics"):
        if request.get(name) is not None:
            check_type(request[name], name, dict)
    if "metadata" in request:
        check_type(request["metadata"], "metadata", dict)
        only(request["metadata"], {"user_id"}, "metadata")
        check_type(request["metadata"].get("user_id"), "metadata.user_id", (str, type(None)))
    check_messages(
        need(request, "messages", "", list),
        system_allowed=version >= "2026",
        thinking=thinking,
        thoughts_required=thinking and request["thinking"]["type"] == "enabled",
    )
    _check_breakpoints(request)
    return request


def _check_numbers(request: Mapping[str, Any]) -> None:
    # A limit of nothing fills the cache and says nothing.
    if need(request, "max_tokens", "", int) < 0:
        raise refuse("max_tokens", "Input should be greater than or equal to 0")
    for name, low, high in (("temperature", 0, 1), ("top_p", 0, 1)):
        if request.get(name) is not None:
            check_type(request[name], name, (int, float))
            if not low <= request[name] <= high:
                raise refuse(name, f"Input should lie between {low} and {high}")
    if request.get("top_k") is not None:
        check_type(request["top_k"], "top_k", int)
        if request["top_k"] < 0:
            raise refuse("top_k", "Input should be greater than or equal to 0")
    if "stream" in request:
        check_type(request["stream"], "stream", bool)
    if request.get("service_tier", "auto") not in ("auto", "standard_only"):
        raise refuse("service_tier", "Input should be 'auto' or 'standard_only'")
    stops = request.get("stop_sequences")
    if stops is None:
        return
    check_type(stops, "stop_sequences", list)
    for position, stop in enumerate(stops):
        check_type(stop, f"stop_sequences.{position}", str)
        if not stop.strip():
            raise refuse("stop_sequences", "each stop sequence must contain more than whitespace")


def _check_thinking(request: Mapping[str, Any]) -> bool:
    """Returns whether thinking is on."""
    config = request.get("thinking")
    if config is None:
        return False
    check_type(config, "thinking", dict)
    kind = need(config, "type", "thinking", str)
    if kind not in _THINKING:
        raise refuse("thinking", f"Input tag '{kind}' is none of {', '.join(_THINKING)}")
    only(config, _THINKING[kind], f"thinking.{kind}")
    if config.get("display") not in (None, "summarized", "omitted"):
        raise refuse(f"thinking.{kind}.display", "Input should be 'summarized' or 'omitted'")
    if kind == "disabled":
        return False
    if kind == "enabled":
        budget = need(config, "budget_tokens", "thinking.enabled", int)
        if budget < 1024:
            raise refuse("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024")
        if "max_tokens" in request and budget >= request["max_tokens"]:
            raise refuse("", "`max_tokens` must be greater than `thinking.budget_tokens`")
    if request.get("temperature") not in (None, 1):
        raise refuse("", "`temperature` may only be 1 when thinking is on")
    if request.get("top_k") is not None:
        raise refuse("", "`top_k` must be unset when thinking is on")
    if request.get("top_p") is not None and request["top_p"] < 0.95:
        raise refuse("", "`top_p` must be at least 0.95 or unset when thinking is on")
    return True


def _check_tools(request: Mapping[str, Any]) -> None:
    tools = request.get("tools")
    if tools is None:
        return
    check_type(tools, "tools", list)
    names: list[str] = []
    for position, tool in enumerate(tools):
        path = f"tools.{position}"
        check_type(tool, path, dict)
        kind = tool.get("type")
        check_cache_control(tool.get("cache_control"), f"{path}.cache_control")
        if kind in (None, "custom"):
            _check_custom_tool(tool, f"{path}.custom")
        elif not isinstance(kind, str) or not _TYPED.fullmatch(kind):
            raise refuse(path, f"Input tag '{kind}' is no known type of tool")
        if "name" in tool:
            names.append(tool["name"])
    if len(set(names)) != len(names):
        raise refuse("tools", "Tool names must be unique.")


def _check_custom_tool(tool: Mapping[str, Any], path: str) -> None:
    only(tool, _CUSTOM, path)
    if not _TOOL_NAME.fullmatch(need(tool, "name", path, str)):
        raise refuse(f"{path}.name", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    schema = need(tool, "input_schema", path, dict)
    if need(schema, "type", f"{path}.input_schema", str) != "object":
        raise refuse(f"{path}.input_schema.type", "Input should be 'object'")
    if "description" in tool:
        check_type(tool["description"], f"{path}.description", str)


def _check_tool_choice(request: Mapping[str, Any], *, thinking: bool) -> None:
    choice = request.get("tool_choice")
    if choice is None:
        return
    check_type(choice, "tool_choice", dict)
    kind = need(choice, "type", "tool_choice", str)
    if kind not in ("auto", "any", "tool", "none"):
        raise refuse("tool_choice", f"Input tag '{kind}' is none of auto, any, tool, none")
    known = {"type"} if kind == "none" else {"type", "disable_parallel_tool_use"}
    only(choice, known | ({"name"} if kind == "tool" else set()), f"tool_choice.{kind}")
    if "disable_parallel_tool_use" in choice:
        check_type(choice["disable_parallel_tool_use"], f"tool_choice.{kind}.disable_parallel_tool_use", bool)
    if kind in ("auto", "none"):
        return
    if thinking:
        raise refuse("", "Thinking may not be on when tool_choice forces a tool.")
    tools = request.get("tools")
    if not tools:
        raise refuse("tool_choice", "a tool may be forced only where tools are given")
    if kind == "tool" and need(choice, "name", "tool_choice.tool", str) not in [tool.get("name") for tool in tools]:
        raise refuse("tool_choice", f"Tool '{choice['name']}' is none of the tools given")


def _check_system(system: object) -> None:
    if system is None:
        return
    check_type(system, "system", (str, list))
    if isinstance(system, list):
        for position, block in enumerate(system):
            check_block(block, "system", f"system.{position}")


def _check_breakpoints(request: Mapping[str, Any]) -> None:
    found = _count_breakpoints([request.get("tools"), request.get("system"), request["messages"]])
    if found > _BREAKPOINTS:
        raise refuse("", f"At most {_BREAKPOINTS} blocks may have cache_control, found {found}.")


def _count_breakpoints(value: object) -> int:
    if isinstance(value, list):
        return sum(_count_breakpoints(item) for item in value)
    if not isinstance(value, dict):
        return 0
    own = 1 if value.get("cache_control") is not None else 0
    return own + _count_breakpoints(value.get("content"))
