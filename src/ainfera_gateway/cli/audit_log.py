"""Proofs of the log above the chains, checked offline; and what was seen of a log before, kept beside them.

Whoever keeps the newest checkpoint it saw finds a log that was rolled back or rewritten, or that shows others another
history: the next checkpoint must contain it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ainfera_gateway.audit import merkle
from ainfera_gateway.audit.verify_log import (
    LogError,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_of,
    public_key,
    read_note,
)

Fetch = Callable[[str], bytes]
"""A path below the gateway's address to what it answers. Raises ``LogError``."""
_ROW = 8
_WIDTH = 256
_HASH = 32


def is_proof(document: Any) -> bool:
    """Whether this is a receipt with its proof, or the proof of an event."""
    return isinstance(document, dict) and ("proof_status" in document or {"log_index", "checkpoint"} <= document.keys())


def keys_of(document: Any) -> list[Ed25519PublicKey]:
    """The keys of a public key document that sign checkpoints. Raises ``LogError``."""
    pem = document.get("ed25519_public_key_pem") if isinstance(document, dict) else None
    if not isinstance(pem, str):
        raise LogError("the key document has no ed25519_public_key_pem")
    return [public_key(pem)]


def check_proof(document: dict[str, Any], keys: list[Ed25519PublicKey]) -> Tree:
    """The signed tree in which the document's event stands. Raises ``LogError``."""
    proof = document.get("proof", document)
    if not isinstance(proof, dict):
        raise LogError("this receipt has no proof yet: fetch it again in a second")
    event_hash, index = proof.get("event_hash"), proof.get("log_index")
    hashes, note = proof.get("hashes"), proof.get("checkpoint")
    if not isinstance(event_hash, str) or type(index) is not int or not isinstance(note, str):
        raise LogError("the proof lacks its event_hash, log_index or checkpoint")
    if not isinstance(hashes, list) or not all(isinstance(step, str) for step in hashes):
        raise LogError("the proof's hashes are no list of texts")
    if document is not proof and document.get("event_hash") != event_hash:
        raise LogError("the proof is of another event than the receipt")
    tree = read_note(note, keys)
    try:
        steps = [bytes.fromhex(step) for step in hashes]
    except ValueError as exc:
        raise LogError("the proof's hashes are no hex") from exc
    check_inclusion(leaf_of(event_hash), index, tree, steps)
    return tree


class SeenLogs:
    """A file with the newest checkpoint of each log that was verified: ``{origin: {size, root, keys}}``.

    ``keys`` are those it was verified with, in hex: a log that is signed by none of them any more is another's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, origin: str) -> Tree | None:
        """Raises ``LogError`` when the file is none of ours."""
        known = self._read().get(origin)
        return None if known is None else Tree(origin, int(known["size"]), bytes.fromhex(known["root"]))

    def put(self, tree: Tree, keys: list[Ed25519PublicKey]) -> None:
        """Keep ``tree`` as the newest of its log, durably. Raises ``LogError`` when it is signed by another than before."""
        documents = self._read()
        shown = _hex(keys)
        before = documents.get(tree.origin, {}).get("keys", shown)
        if not set(before) & set(shown):
            raise LogError(f"{tree.origin} is signed with another key than when it was seen before")
        known = documents | {tree.origin: {"size": tree.size, "root": tree.root.hex(), "keys": before}}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(known, indent=1, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_text("utf-8"))
            if all({"size", "root"} <= set(entry) <= {"size", "root", "keys"} for entry in document.values()):
                return dict(document)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as exc:
            raise LogError(f"{self._path} holds no checkpoints: move it away") from exc
        raise LogError(f"{self._path} holds no checkpoints: move it away")


def _hex(keys: list[Ed25519PublicKey]) -> list[str]:
    return sorted(key.public_bytes_raw().hex() for key in keys)


def follow(seen: SeenLogs, tree: Tree, keys: list[Ed25519PublicKey], fetch: Fetch | None) -> str:
    """Hold ``tree`` against what was seen of its log, and keep the newest; a sentence about how far that went.

    With ``fetch`` the gateway's present checkpoint and its tiles prove that one history contains all of them; without
    it only equal sizes can be compared. Raises ``LogError`` for a rollback, a rewritten log, or a second history.
    """
    known = seen.get(tree.origin)
    if fetch is None:
        if known is None:
            seen.put(tree, keys)
            return f"first checkpoint seen of this log: {tree.size} events"
        if known.size == tree.size:
            check_consistency(known, tree, [])
            seen.put(tree, keys)
            return f"the checkpoint that was seen before: {tree.size} events"
        return f"not held against the checkpoint of {known.size} events that was seen before: that needs --url"
    newest = read_note(_text(fetch("/log/checkpoint")), keys)
    for older in (tree, *((known,) if known is not None else ())):
        check_consistency(older, newest, _steps(older, newest, fetch))
    seen.put(newest, keys)
    return f"contained in the log as it stands: {newest.size} events"


def _steps(older: Tree, newest: Tree, fetch: Fetch) -> list[bytes]:
    """The consistency proof, put together from tiles; that it holds is checked by whoever asked."""
    if older.origin != newest.origin or older.size >= newest.size or older.size == 0:
        return []
    tiles: dict[tuple[int, int], list[bytes]] = {}

    def complete(level: int, index: int) -> bytes:
        row, up = divmod(level, _ROW)
        tile, place = divmod(index << up, _WIDTH)
        if (row, tile) not in tiles:
            width = min(_WIDTH, (newest.size >> (_ROW * row)) - tile * _WIDTH)
            tiles[row, tile] = _hashes(fetch(_tile_path(row, tile, width)), width)
        return merkle.fold_complete(tiles[row, tile][place : place + (1 << up)])

    return [merkle.range_hash(part, complete) for part in merkle.consistency_ranges(older.size, newest.size)]


def _tile_path(row: int, number: int, width: int) -> str:
    """As C2SP ``tlog-tiles`` writes it."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03d}")
    part = "" if width == _WIDTH else f".p/{width}"
    return f"/log/tile/{row}/{'/'.join(reversed(parts))}{part}"


def _hashes(data: bytes, width: int) -> list[bytes]:
    if len(data) != width * _HASH:
        raise LogError("a tile of the log has another length than its name says")
    return [data[at : at + _HASH] for at in range(0, len(data), _HASH)]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise LogError("the checkpoint is not UTF-8 text") from exc
