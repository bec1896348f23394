"""The gateway's own command with places to fail at: `python -m tests.crash.faulty FILE serve ...`.

The seconds in FILE.clock are added to the time of day, whenever somebody asks for it.

The product holds none of this. What is wrapped here looks at FILE when it is passed; a file that names the place and
an action is taken (removed) by the first who passes, and the action happens there and then:

* ``kill``: SIGKILL to this process; * ``raise``: an exception that nobody expects; * ``cancel``: the task that passes
  is cancelled; * ``hang``: longer than a call waits for its ledger; * ``cut``: the recorder's connection is dropped.

Places: ``open``, ``next``, ``settle`` (the commits of a call) and ``attempt``, each ``.before`` and ``.after``;
``head``, ``write``, ``finish``, ``answer`` (what is about to be written to the caller); ``commit.N`` (after the N-th
commit of any call since the file was written).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ainfera_gateway.api import calls
from ainfera_gateway.cli.main import main
from ainfera_gateway.inference.dispatch import Dispatch
from ainfera_gateway.storage.recorder import PostgresRecorder, SqliteRecorder

HANG_S = 2.5
UNITS = {"OpenCall": "open", "NextAttempt": "next", "SettleCall": "settle"}


class FaultError(Exception):
    """What ``raise`` raises."""


class Now:
    """What is known while the command runs."""

    file = Path()
    written = 0  # which writing of the file the commits are counted for
    commits = 0
    recorder: Any = None


def asked() -> str:
    """What the file says, empty when there is none."""
    try:
        written = Now.file.stat().st_mtime_ns
        text = Now.file.read_text()
    except FileNotFoundError:
        return ""
    if written != Now.written:
        Now.written, Now.commits = written, 0
    return text


async def passing(place: str) -> None:
    """Do here what the file asks for, if it asks for this place."""
    wanted, _, action = asked().partition(" ")
    if wanted != place:
        return
    Now.file.unlink()
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise FaultError(place)
    elif action == "cancel":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
    elif action == "hang":
        await asyncio.sleep(HANG_S)
    elif action == "cut":
        Now.recorder._driver._connection.terminate()


def around(owner: Any, method: str, name: Callable[..., str | None], *, after: bool = True) -> None:
    """Wrap a method: ``name`` says from its arguments which place it is."""
    inner = getattr(owner, method)

    async def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, SqliteRecorder | PostgresRecorder):
            Now.recorder = self
        place = name(*args)
        if place is None:
            return await inner(self, *args, **kwargs)
        await passing(f"{place}.before" if after else place)
        result = await inner(self, *args, **kwargs)
        if after:
            await passing(f"{place}.after")
        if method == "submit":
            asked()
            Now.commits += 1
            await passing(f"commit.{Now.commits}")
        return result

    setattr(owner, method, wrapped)


def place_of(unit: Any) -> str | None:
    """Units of calls have facts; of those without a name of their own each is ``other``."""
    return UNITS.get(type(unit).__name__, "other") if hasattr(unit, "facts") else None


def shifted(inner: Callable[[], int]) -> Callable[[], int]:
    """The time of day in nanoseconds, moved by what FILE.clock says."""

    def time_ns() -> int:
        try:
            return inner() + int(Now.file.with_suffix(".clock").read_text() or 0) * 1_000_000_000
        except FileNotFoundError:
            return inner()

    return time_ns


if __name__ == "__main__":
    Now.file = Path(sys.argv.pop(1))
    time.time_ns = shifted(time.time_ns)
    for recorder in (SqliteRecorder, PostgresRecorder):
        around(recorder, "submit", place_of)
    around(Dispatch, "attempt", lambda *_: "attempt")
    for method, place in (("start_stream", "head"), ("write", "write"), ("finish", "finish"), ("answer", "answer")):
        around(calls._Sink, method, lambda *_, place=place: place, after=False)
    main()
