"""Ids: UUIDv7, in order within the process whatever the clock and the threads do."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway import ids
from ainfera_gateway.ids import is_id, new_id


@pytest.fixture(autouse=True)
def _own_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that moves the clock leaves nothing behind."""
    monkeypatch.setattr(ids, "_last_ms", ids._last_ms)
    monkeypatch.setattr(ids, "_counter", ids._counter)


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid.UUID(new_id())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    # A burst of ids may have carried into the next millisecond, hence the room above.
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1_000


def test_ids_are_strictly_increasing_text() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_ids_stay_in_order_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([5_000, 5_000, 4_000, 10, 5_001])
    monkeypatch.setattr(ids, "_last_ms", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: next(moments) * 1_000_000)
    made = [new_id() for _ in range(5)]
    assert made == sorted(set(made))


def test_a_full_counter_moves_into_the_next_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last_ms", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: 7_000 * 1_000_000)
    made = [new_id() for _ in range(9_000)]
    assert made == sorted(set(made))
    assert uuid.UUID(made[0]).int >> 80 == 7_000
    assert uuid.UUID(made[-1]).int >> 80 > 7_000


def test_threads_never_share_an_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def work(own: list[str]) -> None:
        own += [new_id() for _ in range(3_000)]

    threads = [threading.Thread(target=work, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own == sorted(own) for own in made)
    assert len({one for own in made for one in own}) == 12_000


def test_new_ids_are_ids() -> None:
    assert all(is_id(new_id()) for _ in range(100))


@given(st.uuids())
def test_every_uuid_in_canonical_form_is_an_id(value: uuid.UUID) -> None:
    assert is_id(str(value))
    assert is_id(str(value).upper()) == (str(value).upper() == str(value))


@pytest.mark.parametrize(
    "text",
    [
        "", "agent", "0" * 36, "0" * 32, "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5d-ac96-774b-bcce-b302099a80577", "01890a5d-ac96-774b-bcce-b302099a805g", "01890A5D-AC96-774B-BCCE-B302099A8057",
        "01890a5d_ac96_774b_bcce_b302099a8057", "01890a5d-ac96-774b-bcce-b302099a805\n", "-1890a5d-ac96-774b-bcce-b302099a805-",
        "01890a5d-ac96-774b-bcce-b302099a80५7",
    ],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)
