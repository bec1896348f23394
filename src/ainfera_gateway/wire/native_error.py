"""Errors as the gateway's own routes write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def native_error_body(
    code: str,
    message: str,
    *,
    request_id: str,
    details: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
) -> bytes:
    """The native envelope as JSON bytes: ``code`` and ``error`` say the same, ``detail`` adds the context.

    ``top`` are members that the contract wants beside ``code`` as well (``model`` and ``provider`` of an unavailable
    model). Neither ``details`` nor ``top`` overrides a member of the envelope.
    """
    envelope: dict[str, Any] = {
        "code": code,
        "error": code,
        "message": message,
        "detail": {**(details or {}), "code": code},
        "request_id": request_id,
    }
    return msgspec.json.encode({**(top or {}), **envelope})
