"""Errors as bytes, in the caller's dialect."""

from __future__ import annotations

import msgspec

from ainfera_gateway.errors import GatewayError, ledger_unavailable
from ainfera_gateway.storage.read import is_away
from ainfera_gateway.wire.anthropic_messages.errors import error_body as messages_error_body
from ainfera_gateway.wire.native_error import native_error_body
from ainfera_gateway.wire.openai_chat.errors import error_body


def rendered(error: GatewayError, dialect: str, trace_id: str) -> bytes:
    """The body of ``error`` for ``openai``, ``anthropic`` or ``native`` callers."""
    details = {**error.detail, **error.top}
    if dialect == "anthropic":
        return messages_error_body(
            error.status, error.code, error.message, param=error.field, details=details, request_id=trace_id
        )
    if dialect == "openai":
        return error_body(error.status, error.code, error.message, param=error.field, details=details)
    if error.field is not None:
        details["field"] = error.field
        details.setdefault("fields", [{"field": error.field, "message": error.message}])
    body = native_error_body(error.code, error.message, request_id=trace_id, details=details)
    return _with_top(body, error)


def _with_top(body: bytes, error: GatewayError) -> bytes:
    """Members of ``top`` stand beside ``code`` as well: the published SDK looks for some of them there."""
    if not error.top:
        return body
    document = msgspec.json.decode(body)
    for name, value in error.top.items():
        document.setdefault(name, value)
    return msgspec.json.encode(document)


def unexpected(error: Exception) -> GatewayError:
    """What a caller hears of a failure that is no refusal: 503 where the database is away, else a bug's 500."""
    if is_away(error):
        return ledger_unavailable()
    return GatewayError(500, "internal_server_error", "The gateway failed to answer this request.")
