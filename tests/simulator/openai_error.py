"""Errors in OpenAI's form."""

from __future__ import annotations

from typing import Final

import msgspec

_TYPES: Final = {429: "requests"}


def openai_error(status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
    """The error body for a status."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
