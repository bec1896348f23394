"""Checkpoints: C2SP signed notes (Ed25519) that say how large the log is and what it hashes to. Pure."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """What is signed: the log's name, its size in events, its root in base64, a line each."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign_checkpoint(origin: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """The note: text, blank line, one signature line under the log's own name."""
    text = checkpoint_text(origin, size, root)
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    key_id = sha256(origin.encode() + b"\n" + _ED25519 + raw).digest()[:4]
    sealed = base64.b64encode(key_id + key.sign(text.encode())).decode()
    return f"{text}\n\u2014 {origin} {sealed}\n"
