"""API keys: minted here, recognised here without a look-up, stored as a hash only.

A key is ``ainfera_``, 43 characters of base64url (32 random bytes) and 6 characters of base62: the CRC-32 of all that
precedes it. The checksum keeps mistyped and cut-off keys away from the database. It is no secret and no defence.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import zlib
from dataclasses import dataclass

KEY_PREFIX = "ainfera_"
_RANDOM_BYTES = 32
_RANDOM_CHARS = 43
_CHECKSUM_CHARS = 6
KEY_CHARS = len(KEY_PREFIX) + _RANDOM_CHARS + _CHECKSUM_CHARS
DISPLAY_PREFIX_CHARS = len(KEY_PREFIX) + 6
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. ``secret`` is shown once and never stored; ``key_hash`` is SHA-256 hex; ``prefix`` is for lists."""

    secret: str
    key_hash: str
    prefix: str

    def __repr__(self) -> str:
        return f"MintedKey(prefix={self.prefix!r})"


def mint() -> MintedKey:
    """A new random key."""
    random = base64.urlsafe_b64encode(secrets.token_bytes(_RANDOM_BYTES)).rstrip(b"=").decode("ascii")
    body = KEY_PREFIX + random
    secret = body + _checksum(body.encode("ascii"))
    return MintedKey(secret=secret, key_hash=hash_key(secret), prefix=secret[:DISPLAY_PREFIX_CHARS])


def well_formed(secret: str) -> bool:
    """Whether ``secret`` has the form of a key and its checksum agrees. Says nothing about whether it exists."""
    if len(secret) != KEY_CHARS or not secret.startswith(KEY_PREFIX) or not secret.isascii():
        return False
    body = secret[:-_CHECKSUM_CHARS]
    return _checksum(body.encode("ascii")) == secret[-_CHECKSUM_CHARS:]


def hash_key(secret: str) -> str:
    """SHA-256 hex of the key, the column it is found by. 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(body: bytes) -> str:
    rest = zlib.crc32(body)
    digits = []
    for _ in range(_CHECKSUM_CHARS):
        rest, digit = divmod(rest, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
