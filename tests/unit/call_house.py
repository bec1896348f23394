"""Real rooms around one call (SQLite recorder, kill switch, refusals) and a provider that is a list of answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from ainfera_gateway.audit.seal import seal
from ainfera_gateway.catalog.seed import ANCHORS, SEED_PROVIDERS
from ainfera_gateway.clock import SystemClock
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference.dispatch import House
from ainfera_gateway.inference.killswitch import KillSwitch
from ainfera_gateway.inference.late import LateSettlements
from ainfera_gateway.inference.plan import CallPlan, Target
from ainfera_gateway.inference.refusals import Refusals
from ainfera_gateway.inference.settle import SettleCall
from ainfera_gateway.inference.spool import Spool
from ainfera_gateway.ledger.hold import ask
from ainfera_gateway.metrics.registry import Registry
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.providers.backend import Backend, Backends
from ainfera_gateway.providers.http import UpstreamError
from ainfera_gateway.storage.engine import Database, migrate
from ainfera_gateway.storage.page import Unit
from ainfera_gateway.storage.recorder import SqliteRecorder, open_recorder
from ainfera_gateway.wire.openai_chat.request import parse
from bench.calls import OpenAgent, facts
from tests.storage.units import AGENTS

AGENT_ID = AGENTS[0]
GRANT_PICOUSD = 500 * 10**12
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True)
class Answer:
    """One answer of the provider: chunks of a 200 body, or another status; ``breaks`` resets it after the chunks."""

    status: int = 200
    chunks: tuple[bytes, ...] = ()
    content_type: str = "application/json"
    breaks: bool = False


def plain_answer() -> Answer:
    message = {"role": "assistant", "content": "hello there"}
    body = {
        "id": "x",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    return Answer(chunks=(json.dumps(body).encode(),))


def stream_answer(*, breaks: bool = False) -> Answer:
    def chunk(choices: list[Any], **more: Any) -> bytes:
        return b"data: " + json.dumps({"id": "x", "model": "m", "choices": choices, **more}).encode() + b"\n\n"

    said = [chunk([{"index": 0, "delta": {"content": word}, "finish_reason": None}]) for word in ("one ", "two")]
    end = [chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]), chunk([], usage=USAGE), b"data: [DONE]\n\n"]
    chunks = said if breaks else said + end
    return Answer(chunks=tuple(chunks), content_type="text/event-stream", breaks=breaks)


class _Reply:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._left = list(answer.chunks)
        self.status = answer.status

    def header(self, name: str) -> str | None:
        return self._answer.content_type if name == "content-type" else None

    async def chunk(self) -> bytes | None:
        await asyncio.sleep(0)
        if self._left:
            return self._left.pop(0)
        if self._answer.breaks:
            raise UpstreamError("server_error", "connection_broken", sent=True)
        return None

    async def body(self, _bytes_max: int) -> bytes:
        pieces: list[bytes] = []
        while (piece := await self.chunk()) is not None:
            pieces.append(piece)
        return b"".join(pieces)


class Provider:
    """Stands in for the upstream client. ``sent`` are the attempt ids that left, in order."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = list(answers)
        self.sent: list[str] = []

    @asynccontextmanager
    async def post(self, _url: str, *, headers: dict[str, str], **_: Any) -> AsyncIterator[_Reply]:
        self.sent.append(headers["x-client-request-id"])
        await asyncio.sleep(0)
        yield _Reply(self._answers.pop(0))
        await asyncio.sleep(0)


class Sink:
    """What the caller was given."""

    def __init__(self) -> None:
        self.body = b""
        self.ended = False

    async def start_stream(self, _headers: Mapping[str, str]) -> None:
        await asyncio.sleep(0)

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self.body += data

    async def finish(self, data: bytes) -> None:
        await self.write(data)
        self.ended = True

    async def answer(self, _headers: Mapping[str, str], body: bytes) -> None:
        await self.finish(body)


class FailingT2:
    """A recorder whose first ``failures`` settlements fail before they reach the database."""

    def __init__(self, inner: SqliteRecorder, failures: int) -> None:
        self._inner = inner
        self._failures = failures

    async def submit(self, unit: Unit) -> Any:
        if isinstance(unit, SettleCall) and self._failures > 0:
            self._failures -= 1
            await asyncio.sleep(0)
            raise OSError("the disk had a moment")
        return await self._inner.submit(unit)

    def submit_from_thread(self, unit: Unit) -> Any:
        return self._inner.submit_from_thread(unit)

    async def close(self) -> None:
        await self._inner.close()


@dataclass
class Rooms:
    """One database for many calls."""

    recorder: SqliteRecorder
    reader: Engine
    directory: Path
    clock: SystemClock = field(default_factory=SystemClock)

    def house(self, provider: Provider, *, failing_t2: int = 0) -> House:
        recorder: Any = FailingT2(self.recorder, failing_t2)
        killswitch = KillSwitch(self.clock, threshold_picousd=10**18, enabled=True, pinned=True)
        live: set[str] = set()
        return House(
            recorder=recorder,
            client=provider,  # type: ignore[arg-type]
            backends=Backends({p.slug: Backend(p.slug, "http://x/v1", "k") for p in SEED_PROVIDERS}),
            killswitch=killswitch,
            refusals=Refusals(recorder, self.clock),
            series=Series(Registry(), self.clock, version="0", providers=[p.slug for p in SEED_PROVIDERS]),
            clock=self.clock,
            data_key=bytes(32),
            owner="unit",
            attempt_timeout_s=30,
            call_timeout_s=60,
            drain_s=0.05,
            rate_limit_rpm=0,
            live=live,
            late=LateSettlements(recorder, self.reader, Spool(self.directory / "spool"), killswitch, live=live),
        )

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.reader.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]


@asynccontextmanager
async def rooms(directory: Path) -> AsyncIterator[Rooms]:
    database = Database(f"sqlite:///{directory / 'ainfera.db'}")
    migrate(database)
    recorder = await open_recorder(database, seal, SystemClock().now_us)
    assert isinstance(recorder, SqliteRecorder)
    reader = database.reader()
    await recorder.submit(OpenAgent(AGENT_ID, GRANT_PICOUSD))
    try:
        yield Rooms(recorder, reader, directory)
    finally:
        await recorder.close()
        reader.dispose()


def plan(*, stream: bool, key: bool = False) -> CallPlan:
    """A routed call with two targets, the cheap one first."""
    body = {
        "model": "ainfera-inference",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 50,
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
    }
    by_slug = {model.slug: model for model in ANCHORS}
    targets = tuple(
        Target(
            model,
            ask(
                input_tokens=100,
                asked_tokens=50,
                model_output_max=model.max_output_tokens,
                input_price=model.prices.input_picousd,
                output_price=model.prices.output_picousd,
            ),
            model.upstream_model,
        )
        for model in (by_slug["mistral-large-3"], by_slug["gemini-3-1-pro"])
    )
    known = replace(facts(AGENT_ID), streamed=stream, dialect="openai")
    if key:
        known = replace(known, idempotency_hash=new_id(), fingerprint="f")
    return CallPlan(known, parse(json.dumps(body).encode(), flat=False), targets, None, "http://x/verify", pinned=False)
