"""Two processes never serve one SQLite database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainfera_gateway.storage.lock import DatabaseInUseError, DatabaseLock


def test_the_second_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = DatabaseLock(str(tmp_path / "a.db")), DatabaseLock(str(tmp_path / "a.db"))
    other = DatabaseLock(str(tmp_path / "b.db"))
    first.acquire()
    other.acquire()
    with pytest.raises(DatabaseInUseError, match="another gateway"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()
    other.release()
