"""The two hash rules that one event obeys at once, and the signature over the second.

The SDK and the offline verifier published for this gateway differ in the first link only: the SDK hashes the empty
text before the first payload, the verifier 64 zeros. Every later hash therefore differs too, so both are kept.
Pure functions over bytes; this file imports nothing of the house, since the recorder is given it by injection.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import NamedTuple

GENESIS = "0" * 64
"""What the verifier's rule hashes before the first payload."""


class Link(NamedTuple):
    """The newest hashes of one agent's chain, each 64 lower-case hex characters."""

    event_hash: str
    verifier_hash: str


def append(previous: Link | None, payload_bytes: bytes) -> Link:
    """The link of a payload (its canonical bytes) that follows ``previous``; ``None`` starts a chain."""
    if previous is None:
        return Link(sha256(payload_bytes).hexdigest(), sha256(GENESIS.encode() + payload_bytes).hexdigest())
    return Link(
        sha256(previous.event_hash.encode() + payload_bytes).hexdigest(),
        sha256(previous.verifier_hash.encode() + payload_bytes).hexdigest(),
    )


def hmac_signature(verifier_hash: str, key: bytes) -> str:
    """HMAC-SHA256 in hex over the hex text of ``verifier_hash``, with the key that the gateway publishes."""
    return hmac.digest(key, verifier_hash.encode(), "sha256").hex()
