"""Reads on the way of a call: off the loop, and never for longer than a caller can be kept waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ainfera_gateway.errors import ledger_unavailable

READ_WAIT_S = 1.5
"""With T1's wait this stays, for a database that has gone away, near two seconds."""

P = ParamSpec("P")
T = TypeVar("T")

# Threads of their own: when the database hangs they hang with it, and nothing else may.
_threads = ThreadPoolExecutor(16, thread_name_prefix="read")


def is_away(error: BaseException) -> bool:
    """Whether this is how a database fails that cannot be reached or does not answer."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


async def read_soon(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the blocking ``read`` returns. Raises what it raises; 503 ``ledger_unavailable`` where nothing answers."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(READ_WAIT_S):
            return await loop.run_in_executor(_threads, lambda: read(*args, **kwargs))
    except TimeoutError as exc:
        raise ledger_unavailable() from exc
    except Exception as exc:
        if is_away(exc):
            raise ledger_unavailable() from exc
        raise
