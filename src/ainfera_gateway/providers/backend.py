"""Where a provider is reached here and now: base URL, credential, and what its dialect wants differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backend:
    """One reachable provider. ``api_key`` never shows in a repr; ``max_tokens_field`` is the name it knows.

    ``drop_fields`` are members it must not be sent, ``one_choice`` that it bills only one of several choices,
    ``short_idle`` that it closes idle connections within seconds.
    """

    provider: str
    base_url: str
    api_key: str = field(repr=False)
    max_tokens_field: str = "max_tokens"
    knows_usage_option: bool = True
    drop_fields: frozenset[str] = frozenset()
    one_choice: bool = False
    short_idle: bool = False

    @property
    def chat_url(self) -> str:
        """Where chat completions are posted."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    def headers(self, attempt_id: str) -> dict[str, str]:
        """The whole head of a request to this provider, made from scratch."""
        made = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "x-client-request-id": attempt_id,
        }
        if self.api_key:
            made["authorization"] = f"Bearer {self.api_key}"
        return made


class Backends:
    """The providers that can be called. A provider may come and go (the local model restarts on another port)."""

    def __init__(self, fixed: Mapping[str, Backend]) -> None:
        self._fixed = dict(fixed)
        self._moving: dict[str, Callable[[], Backend | None]] = {}

    def add_moving(self, provider: str, current: Callable[[], Backend | None]) -> None:
        """A provider whose address is asked anew for each attempt."""
        self._moving[provider] = current

    def get(self, provider: str) -> Backend | None:
        """The provider's backend now, or ``None`` when it cannot be called."""
        moving = self._moving.get(provider)
        return moving() if moving is not None else self._fixed.get(provider)

    @property
    def configured(self) -> frozenset[str]:
        """The providers that have a credential or an address here."""
        return frozenset(self._fixed) | frozenset(self._moving)
