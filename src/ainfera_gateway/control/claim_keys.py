"""Which keys belong to a database: whoever serves it with others would sign and seal what nobody else can read."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass

from sqlalchemy import Engine, select

from ainfera_gateway.audit.keys import (
    CHAIN_HMAC_KEY_FILE,
    CHECKPOINT_KEY_FILE,
    DATA_KEY_FILE,
    GatewayKeys,
    KeyFileError,
)
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.recorder import Recorder
from ainfera_gateway.storage.tables import house_state

_CLAIM = (
    "INSERT INTO house_state (name, value, changed_us) VALUES (:name, :value, :changed_us)"
    " ON CONFLICT (name) DO NOTHING"
)
_SAID = {
    "chain_hmac_key": f"the file {CHAIN_HMAC_KEY_FILE}",
    "data_key": f"the file {DATA_KEY_FILE}, or AINFERA_DATA_KEY",
    "checkpoint_key": f"the file {CHECKPOINT_KEY_FILE}",
}


@dataclass(frozen=True, slots=True)
class _Claim:
    fingerprints: dict[str, str]

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        for name, value in self.fingerprints.items():
            page.execute(_CLAIM, {"name": name, "value": value, "changed_us": page.now_us})


async def claim_keys(recorder: Recorder, reader: Engine, keys: GatewayKeys) -> None:
    """The first process to serve a database leaves fingerprints of its keys there; all others must have the same.

    Raises ``KeyFileError``.
    """
    own = {name: _fingerprint(key) for name, key in _named(keys)}
    known = await asyncio.to_thread(_read, reader)
    if not own.keys() <= known.keys():
        await recorder.submit(_Claim(own))
        known = await asyncio.to_thread(_read, reader)
    for name, said in _SAID.items():
        if known[name] != own[name]:
            raise KeyFileError(
                f"this database was begun with another key than {said}: restore that key, "
                "or copy it from the data directory of a gateway that serves this database"
            )


def _named(keys: GatewayKeys) -> list[tuple[str, bytes]]:
    checkpoint = keys.checkpoint_key.public_key().public_bytes_raw()
    return [("chain_hmac_key", keys.chain_hmac_key), ("data_key", keys.data_key), ("checkpoint_key", checkpoint)]


def _fingerprint(key: bytes) -> str:
    return hmac.digest(key, b"ainfera gateway key fingerprint", "sha256").hex()[:32]


def _read(reader: Engine) -> dict[str, str]:
    with reader.connect() as connection:
        rows = connection.execute(select(house_state.c.name, house_state.c.value))
        return {row.name: row.value for row in rows if row.name in _SAID}
