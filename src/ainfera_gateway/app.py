"""The composition root: settings become rooms, rooms become one ASGI app with a lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from ainfera_gateway.api.asgi import App, Receive, Scope, Send
from ainfera_gateway.api.calls import CallHandler
from ainfera_gateway.api.control_plane import build as build_control_plane
from ainfera_gateway.api.count_tokens import CountTokensHandler
from ainfera_gateway.api.door import Door
from ainfera_gateway.api.hot import MetricsPage, Readiness, health, root
from ainfera_gateway.api.routes import ROUTES, RouteTable
from ainfera_gateway.audit.heights import chain_figures
from ainfera_gateway.audit.integrator import Integrator
from ainfera_gateway.audit.keys import GatewayKeys, load_or_create_keys, public_key_document
from ainfera_gateway.audit.log_growth import next_growth
from ainfera_gateway.audit.log_store import NameLog, read_origin
from ainfera_gateway.audit.seal import seal
from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.catalog.overlay import with_overlay
from ainfera_gateway.catalog.store import load_catalog
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.control.claim_keys import claim_keys
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.seed import seed as seed_catalog
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.count import TokenCounter
from ainfera_gateway.inference.dispatch import House
from ainfera_gateway.inference.facts import Facts
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.late import LateSettlements
from ainfera_gateway.inference.neighbours import Neighbours
from ainfera_gateway.inference.prepare import Planner
from ainfera_gateway.inference.recover import Recovery
from ainfera_gateway.inference.refusals import Refusals
from ainfera_gateway.inference.spool import Spool
from ainfera_gateway.inference.supervisor import Supervisor
from ainfera_gateway.ledger.laws import LAWS
from ainfera_gateway.ledger.watch import LawWatch
from ainfera_gateway.limits import Buckets
from ainfera_gateway.metrics.registry import Registry
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.policy.store import load_verdicts
from ainfera_gateway.providers.adapter import ProviderAdapter
from ainfera_gateway.providers.backend import Backend, Backends
from ainfera_gateway.providers.configured import LOCAL, backend_of, configured_backends
from ainfera_gateway.providers.http import UpstreamClient
from ainfera_gateway.providers.local.process import LocalModel
from ainfera_gateway.routing.gateway_aliases import gateway_aliases
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.engine import Database, migrate, require_head
from ainfera_gateway.storage.lock import DatabaseLock
from ainfera_gateway.storage.read import read_soon
from ainfera_gateway.storage.recorder import Recorder, open_recorder
from ainfera_gateway.storage.retention import Retention
from ainfera_gateway.storage.tenant_scope import ROLE, has_role
from ainfera_gateway.version import __version__
from ainfera_gateway.wire.anthropic_messages.request import parse as parse_messages
from ainfera_gateway.wire.openai_chat.request import parse as parse_chat
from ainfera_gateway.wire.openai_embeddings.request import parse as parse_embeddings

_TICK_S = 1.0
_SETTLE_AT_STOP_S = 10.0
_TASK_AT_STOP_S = 5.0
_RECOVER_BEFORE_READY_S = 1.0
"""Callers do not wait for longer than that until every hold of a process that died is released."""
_RECOVER_AFTER_US = 15 * 60 * 1_000_000

_log = logging.getLogger("ainfera.app")


class Gateway:
    """One gateway: an ASGI app. ``await start()`` before the first request, ``await stop()`` after the last.

    ``adapters`` serve providers, by slug, that are reached otherwise than over HTTP. ``owner`` names this process among
    those on one database.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], adapters: Mapping[str, ProviderAdapter] | None = None
    ) -> None:
        self.settings = settings
        self._adapters = adapters or {}
        self._environ = environ
        self._clock = SystemClock()
        self.owner = new_id()
        self._door: Door | None = None
        self._draining = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._stop = asyncio.Event()
        self._live: set[str] = set()
        self._lock: DatabaseLock | None = None
        self.local_model: LocalModel | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._door is not None:
            await self._door(scope, receive, send)

    def drain(self) -> None:
        """The process is about to stop: not ready any more, and no call begins."""
        self._draining = True
        if self._door is not None:
            self._supervisor.close()

    def cut(self) -> None:
        """What still runs has had its time: it ends now, with an error to its caller and a settlement."""
        if self._door is not None and (calls := self._supervisor.cut()):
            _log.warning("calls cut off at stop", extra={"event": "drain_cut", "calls": calls})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Exception as exc:
                    await send({"type": "lifespan.startup.failed", "message": str(exc)})
                    raise  # the command says it in one line, or logs it when it is a surprise
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self) -> None:
        """Open the database (migrating it where that is allowed), recover, and build every room."""
        settings = self.settings
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = load_or_create_keys(settings.data_dir, settings.data_key or None)
        database = Database(settings.database)
        if database.is_sqlite:
            self._lock = DatabaseLock(database.path)
            self._lock.acquire()
        await asyncio.to_thread(_prepare_schema, database, settings)
        self._reader = database.reader()
        self._recorder: Recorder = await open_recorder(database, seal, self._clock.now_us, self.owner)
        await claim_keys(self._recorder, self._reader, keys)
        await seed_catalog(self._recorder, self._reader)
        self.catalog = self._load_catalog()
        with self._reader.connect() as connection:
            verdicts = load_verdicts(connection)
            if not has_role(connection):
                _log.warning(
                    "reads are not walled off by the database", extra={"event": "no_tenant_role", "role": ROLE}
                )
        aliases = gateway_aliases(settings.overlay, self.catalog)
        self.backends = Backends(configured_backends(self.catalog.providers.values(), self._environ))
        for slug, adapter in self._adapters.items():
            self.backends.add_adapter(slug, adapter)
        await self._start_local_model()
        self.registry = Registry()
        self.series = Series(
            self.registry, self._clock, version=__version__, providers=self.catalog.providers, laws=LAWS
        )
        self.killswitch = KillSwitch(
            self._clock,
            threshold_picousd=settings.killswitch_picousd,
            enabled=settings.killswitch_enabled,
            pinned=settings.killswitch_pinned,
        )
        self._neighbours = Neighbours(
            self._recorder, self._reader, self.killswitch, self._clock, owner=self.owner, data_dir=settings.data_dir
        )
        await self._neighbours.begin()
        self._client = UpstreamClient()
        self._supervisor = Supervisor()
        self._refusals = Refusals(self._recorder, self._clock)
        facts = Facts(self._reader, self._clock)
        self._planner = planner = Planner(
            facts=facts,
            catalog=self.catalog,
            aliases=aliases,
            verdicts=verdicts,
            backends=self.backends,
            killswitch=self.killswitch,
            refusals=self._refusals,
            series=self.series,
            clock=self._clock,
            settings=settings,
            reader=self._reader,
            public_url=self.public_url,
            rate=Buckets(self._clock, settings.rate_limit_rpm),
        )
        self._late = LateSettlements(
            self._recorder, self._reader, Spool(settings.data_dir / "spool"), self.killswitch, live=self._live
        )
        self._recovery = Recovery(
            self._recorder, self._reader, owner=self.owner, live=self._live, may_judge=self._neighbours.steady
        )
        # What is known of a call comes before what must be guessed.
        await self._late.run_once()
        recovering = await self._recovery.begin(_RECOVER_BEFORE_READY_S)
        await self._sample_chain()  # ready only with the true height, not with 0 until the first tick
        laws = LawWatch(self._recorder, self._reader, self.series, self._clock)
        await laws.begin()
        kept = Retention(database, self._recorder, self._reader, self._clock, days=settings.keep_outcomes_days)
        await kept.make_room()
        self._door = self._build_door(facts, planner, keys)
        self._stop.clear()
        grow = partial(next_growth, origin=await self._log_origin(), keys=keys)
        integrator = Integrator(self._recorder, self._reader, grow)
        self._tasks = [
            asyncio.create_task(integrator.run(self._stop), name="integrator"),
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self._neighbours.run(self._stop), name="neighbours"),
            asyncio.create_task(laws.run(self._stop), name="laws"),
            asyncio.create_task(kept.run(self._stop), name="retention"),
            recovering,
        ]

    async def _log_origin(self) -> str:
        """The name of the log in this database, given by the first process that serves it."""
        await self._recorder.submit(NameLog(f"{self.settings.did_host}/log/{new_id()}"))
        with self._reader.connect() as connection:
            return str(read_origin(connection))

    async def stop(self) -> None:
        """Let running calls settle, write what is folded, stop the rooms in the reverse order."""
        self._draining = True
        late = await self._supervisor.drain(_SETTLE_AT_STOP_S)
        if late:
            _log.warning("calls cut off at stop", extra={"event": "drain_cut", "calls": late})
        await self._refusals.flush()
        self._stop.set()
        self._recovery.end()
        for task in self._tasks:
            try:
                await asyncio.wait_for(task, _TASK_AT_STOP_S)
            except asyncio.CancelledError:
                continue
            except Exception:  # noqa: BLE001 - what is late or broken must not keep the other rooms from their end
                _log.exception("a task did not end well", extra={"event": "task_at_stop", "task": task.get_name()})
        await self._late.run_once()
        await self._neighbours.end()
        await self._recorder.close()
        await self._client.close()
        if self.local_model is not None:
            await self.local_model.stop()
        self._reader.dispose()
        if self._lock is not None:
            self._lock.release()

    @property
    def public_url(self) -> str:
        """Where callers reach this gateway."""
        if self.settings.public_url:
            return self.settings.public_url.rstrip("/")
        # An address that means "all of this machine's" is none that a caller can use.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)
        return f"http://[{host}]:{self.settings.port}" if ":" in host else f"http://{host}:{self.settings.port}"

    async def _start_local_model(self) -> None:
        if not self.settings.local_model:
            return
        model = LocalModel(Path(self.settings.local_model))
        await model.start()
        self.local_model = model
        provider = self.catalog.providers[LOCAL]

        def current() -> Backend | None:
            return backend_of(provider, model.base_url, model.api_key) if model.healthy else None

        self.backends.add_moving(LOCAL, current)

    def _load_catalog(self) -> Catalog:
        with self._reader.connect() as connection:
            return with_overlay(load_catalog(connection, self._clock.now_us()), self.settings.overlay)

    def _renew(self) -> None:
        """Some prices change by their own date or time of day; verdicts by the operator's hand, on any process."""
        with self._reader.connect() as connection:
            self._planner.verdicts = load_verdicts(connection)
        until_us = self.catalog.valid_until_us
        if until_us is not None and self._clock.now_us() >= until_us:
            self.catalog = self._planner.catalog = self._load_catalog()

    def _set_killswitch(self, engaged: bool | None, threshold_picousd: int | None) -> None:
        if threshold_picousd is not None:
            self.killswitch.set_threshold(threshold_picousd)
        if engaged is not None:
            self.killswitch.set_by_hand(engaged)

    def _build_door(self, facts: Facts, planner: Planner, keys: GatewayKeys) -> Door:
        settings = self.settings
        house = House(
            recorder=self._recorder,
            client=self._client,
            backends=self.backends,
            killswitch=self.killswitch,
            refusals=self._refusals,
            series=self.series,
            clock=self._clock,
            data_key=keys.data_key,
            owner=self.owner,
            attempt_timeout_s=settings.attempt_timeout_s,
            call_timeout_s=settings.call_timeout_s,
            drain_s=settings.disconnect_drain_s,
            rate_limit_rpm=settings.rate_limit_rpm,
            live=self._live,
            late=self._late,
        )
        control = Control(
            settings=settings,
            recorder=self._recorder,
            reader=self._reader,
            data_key=keys.data_key,
            chain_hmac_key=keys.chain_hmac_key,
            public_key_document=public_key_document(keys.chain_hmac_key, keys.checkpoint_key.public_key()),
            clock=self._clock,
            changed=lambda _: facts.forget(),
            catalog=lambda: self.catalog,
            configured=lambda: self.backends.configured,
            killswitch_state=self.killswitch.state,
            set_killswitch=self._set_killswitch,
        )
        call = partial(CallHandler, planner=planner, house=house, supervisor=self._supervisor)
        handlers: dict[str, App] = {
            "root": root,
            "health": health,
            "readyz": Readiness(self._probe),
            "metrics": MetricsPage(self.registry, self._refresh_gauges),
            "chat": call(read=partial(parse_chat, flat=False), flat=False),
            "inference": call(read=partial(parse_chat, flat=True), flat=True),
            "messages": call(read=parse_messages, flat=False),
            "embeddings": call(read=parse_embeddings, flat=False),
            "count_tokens": CountTokensHandler(TokenCounter(planner, self._client, self.backends)),
            "control": build_control_plane(control),
        }
        for route in ROUTES:
            for method in route.methods:
                self.series.declare_route(method, route.template)
        return Door(
            table=RouteTable(), handlers=handlers, facts=facts, settings=settings, series=self.series, clock=self._clock
        )

    async def _tick(self) -> None:
        """Once a second: fold refusals, refresh chain gauges, recover what nobody works on."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=_TICK_S)
            try:
                await self._late.run_once()
                await self._refusals.tend()
                await asyncio.to_thread(self._renew)
                await self._sample_chain()
                await self._recovery.run_once(older_than_us=self._clock.now_us() - _RECOVER_AFTER_US)
            except Exception:  # noqa: BLE001 - the next tick tries again
                _log.exception("housekeeping failed", extra={"event": "tick_failed"})

    async def _sample_chain(self) -> None:
        self.series.note_audit(*await asyncio.to_thread(chain_figures, self._reader))

    def _refresh_gauges(self) -> None:
        engaged, spent, threshold = self.killswitch.figures()
        self.series.note_killswitch(engaged=engaged, spent_picousd=spent, threshold_picousd=threshold)

    async def _probe(self) -> dict[str, Any]:
        try:
            await read_soon(_answers, self._reader)
            database = "ok"
        except Exception:  # noqa: BLE001 - whatever it is, the database is not well
            _log.exception("database probe failed", extra={"event": "probe_failed"})
            database = "failing"
        well = database == "ok" and not self._draining
        return {
            "status": "ok" if well else "unavailable",
            "draining": self._draining,
            "database": database,
            "chain_height": int(self.series.audit_chain_height.at().value),
            "killswitch_engaged": self.killswitch.engaged,
        }


def _prepare_schema(database: Database, settings: Settings) -> None:
    if database.is_sqlite or settings.auto_migrate:
        migrate(database)
    require_head(database)


def _answers(reader: Engine) -> None:
    with reader.connect() as connection:
        connection.execute(select(1))
