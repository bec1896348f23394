"""Errors as the OpenAI dialect writes them."""

from __future__ import annotations

from typing import Any

import msgspec

_TYPES = {401: "authentication_error", 402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}


def error_type(status: int) -> str:
    """The dialect's ``type`` for an HTTP status."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def error_body(
    status: int, code: str, message: str, param: str | None = None, details: dict[str, Any] | None = None
) -> bytes:
    """``{"error": {message, type, param, code, …details}}`` as JSON bytes.

    ``code`` is the machine code of the contract. ``details`` are further facts (a reason, a model); they never
    override the four fields of the dialect.
    """
    error: dict[str, Any] = {"message": message, "type": error_type(status), "param": param, "code": code}
    for name, value in (details or {}).items():
        error.setdefault(name, value)
    return msgspec.json.encode({"error": error})


def error_frame(status: int, code: str, message: str, details: dict[str, Any] | None = None) -> bytes:
    """The last event of a stream that failed after its first byte; no ``[DONE]`` follows it."""
    return b"data: " + error_body(status, code, message, details=details) + b"\n\n"
