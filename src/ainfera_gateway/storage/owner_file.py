"""A file that a process holds locked while it lives, so that others on its machine know at once when it has died.

A lease in the database runs out only after a while; the kernel drops a lock with its process, whatever killed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_FOLDER = "owners"


class OwnerFile:
    """The file of ``owner`` in ``data_dir``; ``hold`` before serving, ``release`` at a clean end."""

    def __init__(self, data_dir: Path, owner: str) -> None:
        self._folder = data_dir / _FOLDER
        self._path = self._folder / owner
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The lock comes before the name: a file that can be seen is held by whom it names, or by nobody any more.
        draft = self._path.with_name(f".{self._path.name}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(self._path)
        self._descriptor = descriptor

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def dead(self) -> list[str]:
        """Owners that served from this data directory and have died. ``forget`` one when that has been dealt with."""
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError):
            found = sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))
        return [name for name in found if name != self._path.name and not _is_held(self._folder / name)]

    def forget(self, owner: str) -> None:
        """Remove the file of a dead owner."""
        (self._folder / owner).unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # gone meanwhile: nothing to do here
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
