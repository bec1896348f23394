"""The Merkle tree of RFC 6962 over the log, for whoever grows it and makes proofs. Pure.

What a range of leaves hashes to is put together from complete subtrees, which a ``Complete`` gives; nothing here knows
where those are kept. Verification is written down a second time, in ``verify_log.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

LEAF_PREFIX = b"ainfera.audit.v1 "
"""What a leaf's data begins with; the event's hash in hex follows."""

Complete = Callable[[int, int], bytes]
"""(level, index) to the hash of the complete subtree of ``2 ** level`` leaves that begins at ``index * 2 ** level``."""
Range = tuple[int, int]
"""Leaves from the first to before the second."""


def leaf_hash(event_hash: str) -> bytes:
    """The hash of the leaf of an event, from the event's own hash (64 hex characters)."""
    return sha256(b"\x00" + LEAF_PREFIX + event_hash.encode()).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def fold_complete(hashes: Sequence[bytes]) -> bytes:
    """The root over 1, 2, 4, 8 … neighbours of one level."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def range_hash(leaves: Range, complete: Complete) -> bytes:
    """What the leaves of a range hash to. A range here always begins where its largest complete subtree does."""
    low, high = leaves
    size = high - low
    if size == 0:
        return sha256(b"").digest()
    if size & (size - 1) == 0:
        return complete(size.bit_length() - 1, low // size)
    middle = low + _split(size)
    return node_hash(range_hash((low, middle), complete), range_hash((middle, high), complete))


def root(size: int, complete: Complete) -> bytes:
    """The root of the log's first ``size`` leaves."""
    return range_hash((0, size), complete)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove the leaf ``index`` in a tree of ``size``, from the leaf up (RFC 6962, 2.1.1).

    Raises ``ValueError`` unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError("there is no such leaf in a tree of that size")
    low, high = 0, size
    path: list[Range] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    return path[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The ranges whose hashes prove that the tree of ``first`` leaves begins that of ``second`` (RFC 6962, 2.1.2).

    Raises ``ValueError`` unless 0 < first <= second.
    """
    if not 0 < first <= second:
        raise ValueError("a tree can only be consistent with one that is not smaller")
    low, high = 0, second
    path: list[Range] = []
    while first != high:
        middle = low + _split(high - low)
        if first <= middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    if low > 0:
        path.append((low, high))
    return path[::-1]


def _split(size: int) -> int:
    """The largest power of two below ``size`` (which is at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)
