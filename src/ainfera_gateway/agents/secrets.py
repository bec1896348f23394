"""Secrets at rest: AES-256-GCM under the data key, bound to the place where they are stored."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class SealError(Exception):
    """The sealed text cannot be opened: another key, another place, or changed bytes."""


def seal(data_key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Version byte, 12 random bytes of nonce, ciphertext and tag.

    ``associated_data`` names the place, such as ``b"agent-key:" + id``: a sealed text copied to another row does not
    open. Random nonces are safe for some 2^32 texts under one key.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(data_key).encrypt(nonce, plaintext, _VERSION + associated_data)


def open_sealed(data_key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """The plaintext of ``seal`` under the same key and associated data. Raises ``SealError``."""
    if len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
        raise SealError("not a sealed text of a version known here")
    nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        return AESGCM(data_key).decrypt(nonce, rest, _VERSION + associated_data)
    except InvalidTag as exc:
        raise SealError("the data key or the place does not fit, or the bytes were changed") from exc
