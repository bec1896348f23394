"""Errors in Anthropic's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .dialect import request_id

_TYPES: Final = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


def error_type(status: int) -> str:
    """The `type` inside the error of a status."""
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def anthropic_error(status: int, message: str, *, number: int, details: Mapping[str, Any] | None = None) -> bytes:
    """The error body for a status; `details` is a member only when there are some."""
    error: dict[str, Any] = {"type": error_type(status), "message": message}
    if details is not None:
        error["details"] = details
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id(number)})
