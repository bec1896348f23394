"""Strict validation of content blocks of the Messages API, one by one. Paths are dotted: `messages.0.content.1.text`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .dialect import RefusedError
from .signatures import is_envelope, sealed

MAKER: Final = "anthropic"
_TOOL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_CACHED: Final = frozenset({"type", "cache_control"})
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "text": _CACHED | {"text", "citations"},
    "image": _CACHED | {"source", "transformations"},
    "document": _CACHED | {"source", "citations", "context", "title"},
    "search_result": _CACHED | {"source", "title", "content", "citations"},
    "container_upload": _CACHED | {"file_id"},
    "tool_use": _CACHED | {"id", "input", "name", "caller", "toolset_name"},
    "server_tool_use": _CACHED | {"id", "input", "name", "caller"},
    "tool_result": _CACHED | {"tool_use_id", "content", "is_error", "toolset_name"},
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_reference": _CACHED | {"tool_name"},
}
_SERVER_RESULT: Final = re.compile(r"(?!tool_result$)[a-z_]+_tool_result")
_OF_ROLE: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image", "document", "search_result", "container_upload", "tool_result"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"}),
    "tool_result": frozenset({"text", "image", "document", "search_result", "tool_reference"}),
}


def refuse(path: str, message: str) -> RefusedError:
    """A refusal that names where."""
    return RefusedError(f"{path}: {message}" if path else message, path or None)


def need(value: Mapping[str, Any], name: str, path: str, kind: type | tuple[type, ...]) -> Any:
    """The member of that type; refuses its absence and other types."""
    where = f"{path}.{name}" if path else name
    if name not in value:
        raise refuse(where, "Field required")
    check_type(value[name], where, kind)
    return value[name]


def check_type(value: object, path: str, kind: type | tuple[type, ...]) -> None:
    """Refuses a value of another type; a boolean never passes for a number."""
    wrong_bool = isinstance(value, bool) and kind is not bool
    if wrong_bool or not isinstance(value, kind):
        names = " or ".join(item.__name__ for item in (kind if isinstance(kind, tuple) else (kind,)))
        raise refuse(path, f"Input should be a valid {names}")


def only(value: Mapping[str, Any], known: frozenset[str] | set[str], path: str) -> None:
    """Refuses the first member that is not known."""
    for name in value:
        if name not in known:
            raise refuse(f"{path}.{name}" if path else name, "Extra inputs are not permitted")


def check_cache_control(value: object, path: str) -> None:
    """Refuses anything but an ephemeral breakpoint of five minutes or an hour."""
    if value is None:
        return
    check_type(value, path, dict)
    assert isinstance(value, dict)
    only(value, {"type", "ttl"}, path)
    if need(value, "type", path, str) != "ephemeral":
        raise refuse(f"{path}.type", "Input should be 'ephemeral'")
    if value.get("ttl", "5m") not in ("5m", "1h"):
        raise refuse(f"{path}.ttl", "Input should be '5m' or '1h'")


def check_block(block: object, role: str, path: str) -> None:
    """Refuses a block that may not stand in a message of this role (or in a tool result)."""
    check_type(block, path, dict)
    assert isinstance(block, dict)
    kind = need(block, "type", path, str)
    if role == "assistant" and _SERVER_RESULT.fullmatch(kind):
        need(block, "tool_use_id", path, str)
        return
    if kind not in _FIELDS:
        raise refuse(path, f"Input tag '{kind}' is none of the block types known")
    if kind not in _OF_ROLE[role]:
        raise refuse(path, f"A block of type `{kind}` may not stand in a `{role}` content")
    only(block, _FIELDS[kind], path)
    check_cache_control(block.get("cache_control"), f"{path}.cache_control")
    match kind:
        case "text":
            if not need(block, "text", path, str):
                raise refuse(path, "text content blocks must be non-empty")
        case "image":
            _check_source(need(block, "source", path, dict), "image", f"{path}.source")
        case "document":
            _check_source(need(block, "source", path, dict), "document", f"{path}.source")
        case "tool_use" | "server_tool_use":
            _check_tool_use(block, path)
        case "tool_result":
            _check_tool_result(block, path)
        case "thinking":
            thinking, signature = need(block, "thinking", path, str), need(block, "signature", path, str)
            if not sealed(MAKER, thinking, signature):
                raise refuse(path, "Invalid `signature` in `thinking` block")
        case "redacted_thinking":
            if not is_envelope(MAKER, need(block, "data", path, str)):
                raise refuse(path, "Invalid `data` in `redacted_thinking` block")


def _check_tool_use(block: Mapping[str, Any], path: str) -> None:
    if not _TOOL_ID.fullmatch(need(block, "id", path, str)):
        raise refuse(f"{path}.id", "String should match pattern '^[a-zA-Z0-9_-]+$'")
    need(block, "input", path, dict)
    if not 1 <= len(need(block, "name", path, str)) <= 200:
        raise refuse(f"{path}.name", "String should have 1 to 200 characters")


def _check_tool_result(block: Mapping[str, Any], path: str) -> None:
    if not _TOOL_ID.fullmatch(need(block, "tool_use_id", path, str)):
        raise refuse(f"{path}.tool_use_id", "String should match pattern '^[a-zA-Z0-9_-]+$'")
    if "is_error" in block:
        check_type(block["is_error"], f"{path}.is_error", bool)
    content = block.get("content", "")
    check_type(content, f"{path}.content", (str, list))
    if isinstance(content, list):
        for position, inner in enumerate(content):
            check_block(inner, "tool_result", f"{path}.content.{position}")


def _check_source(source: Mapping[str, Any], holder: str, path: str) -> None:
    kind = need(source, "type", path, str)
    if kind == "base64":
        only(source, {"type", "media_type", "data"}, path)
        need(source, "data", path, str)
        media_type = need(source, "media_type", path, str)
        if media_type not in (_IMAGES if holder == "image" else {"application/pdf"}):
            raise refuse(f"{path}.media_type", f"No {holder} may be of type '{media_type}'")
    elif kind == "url":
        only(source, {"type", "url"}, path)
        if not need(source, "url", path, str).startswith(("https://", "http://")):
            raise refuse(f"{path}.url", "Only web addresses are fetched")
    elif kind == "file":
        only(source, {"type", "file_id"}, path)
        need(source, "file_id", path, str)
    elif holder == "document" and kind == "text":
        only(source, {"type", "media_type", "data"}, path)
        if need(source, "media_type", path, str) != "text/plain":
            raise refuse(f"{path}.media_type", "Input should be 'text/plain'")
        need(source, "data", path, str)
    elif holder == "document" and kind == "content":
        only(source, {"type", "content"}, path)
        need(source, "content", path, (str, list))
    else:
        raise refuse(path, f"Input tag '{kind}' is no source of a {holder}")
