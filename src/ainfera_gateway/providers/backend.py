"""Where a provider is reached here and now: base URL, credential, and what its dialect wants differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.catalog.model import Credential
from ainfera_gateway.providers.adapter import ProviderAdapter

_ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Backend:
    """One reachable provider. ``api_key`` never shows in a repr; ``max_tokens_field`` is the name it knows.

    ``wire`` is the dialect spoken there and ``credential`` the form it takes its key in. ``drop_fields`` are members
    it must not be sent, ``quirks`` what else it wants differently, ``one_choice`` that it bills only one of several
    choices, ``short_idle`` that it closes idle connections within seconds.
    """

    provider: str
    base_url: str
    api_key: str = field(repr=False)
    wire: Wire = "openai_chat"
    credential: Credential = "bearer"
    quirks: frozenset[str] = frozenset()
    max_tokens_field: str = "max_tokens"
    knows_usage_option: bool = True
    drop_fields: frozenset[str] = frozenset()
    one_choice: bool = False
    short_idle: bool = False

    def url(self, path: str) -> str:
        """Where a request for ``path`` (``/chat/completions``) is posted."""
        return f"{self.base_url.rstrip('/')}{path}"

    def headers(self, attempt_id: str, wire: Wire, forwarded: Mapping[str, str]) -> dict[str, str]:
        """The whole head of a request to this provider, made from scratch.

        ``forwarded`` are the few headers of the caller that belong to the dialect both sides speak; of those a caller
        may send, only what stands on the list of its dialect ever gets here.
        """
        made = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "x-client-request-id": attempt_id,
        }
        if self.api_key:
            if self.credential == "bearer":
                made["authorization"] = f"Bearer {self.api_key}"
            else:
                made[self.credential] = self.api_key
        if wire == "anthropic_messages":
            made["anthropic-version"] = _ANTHROPIC_VERSION
            made |= forwarded
        return made


class Backends:
    """The providers that can be called. A provider may come and go (the local model restarts on another port)."""

    def __init__(self, fixed: Mapping[str, Backend]) -> None:
        self._fixed = dict(fixed)
        self._moving: dict[str, Callable[[], Backend | None]] = {}
        self._adapters: dict[str, ProviderAdapter] = {}

    def add_adapter(self, provider: str, adapter: ProviderAdapter) -> None:
        """A provider that is reached otherwise than over HTTP."""
        self._adapters[provider] = adapter

    def adapter(self, provider: str) -> ProviderAdapter | None:
        """The provider's adapter, ``None`` for one that is reached over HTTP."""
        return self._adapters.get(provider)

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
        return frozenset(self._fixed) | frozenset(self._moving) | frozenset(self._adapters)
