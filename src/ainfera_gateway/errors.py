"""The one error tree. Only a ``GatewayError`` reaches a caller; its message is safe to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """An answer that is not the one asked for.

    ``code`` is the machine code of the contract, ``status`` the HTTP status, ``message`` text that is safe for the
    caller, ``field`` the offending field in path form, ``detail`` further context (JSON values, no secrets),
    ``top`` members that stand at the top level of the native envelope beside ``code`` and ``message``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        detail: Mapping[str, Any] | None = None,
        top: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.detail: dict[str, Any] = dict(detail or {})
        self.top: dict[str, Any] = dict(top or {})
        self.headers: dict[str, str] = dict(headers or {})
        if is_terminal(status, code):
            self.headers.setdefault("x-should-retry", "false")


def is_terminal(status: int, code: str) -> bool:
    """Whether an official SDK must not retry this refusal by itself."""
    return status in (402, 403) or code in ("agent_not_active", "cost_killswitch_engaged")


def not_found() -> GatewayError:
    """The one 404: a foreign id answers exactly as an unknown one."""
    return GatewayError(404, "not_found", "There is nothing here by that name.")


def invalid(message: str, field: str | None = None) -> GatewayError:
    """A body that cannot be parsed or is out of limits (dialect routes)."""
    return GatewayError(400, "invalid_request", message, field=field)


def overloaded(message: str = "The gateway is at its limit; try again shortly.") -> GatewayError:
    """Back-pressure instead of unbounded memory."""
    return GatewayError(503, "overloaded", message, headers={"retry-after": "1"})


def rate_limited(wait_s: int) -> GatewayError:
    """Too many calls a minute; ``wait_s`` whole seconds, at least, until the next."""
    return GatewayError(
        429,
        "rate_limited",
        "Too many calls a minute for this agent.",
        headers={"retry-after": str(wait_s + 1)},
    )


class LedgerUnavailable(GatewayError):  # noqa: N818 - named as its code
    """No T1, no provider call. ``uncertain`` when what was to be written may have been, unheard."""

    def __init__(self, *, uncertain: bool = False) -> None:
        super().__init__(
            503,
            "ledger_unavailable",
            "The ledger cannot be written now; nothing was sent.",
            headers={"retry-after": "2"},
        )
        self.uncertain = uncertain


class LedgerLocked(LedgerUnavailable):
    """Somebody else keeps a row locked that is needed; nothing was written, and others' rows are free."""


def ledger_unavailable(*, uncertain: bool = False) -> LedgerUnavailable:
    """The ledger is away; see ``LedgerUnavailable``."""
    return LedgerUnavailable(uncertain=uncertain)
