"""One change, one transaction: how a unit reaches the recorder, and what its failures become."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import asyncpg

from ainfera_gateway.control.context import Control
from ainfera_gateway.errors import GatewayError, ledger_unavailable
from ainfera_gateway.storage.page import Unit

_HANDLE_SQLITE = "agents.owner_handle, agents.handle"
_HANDLE_POSTGRES = "uq_agents_owner_handle_handle"

_log = logging.getLogger("ainfera.control")


def commit(control: Control, unit: Unit) -> Any:
    """Apply ``unit`` durably and return what it returned.

    Raises the unit's own refusal; 409 ``handle_taken`` when another agent has the handle; 503 ``ledger_unavailable``
    when the engine could not write.
    """
    try:
        return control.recorder.submit_from_thread(unit)
    except (sqlite3.IntegrityError, asyncpg.UniqueViolationError) as exc:
        if is_handle_clash(exc):
            raise handle_taken() from exc
        raise
    except (sqlite3.OperationalError, OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError) as exc:
        _log.exception("a change could not be written", extra={"event": "control_write_failed"})
        raise ledger_unavailable() from exc


def is_handle_clash(exc: Exception) -> bool:
    """Whether a unique constraint refused the handle of an agent, and nothing else."""
    if isinstance(exc, asyncpg.UniqueViolationError):
        return bool(getattr(exc, "constraint_name", "") == _HANDLE_POSTGRES)
    return _HANDLE_SQLITE in str(exc)


def handle_taken() -> GatewayError:
    """409: the handle belongs to another agent of the same owner, or to a path of ours."""
    return GatewayError(409, "handle_taken", "This handle is taken; choose another.", field="agent_handle")
