"""The control plane over a real SQLite file, in this process, behind a door that only fills in the request's context."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.agents.keys import hash_key
from ainfera_gateway.api.context import RequestContext
from ainfera_gateway.api.control_plane import build
from ainfera_gateway.audit.integrator import Integrator
from ainfera_gateway.audit.keys import public_key_document
from ainfera_gateway.audit.seal import seal
from ainfera_gateway.catalog.seed import seed_catalog
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.seed import seed
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.engine import Database, migrate
from ainfera_gateway.storage.recorder import SqliteRecorder
from ainfera_gateway.storage.sqlite_driver import SqliteDriver

TABLES = ("tenants", "agents", "agent_cards", "wallets", "transfers", "api_keys", "audit_events", "settings_changes")
TRACE = "ab" * 16
BASE = "http://gateway.test"


class ControlApp:
    """Runs a loop in a thread of its own; ``ask`` is a plain call from the test."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self._directory = directory
        self.settings = Settings(data_dir=directory, **settings)
        self.changed: list[str] = []
        self.data_key = os.urandom(32)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._start())

    async def _start(self) -> None:
        database = Database(self.settings.database)
        migrate(database)
        clock = SystemClock()
        self.reader = database.reader()
        self.recorder = SqliteRecorder(SqliteDriver(database.path, seal, clock.now_us, "tests", synchronous="NORMAL"))
        self.seeded = await seed(self.recorder, self.reader)
        self.killswitch = KillSwitch(clock, threshold_picousd=50 * 10**12, enabled=True, pinned=True)
        self.integrator = Integrator(self.recorder, self.reader)
        hmac_key = os.urandom(32)
        self.control = Control(
            settings=self.settings,
            recorder=self.recorder,
            reader=self.reader,
            data_key=self.data_key,
            chain_hmac_key=hmac_key,
            public_key_document=public_key_document(hmac_key, Ed25519PrivateKey.generate().public_key()),
            clock=clock,
            changed=self.changed.append,
            catalog=seed_catalog,
            configured=lambda: frozenset({"local", "mistral"}),
            killswitch_state=self.killswitch.state,
            set_killswitch=self._set_killswitch,
        )
        app = self.api = build(self.control)

        async def door(scope: Any, receive: Any, send: Any) -> None:
            scope["ainfera"] = self._context(dict(scope["headers"]))
            await app(scope, receive, send)

        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url=BASE)

    def _set_killswitch(self, engaged: bool | None, threshold_picousd: int | None) -> None:
        if threshold_picousd is not None:
            self.killswitch.set_threshold(threshold_picousd)
        if engaged is not None:
            self.killswitch.set_by_hand(engaged)

    def _context(self, headers: dict[bytes, bytes]) -> RequestContext:
        """What the real door would have found; a revoked or unknown key is nobody."""
        address = headers.get(b"x-test-address", b"127.0.0.1").decode()
        context = RequestContext(TRACE, "cd" * 8, address, "", "native", internal=b"x-ainfera-internal-key" in headers)
        bearer = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if bearer:
            rows = self.rows(
                "SELECT id, tenant_id, agent_id, scope, key_hash FROM api_keys WHERE key_hash = ? AND revoked_us IS NULL",
                hash_key(bearer),
            )
            context.caller = Caller(*rows[0]) if rows else None
        return context

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)

    def ask(
        self, method: str, path: str, key: str | None = None, *, internal: bool = False, **more: Any
    ) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        if internal:
            headers["x-ainfera-internal-key"] = "x"
        if "content" in more:
            headers["content-type"] = "application/json"
        return self.run(self._client.request(method, path, headers=headers, **more))

    def signup(self, handle: str, **more: Any) -> dict[str, Any]:
        response = self.ask("POST", "/v1/agents/signup", json={"agent_handle": handle}, **more)
        assert response.status_code == 201, response.text
        return response.json()

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._directory / "ainfera.db")
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def tamper(self, table: str, sql: str, *values: Any) -> None:
        """Change what is append-only, as somebody with the file would."""
        connection = sqlite3.connect(self._directory / "ainfera.db")
        try:
            triggers = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
            ).fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(sql, values)
            for _, definition in triggers:
                connection.execute(definition)
            connection.commit()
        finally:
            connection.close()

    def position(self) -> int:
        return self.run(self.integrator.run_once())

    def close(self) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        await self._client.aclose()
        await self.recorder.close()
        self.reader.dispose()
        await self._loop.shutdown_default_executor()


def counts(app: ControlApp) -> dict[str, int]:
    return {table: app.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def events(app: ControlApp, agent_id: str) -> list[dict[str, Any]]:
    rows = app.rows("SELECT payload FROM audit_events WHERE agent_id = ? ORDER BY seq", agent_id)
    return [json.loads(payload) for (payload,) in rows]


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def fields(response: Any) -> list[str]:
    body = response.json()
    assert body["code"] == body["error"] == body["detail"]["code"] == "validation_error"
    assert body["request_id"] == "ab" * 16
    return [fault["field"] for fault in body["detail"]["fields"]]
