"""Errors as the Anthropic dialect writes them."""

from __future__ import annotations

from typing import Any

import msgspec

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """The dialect's ``type`` for an HTTP status."""
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def error_body(
    status: int,
    code: str,
    message: str,
    param: str | None = None,
    details: dict[str, Any] | None = None,
    *,
    request_id: str = "",
) -> bytes:
    """``{"type": "error", "error": {type, message, details: {…, code}}, "request_id"}`` as JSON bytes.

    ``code`` is the machine code of the contract; ``details`` are further facts, which never override it. ``param``,
    the path of a field, stands among them as ``param``. ``request_id`` is null when there is none.
    """
    told: dict[str, Any] = dict(details or {})
    if param is not None:
        told.setdefault("param", param)
    told["code"] = code
    error = {"type": error_type(status), "message": message, "details": told}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id or None})


def error_frame(
    status: int, code: str, message: str, details: dict[str, Any] | None = None, *, request_id: str = ""
) -> bytes:
    """The last event of a stream that failed after its first byte; no ``message_stop`` follows it."""
    return b"event: error\ndata: " + error_body(status, code, message, details=details, request_id=request_id) + b"\n\n"
