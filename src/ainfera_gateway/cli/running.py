"""What a running gateway leaves in its data directory, so that ``doctor`` sees its settings and not its own shell's.

One file a gateway, for its owner alone, without secrets. The gateway holds a lock on it for as long as it lives: a
file that can be locked was left by one that was killed, whatever process has its number now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ainfera_gateway.config_tables import NO_OVERLAY, Overlay
from ainfera_gateway.logs.scrub import scrub_text
from ainfera_gateway.settings import READERS, Settings
from ainfera_gateway.storage.engine import Database

_PREFIX = "serving-"
_SUFFIX = ".json"
_FILE_BYTES_MAX = 1 << 20
_LEFT_OUT = frozenset({"internal_key", "data_key", "database_url", "data_dir"})
"""Two secrets; the database's address, which may hold a password and is written on its own; and where the file lies."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that is alive. ``settings`` are fields of ``Settings`` without secrets, ``providers`` slugs."""

    pid: int
    url: str
    version: str
    started_us: int
    providers: frozenset[str]
    has_internal_key: bool
    database: str
    database_has_password: bool
    settings: Mapping[str, Any]
    overlay: Overlay = NO_OVERLAY

    def in_force(self, own: Settings) -> Settings:
        """Its settings; the secrets, and a database's address with a password in it, are those of ``own``."""
        known = {name: value for name, value in self.settings.items() if name in _fields()}
        merged = replace(own, **known, overlay=self.overlay)
        return merged if self.database_has_password else replace(merged, database_url=self.database)


def shown_database(settings: Settings) -> str:
    """The database's address as the file has it: from any directory the same, without a password."""
    database = Database(settings.database)
    return f"sqlite:///{Path(database.path).absolute()}" if database.is_sqlite else scrub_text(database.url)


def _fields() -> frozenset[str]:
    return frozenset(field for field, _ in READERS.values()) - _LEFT_OUT


class RunningFile:
    """The file of this process. ``write`` once the port is open, ``remove`` at a clean stop; both may be left out."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path: Path | None = None
        self._descriptor: int | None = None

    def write(self, settings: Settings, *, url: str, version: str, providers: frozenset[str], started_us: int) -> None:
        """Raises ``OSError``. Files of gateways that were killed are swept away first."""
        for path in _files(self._data_dir):
            if _read(path) is None:
                path.unlink(missing_ok=True)
        database = Database(settings.database)
        shown = shown_database(settings)
        values = {name: getattr(settings, name) for name in sorted(_fields())}
        if settings.local_model:
            values["local_model"] = str(Path(settings.local_model).absolute())
        document = {
            "pid": os.getpid(),
            "url": url,
            "version": version,
            "started_us": started_us,
            "providers": sorted(providers),
            "has_internal_key": bool(settings.internal_key),
            "database": shown,
            "database_has_password": not database.is_sqlite and shown != database.url,
            "settings": values,
            "overlay": msgspec.to_builtins(settings.overlay),
        }
        # Locked before it has its name: nobody may find it unlocked. mkstemp makes it for its owner alone.
        descriptor, name = tempfile.mkstemp(prefix=".serving-", dir=self._data_dir)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps(document, indent=1).encode())
        self._path = self._data_dir / f"{_PREFIX}{Path(name).name.removeprefix('.serving-')}{_SUFFIX}"
        Path(name).rename(self._path)
        self._descriptor = descriptor

    def remove(self) -> None:
        """Safe to call twice, and without ``write``."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def running_gateways(data_dir: Path) -> list[RunningGateway]:
    """The gateways alive on ``data_dir``, the newest first; what killed ones left is passed over."""
    found = [gateway for path in _files(data_dir) if (gateway := _read(path)) is not None]
    return sorted(found, key=lambda gateway: gateway.started_us, reverse=True)


def _files(data_dir: Path) -> Iterator[Path]:
    yield from sorted(data_dir.glob(f"{_PREFIX}*{_SUFFIX}"))


def _read(path: Path) -> RunningGateway | None:
    """``None`` when the process that wrote the file is gone, or the file is not of this form."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _decoded(file.read(_FILE_BYTES_MAX))
            return None
    except OSError:
        return None  # removed meanwhile, or another user's


def _decoded(data: bytes) -> RunningGateway | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        document = json.loads(data)
        providers = frozenset(document["providers"])
        overlay = msgspec.convert(document.get("overlay", {}), Overlay)
        return RunningGateway(**{**document, "providers": providers, "overlay": overlay})
    return None
