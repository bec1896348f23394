"""One process serves one SQLite database: a second would take the first one's open calls for abandoned ones."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class DatabaseInUseError(OSError):
    """Another gateway serves this database."""


class DatabaseLock:
    """An advisory lock beside the database file, held until ``release`` or the end of the process."""

    def __init__(self, database_path: str) -> None:
        self._path = Path(f"{database_path}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises ``DatabaseInUseError`` at once when another process holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            raise DatabaseInUseError(
                "another gateway serves this SQLite database; stop it, choose another data directory, or use PostgreSQL"
            ) from exc
        self._descriptor = descriptor

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
