"""Tasks that no request owns: a caller who hangs up cannot stop a settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ainfera_gateway.errors import overloaded

T = TypeVar("T")


class Supervisor:
    """A bounded, strongly held set of tasks, waited for before the recorder stops."""

    def __init__(self, tasks_max: int = 4096) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tasks_max = tasks_max
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start ``work``; raises 503 ``overloaded`` when the set is full or closed."""
        if self._closed or len(self._tasks) >= self._tasks_max:
            work.close()
            raise overloaded()
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Nothing is started any more; what runs goes on."""
        self._closed = True

    def cut(self) -> int:
        """Cancel all tasks, which then end in good order; returns how many those are."""
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    async def drain(self, timeout_s: float) -> int:
        """Wait for all tasks; cancel what is left after ``timeout_s`` and wait for its end. Returns how many those were."""
        if not self._tasks:
            return 0
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=10)
        return len(late)
