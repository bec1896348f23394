"""Verification of the log's proofs and checkpoints. It shares no code with what writes them.

The algorithms are those of RFC 9162 (2.1.3.2 and 2.1.4.2), which hold for RFC 6962 as well; notes are those of C2SP
``signed-note``, their bodies of ``tlog-checkpoint``. Nothing here does I/O.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_HASH_BYTES = 32
_SIZE_MAX = 2**53
_NOTE_BYTES_MAX = 1 << 16
_ED25519 = b"\x01"
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")


class LogError(ValueError):
    """A checkpoint or a proof does not hold; the message says why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A signed statement: the log ``origin`` had ``size`` events, and they hash to ``root``."""

    origin: str
    size: int
    root: bytes


def leaf_of(event_hash: str) -> bytes:
    """The leaf of the event with this hash (64 lower-case hex characters)."""
    if re.fullmatch("[0-9a-f]{64}", event_hash) is None:
        raise LogError("an event's hash is 64 lower-case hex characters")
    return hashlib.sha256(b"\x00ainfera.audit.v1 " + event_hash.encode("ascii")).digest()


def check_inclusion(leaf: bytes, index: int, tree: Tree, proof: Sequence[bytes]) -> None:
    """Raise ``LogError`` unless ``proof`` shows ``leaf`` at ``index`` of ``tree``."""
    _check_hashes(proof)
    if not 0 <= index < tree.size:
        raise LogError("the event's position is not below the checkpoint's size")
    node, last, found = index, tree.size - 1, leaf
    for step in proof:
        if last == 0:
            raise LogError("the proof is too long")
        if node & 1 or node == last:
            found = _inner(step, found)
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            found = _inner(found, step)
        node, last = node >> 1, last >> 1
    if last != 0 or found != tree.root:
        raise LogError("the proof does not lead to the checkpoint's root")


def check_consistency(first: Tree, second: Tree, proof: Sequence[bytes]) -> None:
    """Raise ``LogError`` unless ``proof`` shows that ``second`` only adds events behind those of ``first``."""
    _check_hashes(proof)
    if first.origin != second.origin:
        raise LogError("the checkpoints are of different logs")
    if first.size > second.size:
        raise LogError("the log was rolled back: it had more events before")
    if first.size == second.size:
        if proof or first.root != second.root:
            raise LogError("two checkpoints of one size have different roots: the log shows different histories")
        return
    if first.size == 0:
        if proof:
            raise LogError("nothing needs no proof")
        return
    _check_growth(first, second, proof)


def _check_growth(first: Tree, second: Tree, proof: Sequence[bytes]) -> None:
    steps = list(proof)
    if first.size & (first.size - 1) == 0:
        steps.insert(0, first.root)
    if not steps:
        raise LogError("the proof is empty")
    node, last = first.size - 1, second.size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise LogError("the proof is too long")
        if node & 1 or node == last:
            old, new = _inner(step, old), _inner(step, new)
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            new = _inner(new, step)
        node, last = node >> 1, last >> 1
    if last != 0 or old != first.root or new != second.root:
        raise LogError("the newer checkpoint does not contain the older one: the log was rewritten")


def read_note(note: str, keys: Iterable[Ed25519PublicKey]) -> Tree:
    """The statement of a note that one of ``keys`` signed under the log's own name.

    Lines signed by others are passed over, as the format wants it. Raises ``LogError``.
    """
    if len(note.encode("utf-8", "surrogatepass")) > _NOTE_BYTES_MAX:
        raise LogError("the note is too long")
    text, found, signatures = note.rpartition("\n\n")
    if not found or not note.endswith("\n") or any(char < " " and char != "\n" for char in note):
        raise LogError("this is no signed note")
    text += "\n"
    tree = _read_body(text)
    known = [(_key_id(tree.origin, key), key) for key in keys]
    for line in signatures.splitlines():
        dash, name, sealed = _signature_line(line)
        if dash and name == tree.origin and _is_signed(text.encode(), sealed, known):
            return tree
    raise LogError("no known key signed the checkpoint")


def public_key(pem: str) -> Ed25519PublicKey:
    """A key from its PEM. Raises ``LogError``."""
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
    except ValueError as exc:
        raise LogError("this is no public key in PEM") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise LogError("the key is of another kind than Ed25519")
    return key


def _read_body(text: str) -> Tree:
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0]:
        raise LogError("a checkpoint has an origin, a size and a root, a line each")
    if _DECIMAL.fullmatch(lines[1]) is None or int(lines[1]) > _SIZE_MAX:
        raise LogError("the checkpoint's size is no plain number")
    root = _base64(lines[2])
    if len(root) != _HASH_BYTES:
        raise LogError("the checkpoint's root has another length than SHA-256")
    return Tree(lines[0], int(lines[1]), root)


def _signature_line(line: str) -> tuple[bool, str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1]:
        raise LogError("a signature line is a dash, a name and base64")
    return True, parts[1], _base64(parts[2])


def _is_signed(text: bytes, sealed: bytes, known: list[tuple[bytes, Ed25519PublicKey]]) -> bool:
    for key_id, key in known:
        if sealed[:4] == key_id:
            try:
                key.verify(sealed[4:], text)
            except InvalidSignature as exc:
                raise LogError("the checkpoint's signature is false") from exc
            return True
    return False


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + raw).digest()[:4]


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as exc:
        raise LogError("this is no base64") from exc


def _check_hashes(proof: Sequence[bytes]) -> None:
    if len(proof) > 64 or any(len(step) != _HASH_BYTES for step in proof):
        raise LogError("a proof is a list of at most 64 hashes of 32 bytes")


def _inner(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
