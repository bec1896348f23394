"""Settlements that the database could not take, each in a file of its own until it can.

A file is whole or not there: written aside, flushed to the disk, then named. It holds what T2 would have written, so
no text of a prompt, and of an answer only what was sealed for its idempotency key.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ainfera_gateway.inference.records import CallEnd, CallFacts

_VERSION = 1
_SUFFIX = ".json"

_log = logging.getLogger("ainfera.spool")


@dataclass(frozen=True, slots=True)
class Owed:
    """The settlement of one call that the ledger still lacks."""

    facts: CallFacts
    end: CallEnd
    v: int = _VERSION

    @property
    def name(self) -> str:
        """What it is known by: the id of the attempt that ended the call."""
        return self.end.attempt.attempt_id


class Spool:
    """The folder of such files. Several processes of one data directory may share it. Blocking; raises ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, owed: Owed) -> None:
        """Durable when it returns."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{owed.name}"
        try:
            with open(draft, "wb", opener=_private) as file:
                file.write(msgspec.json.encode(owed))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._path(owed.name))
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        self._flush_names()

    def names(self) -> set[str]:
        """The names of what is kept."""
        try:
            found = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return set()
        return {name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX) and not name.startswith(".")}

    def read(self, name: str) -> Owed | None:
        """What is kept under ``name``; ``None`` when another process has dealt with it.

        A file that cannot be read is set aside under another name, for a person to look at.
        """
        path = self._path(name)
        try:
            owed = msgspec.json.decode(path.read_bytes(), type=Owed)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            path.rename(path.with_suffix(".unreadable"))
            _log.exception("a kept settlement cannot be read", extra={"event": "spool_unreadable", "attempt_id": name})
            return None
        return owed

    def drop(self, name: str) -> None:
        """Forget it. Should the name come back after a crash, settling it again changes nothing."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _flush_names(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
