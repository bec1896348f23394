"""The log's tree against RFC 6962's own recursive definition, its published vectors, and tampered proofs."""

from __future__ import annotations

import base64
import random
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ainfera_gateway.audit import merkle
from ainfera_gateway.audit.checkpoint import sign_checkpoint
from ainfera_gateway.audit.verify_log import LogError, Tree, check_consistency, check_inclusion, leaf_of, read_note

# The eight leaves of the reference implementation's test vectors, and the roots of their first n.
INPUTS = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
ORIGIN = "ainfera.ai/log/test"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def oracle(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word; the leaves are hashed already."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + oracle(leaves[:k]) + oracle(leaves[k:])).digest()


def complete_of(leaves: list[bytes]) -> merkle.Complete:
    def complete(level: int, index: int) -> bytes:
        width = 1 << level
        part = leaves[index * width : (index + 1) * width]
        assert len(part) == width, "only complete subtrees are asked for"
        return merkle.fold_complete(part)

    return complete


def leaves_of(count: int) -> list[bytes]:
    return [sha256(b"%d" % number).digest() for number in range(count)]


def tree_of(leaves: list[bytes], size: int) -> Tree:
    return Tree(ORIGIN, size, oracle(leaves[:size]))


def test_the_published_roots() -> None:
    leaves = [sha256(b"\x00" + data).digest() for data in INPUTS]
    for size, wanted in enumerate(ROOTS, 1):
        assert merkle.root(size, complete_of(leaves)).hex() == wanted
    assert merkle.root(0, complete_of([])).hex() == sha256(b"").hexdigest()


def test_every_proof_of_every_size_to_130() -> None:
    leaves = leaves_of(130)
    complete = complete_of(leaves)
    trees = [tree_of(leaves, size) for size in range(131)]
    for size in range(1, 131):
        assert merkle.root(size, complete) == trees[size].root
        for index in range(size):
            proof = [merkle.range_hash(part, complete) for part in merkle.inclusion_ranges(index, size)]
            check_inclusion(leaves[index], index, trees[size], proof)
        for first in range(1, size + 1):
            proof = [merkle.range_hash(part, complete) for part in merkle.consistency_ranges(first, size)]
            check_consistency(trees[first], trees[size], proof)
    check_consistency(trees[0], trees[7], [])


def test_random_sizes_to_5000() -> None:
    dice = random.Random(6962)
    leaves = leaves_of(5000)
    complete = complete_of(leaves)
    for _ in range(60):
        size = dice.randint(2, 5000)
        first, index = dice.randint(1, size), dice.randrange(size)
        old, new = tree_of(leaves, first), tree_of(leaves, size)
        assert merkle.root(size, complete) == new.root
        check_inclusion(
            leaves[index], index, new,
            [merkle.range_hash(part, complete) for part in merkle.inclusion_ranges(index, size)],
        )  # fmt: skip
        check_consistency(
            old, new, [merkle.range_hash(part, complete) for part in merkle.consistency_ranges(first, size)]
        )


def test_no_changed_proof_is_believed() -> None:
    dice = random.Random(20)
    leaves = leaves_of(77)
    complete = complete_of(leaves)
    for _ in range(200):
        size = dice.randint(2, 77)
        index, first = dice.randrange(size), dice.randint(1, size - 1)
        included = [merkle.range_hash(part, complete) for part in merkle.inclusion_ranges(index, size)]
        grown = [merkle.range_hash(part, complete) for part in merkle.consistency_ranges(first, size)]
        tree = tree_of(leaves, size)
        for proof in changed(included, dice):
            with pytest.raises(LogError):
                check_inclusion(leaves[index], index, tree, proof)
        with pytest.raises(LogError):
            check_inclusion(leaves[(index + 1) % size], index, tree, included)
        with pytest.raises(LogError):
            check_inclusion(leaves[index], index, tree_of(leaves_of(78)[1:], size), included)
        for proof in changed(grown, dice):
            with pytest.raises(LogError):
                check_consistency(tree_of(leaves, first), tree, proof)
        with pytest.raises(LogError):
            check_consistency(Tree(ORIGIN, first, sha256(b"other").digest()), tree, grown)


def changed(proof: list[bytes], dice: random.Random) -> list[list[bytes]]:
    """The proof with a bit turned, a step left out, a step added, two steps swapped, a step cut."""
    made = [[*proof, sha256(b"more").digest()]]
    if proof:
        place = dice.randrange(len(proof))
        turned = bytearray(proof[place])
        turned[dice.randrange(32)] ^= 1 << dice.randrange(8)
        made += [
            [*proof[:place], bytes(turned), *proof[place + 1 :]],
            [*proof[:place], *proof[place + 1 :]],
            [*proof[:place], proof[place][:31], *proof[place + 1 :]],
        ]
    if len(proof) > 1:
        made.append([proof[1], proof[0], *proof[2:]])
    return made


def test_rollback_and_split_views_are_told_apart() -> None:
    leaves = leaves_of(9)
    with pytest.raises(LogError, match="rolled back"):
        check_consistency(tree_of(leaves, 9), tree_of(leaves, 8), [])
    with pytest.raises(LogError, match="different histories"):
        check_consistency(tree_of(leaves, 9), Tree(ORIGIN, 9, sha256(b"x").digest()), [])
    with pytest.raises(LogError, match="different logs"):
        check_consistency(tree_of(leaves, 3), Tree("elsewhere", 9, oracle(leaves)), [])
    for first, second in ((0, 3), (4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="not smaller"):
            merkle.consistency_ranges(first, second)
    for index, size in ((3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no such leaf"):
            merkle.inclusion_ranges(index, size)


def test_a_leaf_is_the_same_to_writer_and_verifier() -> None:
    event_hash = sha256(b"event").hexdigest()
    assert merkle.leaf_hash(event_hash) == leaf_of(event_hash)
    for wrong in ("", event_hash.upper(), event_hash[:-1], event_hash + "0", "g" * 64):
        with pytest.raises(LogError):
            leaf_of(wrong)


def test_a_note_byte_for_byte() -> None:
    root = sha256(b"root").digest()
    note = sign_checkpoint(ORIGIN, 7, root, KEY)
    assert note == (
        "ainfera.ai/log/test\n7\n"
        f"{base64.b64encode(root).decode()}\n\n"
        "\u2014 ainfera.ai/log/test " + note.rsplit(" ", 1)[1]
    )
    sealed = base64.b64decode(note.rsplit(" ", 1)[1])
    raw = KEY.public_key().public_bytes_raw()
    assert sealed[:4] == sha256(b"ainfera.ai/log/test\n\x01" + raw).digest()[:4]
    assert len(sealed) == 4 + 64
    assert read_note(note, [KEY.public_key()]) == Tree(ORIGIN, 7, root)
    other = Ed25519PrivateKey.generate()
    assert read_note(note + "\u2014 witness.example AAAAAA==\n", [other.public_key(), KEY.public_key()]).size == 7
    with pytest.raises(LogError, match="no known key"):
        read_note(note, [other.public_key()])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda note: note.replace("\n7\n", "\n8\n"), "false"),
        (lambda note: note.replace("\n7\n", "\n07\n"), "plain number"),
        (lambda note: note.replace("\n7\n", "\n-7\n"), "plain number"),
        (lambda note: note.replace("\n7\n", "\n99999999999999999\n"), "plain number"),
        (lambda note: note.replace("log/test\n7", "log/other\n7"), "no known key"),
        (lambda note: note.removesuffix("\n"), "no signed note"),
        (lambda note: note.replace("\n\n", "\n"), "no signed note"),
        (lambda note: note.replace("\u2014", "-"), "signature line"),
        (lambda note: note.replace("7\n", "7\r\n"), "no signed note"),
        (lambda note: "\n".join([*note.split("\n")[:2], "AAAA", *note.split("\n")[3:]]), "another length"),
        (lambda note: "\n".join([*note.split("\n")[:2], "!", *note.split("\n")[3:]]), "no base64"),
        (lambda note: note + "x" * (1 << 16) + "\n", "too long"),
        (lambda _: "", "no signed note"),
    ],
)  # fmt: skip
def test_a_note_that_is_none_is_refused(change: Any, said: str) -> None:
    note = sign_checkpoint(ORIGIN, 7, sha256(b"root").digest(), KEY)
    with pytest.raises(LogError, match=said):
        read_note(change(note), [KEY.public_key()])
