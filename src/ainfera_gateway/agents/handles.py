"""Handles and the two names made of them."""

from __future__ import annotations

from ainfera_gateway.ids import is_id

HANDLE_CHARS_MIN = 3
HANDLE_CHARS_MAX = 40
ANONYMOUS_OWNER = "agents"
DEFAULT_HOST = "ainfera.ai"
_ALLOWED = "abcdefghijklmnopqrstuvwxyz0123456789-"


def handle_fault(handle: str) -> str | None:
    """Why ``handle`` may not be taken, in words for the caller; ``None`` when it may."""
    if not HANDLE_CHARS_MIN <= len(handle) <= HANDLE_CHARS_MAX:
        return f"a handle has {HANDLE_CHARS_MIN} to {HANDLE_CHARS_MAX} characters"
    return _letters_fault(handle)


def owner_handle_fault(handle: str) -> str | None:
    """The same for an owner's handle, which may be as short as one character (GitHub's user names are)."""
    if not 1 <= len(handle) <= HANDLE_CHARS_MAX:
        return f"an owner's handle has 1 to {HANDLE_CHARS_MAX} characters"
    return _letters_fault(handle)


def canonical_uri(owner_handle: str, agent_handle: str, host: str = DEFAULT_HOST) -> str:
    """``ainfera.ai/{owner}/{handle}``."""
    return f"{host}/{owner_handle}/{agent_handle}"


def did_web(owner_handle: str, agent_handle: str, host: str = DEFAULT_HOST) -> str:
    """``did:web:ainfera.ai:{owner}:{handle}``; a port's colon is percent-encoded, as the method asks."""
    return f"did:web:{host.replace(':', '%3A')}:{owner_handle}:{agent_handle}"


def _letters_fault(handle: str) -> str | None:
    if handle.strip(_ALLOWED) or any(char not in _ALLOWED for char in handle):
        return "a handle holds only a-z, 0-9 and -"
    if is_id(handle):
        # Where a route takes an id or a handle, such a handle could stand for another agent.
        return "a handle may not look like an id"
    return None
