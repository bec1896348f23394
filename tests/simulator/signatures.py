"""Seals that only this simulator can make: what carries one must come back byte for byte to the provider it is from.

Each is a keyed hash of a maker's name and the text it seals, so the same text always gets the same seal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

_KEY: Final = b"the simulator's own sealing key"
_NONCE_BYTES: Final = 12


def seal(maker: str, text: str) -> str:
    """The seal of a text by a maker, in base64."""
    return base64.b64encode(hmac.digest(_KEY, f"{maker}\0{text}".encode(), hashlib.sha512)).decode()


def sealed(maker: str, text: str, signature: object) -> bool:
    """True when the signature is this maker's seal of this text, to the byte."""
    return isinstance(signature, str) and hmac.compare_digest(seal(maker, text).encode(), signature.encode())


def envelope(maker: str, digest: str) -> str:
    """Opaque data, such as a thought that is not shown: a nonce from the digest, and its seal."""
    nonce = digest[: _NONCE_BYTES * 2]
    return f"{nonce}{seal(maker, nonce)}"


def is_envelope(maker: str, data: object) -> bool:
    """True when the data is what `envelope` made for this maker."""
    return isinstance(data, str) and sealed(maker, data[: _NONCE_BYTES * 2], data[_NONCE_BYTES * 2 :])
