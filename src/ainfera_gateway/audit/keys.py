"""The gateway's own keys, each in a file of its own in the data directory, readable by their owner alone.

``chain_hmac.key`` (32 bytes) signs the verifier's form and is published; ``checkpoint_ed25519.pem`` signs checkpoints;
``data.key`` (32 bytes) seals secrets at rest unless the settings bring one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CHAIN_HMAC_KEY_FILE = "chain_hmac.key"
CHECKPOINT_KEY_FILE = "checkpoint_ed25519.pem"
DATA_KEY_FILE = "data.key"
KEY_BYTES = 32
_FILE_BYTES_MAX = 4096


class KeyFileError(RuntimeError):
    """A key cannot be used; the message names the file or setting and what to do. It never holds key material."""


@dataclass(frozen=True, slots=True, repr=False)
class GatewayKeys:
    """The keys of one data directory. ``checkpoint_kid`` is the RFC 7638 thumbprint of the public key."""

    chain_hmac_key: bytes
    checkpoint_key: Ed25519PrivateKey
    checkpoint_kid: str
    data_key: bytes

    def __repr__(self) -> str:
        return f"GatewayKeys(checkpoint_kid={self.checkpoint_kid!r})"


def load_or_create_keys(data_dir: Path, data_key_setting: str | None = None) -> GatewayKeys:
    """Read the keys of ``data_dir``, making those that do not exist yet.

    ``data_key_setting`` is 32 bytes in hex or base64 and replaces the data key's file. Safe to run in several processes
    at once: all end with the same keys. Raises ``KeyFileError``.
    """
    checkpoint_key = load_or_create_checkpoint_key(data_dir / CHECKPOINT_KEY_FILE)
    return GatewayKeys(
        chain_hmac_key=load_or_create_bytes(data_dir / CHAIN_HMAC_KEY_FILE),
        checkpoint_key=checkpoint_key,
        checkpoint_kid=key_id(checkpoint_key.public_key()),
        data_key=(
            parse_data_key(data_key_setting) if data_key_setting else load_or_create_bytes(data_dir / DATA_KEY_FILE)
        ),
    )


def load_or_create_bytes(path: Path) -> bytes:
    """A key of 32 bytes. Raises ``KeyFileError`` when the file holds something else."""
    key = _load_or_create(path, lambda: secrets.token_bytes(KEY_BYTES))
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path} holds {len(key)} bytes instead of {KEY_BYTES}; restore it from a backup")
    return key


def load_or_create_checkpoint_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key that signs checkpoints (PKCS 8, PEM). Raises ``KeyFileError``."""
    pem = _load_or_create(path, _new_ed25519_pem)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as exc:
        raise KeyFileError(f"{path} is no private key in PEM; restore it from a backup") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds another kind of key than Ed25519")
    return key


def parse_data_key(text: str) -> bytes:
    """The 32 bytes of a data key given as 64 hex characters or as base64 (either alphabet, padding optional)."""
    plain = text.strip()
    try:
        if len(plain) == 2 * KEY_BYTES:
            return bytes.fromhex(plain)
        unpadded = plain.rstrip("=").replace("-", "+").replace("_", "/")
        key = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (ValueError, binascii.Error) as exc:
        raise KeyFileError("AINFERA_DATA_KEY is 32 bytes in hex or base64") from exc
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"AINFERA_DATA_KEY is 32 bytes in hex or base64; this one has {len(key)}")
    return key


def public_key_pem(key: Ed25519PublicKey) -> str:
    """SubjectPublicKeyInfo in PEM."""
    encoded = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode("ascii")


def key_id(key: Ed25519PublicKey) -> str:
    """The RFC 7638 thumbprint of the key as a JWK: 43 characters of base64url."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(raw)}"}}'
    return _base64url(hashlib.sha256(jwk.encode("ascii")).digest())


def public_key_document(hmac_key: bytes, checkpoint_key: Ed25519PublicKey) -> dict[str, Any]:
    """The document at ``/.well-known/ainfera-public-key.json``.

    The HMAC key is symmetric and public: a signature made with it shows that an event passed unchanged since it was
    signed by whoever has this document, not that the operator wrote no other chain. Checkpoints show that.
    """
    return {
        "alg": "HMAC-SHA256",
        "hmac_key_b64": base64.b64encode(hmac_key).decode("ascii"),
        "ed25519_public_key_pem": public_key_pem(checkpoint_key),
        "kid": key_id(checkpoint_key),
    }


def _new_ed25519_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    try:
        found = _read(path)
        if found is None:
            _create(path, make())
            found = _read(path)
    except OSError as exc:
        raise KeyFileError(f"{path}: {exc.strerror or exc}") from exc
    if found is None:
        raise KeyFileError(f"{path} vanished while it was being made")
    return found


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise KeyFileError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
        return file.read(_FILE_BYTES_MAX)


def _create(path: Path, content: bytes) -> None:
    """Make ``path`` hold ``content``, whole and durable, unless another process was faster.

    The file gets its name only when its bytes are on the disk, so neither a crash nor a second process ever sees half
    a key; linking fails when the name exists, so a key is never replaced.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
