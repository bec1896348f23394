"""The log above the chains on both engines: it grows with the positions, contradicts itself never, and shows tampering."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ainfera_gateway.audit import log_growth, log_store, merkle
from ainfera_gateway.audit.fsck import check_log
from ainfera_gateway.audit.integrator import Integrator
from ainfera_gateway.audit.keys import GatewayKeys, load_or_create_keys
from ainfera_gateway.audit.log_growth import next_growth
from ainfera_gateway.audit.log_store import LogDamagedError, LogReader, inclusion_proof, newest_checkpoint
from ainfera_gateway.audit.verify_log import Tree, check_consistency, check_inclusion, leaf_of, read_note
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, Append, gather

ORIGIN = "ainfera.ai/log/tests"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> GatewayKeys:
    return load_or_create_keys(tmp_path_factory.mktemp("keys"))


def integrator_of(store: Store, recorder: Any, keys: GatewayKeys) -> Integrator:
    return Integrator(recorder, store.reader(), partial(next_growth, origin=ORIGIN, keys=keys))


def grown(store: Store, keys: GatewayKeys, counts: list[int]) -> list[Tree]:
    """A log that grew in steps of so many events; its checkpoints."""

    async def scenario() -> None:
        async with store.recorder() as recorder:
            integrator = integrator_of(store, recorder, keys)
            for count in counts:
                await gather(recorder, [Append(AGENTS[n % 7]) for n in range(count)])
                await integrator.run_once()

    run(scenario())
    return trees(store, keys)


def trees(store: Store, keys: GatewayKeys) -> list[Tree]:
    notes = [row[0] for row in store.rows("SELECT note FROM log_checkpoints ORDER BY size")]
    return [read_note(note, [keys.checkpoint_key.public_key()]) for note in notes]


def leaves(store: Store) -> list[bytes]:
    return [leaf_of(row[0]) for row in store.rows("SELECT event_hash FROM log_positions ORDER BY position")]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962's definition, without anything that is stored."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def test_checkpoints_follow_the_events_and_each_contains_the_one_before(store: Store, keys: GatewayKeys) -> None:
    seen = grown(store, keys, [1, 1, 5, 250, 0, 300, 700])
    assert [tree.size for tree in seen] == [1, 2, 7, 257, 557, 1257]
    all_leaves = leaves(store)
    with store.reader().connect() as conn:
        reader = LogReader(conn)
        for tree in seen:
            assert tree.root == naive_root(all_leaves[: tree.size])
            for older in seen:
                if older.size <= tree.size:
                    parts = merkle.consistency_ranges(older.size, tree.size)
                    check_consistency(older, tree, [merkle.range_hash(part, reader.complete) for part in parts])
        newest = newest_checkpoint(conn)
        assert newest is not None
        for position in (0, 1, 6, 255, 256, 257, 511, 512, 1255, 1256):
            proof = inclusion_proof(conn, position, newest)
            hashes = [bytes.fromhex(step) for step in proof["hashes"]]
            check_inclusion(leaf_of(proof["event_hash"]), position, seen[-1], hashes)
    assert store.rows("SELECT level, place FROM log_nodes ORDER BY level, place") == [(8, n) for n in range(4)]


def test_a_log_that_was_never_signed_is_caught_up_with_in_bounded_steps(
    store: Store, keys: GatewayKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_growth, "GROW_MAX", 256)

    async def scenario() -> None:
        async with store.recorder() as recorder:
            await gather(recorder, [Append(AGENTS[n % 7]) for n in range(1000)])
            await Integrator(recorder, store.reader()).run_once()
            assert store.value("SELECT COUNT(*) FROM log_checkpoints") == 0
            await integrator_of(store, recorder, keys).run_once()

    run(scenario())
    seen = trees(store, keys)
    assert [tree.size for tree in seen] == [256, 512, 768, 1000]
    assert seen[-1].root == naive_root(leaves(store))


def test_two_who_grow_it_at_once_leave_one_history(store: Store, keys: GatewayKeys) -> None:
    async def scenario() -> None:
        async with store.recorder() as one, store.recorder() as two:
            stop = asyncio.Event()
            both = [integrator_of(store, recorder, keys) for recorder in (one, two)]
            running = [asyncio.create_task(each.run(stop, interval_s=0.001)) for each in both]
            for _ in range(20):
                await gather(one, [Append(AGENTS[n % 7]) for n in range(30)])
            stop.set()
            await asyncio.gather(*running)

    run(scenario())
    seen = trees(store, keys)
    all_leaves = leaves(store)
    assert seen[-1].size == len(all_leaves) == 600
    assert all(tree.root == naive_root(all_leaves[: tree.size]) for tree in seen)


def test_nothing_is_signed_that_contradicts_what_was_signed(store: Store, keys: GatewayKeys) -> None:
    grown(store, keys, [20])
    store.drop_triggers()
    with store.tampering() as conn:
        conn.execute(text("UPDATE log_positions SET event_hash = :h WHERE position = 3"), {"h": "0" * 64})

    async def scenario() -> None:
        async with store.recorder() as recorder:
            await recorder.submit(Append(AGENTS[0]))
            with pytest.raises(LogDamagedError, match="checkpoint of size 20"):
                await integrator_of(store, recorder, keys).run_once()

    run(scenario())
    assert [tree.size for tree in trees(store, keys)] == [20]


def test_a_sound_log_is_found_sound(store: Store, keys: GatewayKeys) -> None:
    grown(store, keys, [3, 290, 41])
    with store.reader().connect() as conn:
        found = check_log(conn, [keys.checkpoint_key.public_key()])
    assert (found.problems, found.events, found.checkpoints) == ([], 334, 3)


Tamper = Callable[[Any, random.Random], None]


def _event(conn: Any, dice: random.Random) -> tuple[str, int, int]:
    position = dice.randrange(330)
    row = conn.execute(text("SELECT agent_id, seq FROM log_positions WHERE position = :p"), {"p": position}).one()
    return row[0], row[1], position


def _change(table: str, column: str) -> Tamper:
    def tamper(conn: Any, dice: random.Random) -> None:
        agent_id, seq, _ = _event(conn, dice)
        conn.execute(
            text(f"UPDATE {table} SET {column} = :v WHERE agent_id = :a AND seq = :s"),
            {"v": f"{dice.getrandbits(256):064x}", "a": agent_id, "s": seq},
        )

    return tamper


def _remove(table: str) -> Tamper:
    def tamper(conn: Any, dice: random.Random) -> None:
        agent_id, seq, _ = _event(conn, dice)
        conn.execute(text(f"DELETE FROM {table} WHERE agent_id = :a AND seq = :s"), {"a": agent_id, "s": seq})

    return tamper


def _swap(conn: Any, dice: random.Random) -> None:
    first = dice.randrange(300)
    rows = conn.execute(
        text("SELECT position, event_hash FROM log_positions WHERE position IN (:a, :b)"), {"a": first, "b": first + 9}
    ).all()
    for (position, _), (_, other) in zip(rows, rows[::-1], strict=True):
        conn.execute(text("UPDATE log_positions SET event_hash = :h WHERE position = :p"), {"h": other, "p": position})


def _cut(conn: Any, dice: random.Random) -> None:
    kept = dice.randrange(1, 330)
    for statement in (
        "DELETE FROM log_positions WHERE position >= :k",
        "DELETE FROM log_nodes",
        "DELETE FROM log_checkpoints WHERE size > :k",
    ):
        conn.execute(text(statement), {"k": kept} if ":k" in statement else {})


def _on(statement: str) -> Tamper:
    def tamper(conn: Any, dice: random.Random) -> None:
        conn.execute(text(statement), {"v": f"{dice.getrandbits(256):064x}"} if ":v" in statement else {})

    return tamper


TAMPERED: dict[str, Tamper] = {
    "an event's payload": _change("audit_events", "payload"),
    "an event's hash": _change("audit_events", "event_hash"),
    "an event's other hash": _change("audit_events", "verifier_hash"),
    "an event removed": _remove("audit_events"),
    "an event's type": _change("audit_events", "event_type"),
    "a position's hash": _change("log_positions", "event_hash"),
    "a position removed": _remove("log_positions"),
    "a position's type": _change("log_positions", "event_type"),
    "two positions swapped": _swap,
    "the log cut at its end": _cut,
    "a node": _on("UPDATE log_nodes SET hash = :v"),
    "a checkpoint's root": _on("UPDATE log_checkpoints SET root = :v WHERE size = 293"),
    "a checkpoint's note": _on("UPDATE log_checkpoints SET note = :v WHERE size = 334"),
}


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_found_with_the_last_checkpoint_in_hand(
    store: Store, keys: GatewayKeys, tmp_path: Path, what: str
) -> None:
    """Twenty places each, on copies of one log; whoever tampers holds the file, not the key."""
    kept = grown(store, keys, [3, 290, 41])[-1]
    store.drop_triggers()
    dice = random.Random(what)
    for _ in range(20):
        with store.tampering() as conn:
            TAMPERED[what](conn, dice)
            found = check_log(conn, [keys.checkpoint_key.public_key()], known=kept)
            assert found.problems, what
            conn.rollback()
    with store.reader().connect() as conn:
        assert check_log(conn, [keys.checkpoint_key.public_key()], known=kept).problems == []


def test_tiles_are_read_as_they_were_signed(store: Store, keys: GatewayKeys) -> None:
    grown(store, keys, [600])
    with store.reader().connect() as conn:
        reader = LogReader(conn)
        assert [len(reader.tile(0, number)) for number in range(4)] == [256, 256, 88, 0]
        assert reader.tile(1, 0) == [merkle.fold_complete(leaves(store)[low : low + 256]) for low in (0, 256)]
        with pytest.raises(LogDamagedError):
            reader.complete(9, 1)
    assert log_store.TILE_WIDTH == 256
