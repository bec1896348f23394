"""What every change and read of the control plane works with, made once by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.clock import Clock
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Control:
    """The rooms below, as the control plane sees them.

    ``data_key`` seals private keys at rest, ``chain_hmac_key`` signs the verifier's projection,
    ``public_key_document`` is served as it stands. ``changed`` is called with an agent's or key's id after a commit,
    so that the hot path drops what it remembers. ``catalog`` and ``configured`` (providers with a credential or an
    address) are asked anew for each read, and so is ``killswitch_state``; ``set_killswitch`` moves the switch of this
    process after its change was recorded (engaged by hand or not, threshold in pico-USD; ``None`` leaves as it is).
    """

    settings: Settings
    recorder: Recorder
    reader: Engine
    data_key: bytes
    chain_hmac_key: bytes
    public_key_document: dict[str, Any]
    clock: Clock
    changed: Callable[[str], None]
    catalog: Callable[[], Catalog]
    configured: Callable[[], frozenset[str]]
    killswitch_state: Callable[[], dict[str, Any]]
    set_killswitch: Callable[[bool | None, int | None], None]
