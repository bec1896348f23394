"""What is wrong with something a caller sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ParseError(Exception):
    """A request that cannot be read; raised before anything is decided or spent.

    ``message`` is safe to show the caller. ``field`` is the path of the offending field in JSON-path style
    without the leading ``$`` (``messages[0].role``), or None when the fault belongs to no field.
    ``code`` is the machine code of the contract: ``invalid_request`` (400), or ``validation_error`` (422) on
    ``/v1/inference``. ``details`` are further facts for the caller.
    """

    def __init__(
        self,
        message: str,
        field: str | None,
        code: str = "invalid_request",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code
        self.details: Mapping[str, Any] = details or {}

    def with_code(self, code: str) -> ParseError:
        """The same problem under another machine code."""
        return ParseError(self.message, self.field, code, self.details)
