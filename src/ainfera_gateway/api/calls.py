"""The hot routes of every dialect: plain ASGI, one handler, one parser each."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.api.asgi import CallerGoneError, Message, Receive, Scope, Send, answer, encoded, header, read_body
from ainfera_gateway.api.context import RequestContext, context_of
from ainfera_gateway.canonical.dialect import Dialect
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.asked import Asked, Origin
from ainfera_gateway.inference.dispatch import House
from ainfera_gateway.inference.prepare import Planner
from ainfera_gateway.inference.records import IdempotencyHit
from ainfera_gateway.inference.replay import refuse_or_open
from ainfera_gateway.inference.run import CallerLeftError, CallRun
from ainfera_gateway.inference.supervisor import Supervisor
from ainfera_gateway.settings import BODY_BYTES_MAX
from ainfera_gateway.wire.parsed import Parsed

T = TypeVar("T", bound=Parsed)

_RECEIPT = "x-ainfera-receipt-id"
"""Only a call that was accepted has one."""
_IDEMPOTENCY_CHARS_MAX = 255
_TOLD_CHARS_MAX = 500
_ANTHROPIC_HEADERS = ("anthropic-version", "anthropic-beta")
_HEADER_VALUE = re.compile(r"[A-Za-z0-9 ,._\-]{1,2048}")
_STREAM_HEAD = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}


class CallHandler:
    """One hot route: ``read`` is its dialect's parser. ``flat`` errors are the native envelope's."""

    def __init__(
        self, *, planner: Planner, house: House, supervisor: Supervisor, read: Callable[[bytes], Parsed], flat: bool
    ) -> None:
        self._planner = planner
        self._house = house
        self._supervisor = supervisor
        self._read = read
        self._flat = flat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._handle(scope, receive, send)
        except CallerLeftError as exc:
            raise CallerGoneError from exc

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        body = await read_body(receive, BODY_BYTES_MAX)
        parsed = read_request(self._read, body)
        key = _idempotency_key(scope, flat=self._flat)
        fingerprint = hashlib.sha256(context.route.encode() + b"\n" + body).hexdigest() if key else ""
        forwarded, query = of_the_dialect(scope, parsed.dialect)
        origin = Origin(caller_of(context), context.trace_id, context.span_id, forwarded, query)
        ask = Asked(parsed, key_hash=_key_hash(key), fingerprint=fingerprint)
        try:
            plan = await self._planner.plan(origin, ask, context.headers)
        except IdempotencyHit as hit:
            await self._replay(hit, ask, context, send)
            return
        except GatewayError:
            context.headers.pop(_RECEIPT, None)
            raise
        run = CallRun(self._house, plan, _Sink(send))
        task = self._supervisor.spawn(run.run(), name=f"call {plan.facts.inference_id}")
        try:
            await _until_done(task, run, receive)
            task.result()
        except IdempotencyHit as hit:
            await self._replay(hit, ask, context, send)
        except GatewayError:
            if not run.accepted:
                context.headers.pop(_RECEIPT, None)
            raise

    async def _replay(self, hit: IdempotencyHit, ask: Asked, context: RequestContext, send: Send) -> None:
        agent_id = context.headers["x-ainfera-agent-id"]
        stored = refuse_or_open(hit, ask.fingerprint, self._house.data_key, agent_id, ask.key_hash or "")
        headers = {
            **stored.headers,
            "x-ainfera-inference-id": stored.inference_id,
            _RECEIPT: stored.receipt_id,
            "idempotent-replayed": "true",
        }
        context.headers.update(headers)
        if not stored.streamed:
            await answer(send, 200, stored.body, {})
            return
        sink = _Sink(send)
        await sink.start_stream({"x-ainfera-stream-mode": "native"})
        await sink.finish(stored.body)


def read_request(read: Callable[[bytes], T], body: bytes) -> T:
    """The request in ``body``. Raises ``GatewayError``."""
    try:
        return read(body)
    except ParseError as exc:
        status = 422 if exc.code == "validation_error" else 400
        # A member's name is the caller's own text and may be megabytes long.
        field = None if exc.field is None else _cut(exc.field)
        raise GatewayError(status, exc.code, _cut(exc.message), field=field, detail=exc.details) from exc


def of_the_dialect(scope: Scope, dialect: Dialect) -> tuple[dict[str, str], str]:
    """The headers and the query of a request that a provider of the same dialect is to see, by an allow-list."""
    if dialect != "anthropic":
        return {}, ""
    sent = {name: header(scope, name.encode()) for name in _ANTHROPIC_HEADERS}
    forwarded = {name: value for name, value in sent.items() if value and _HEADER_VALUE.fullmatch(value)}
    return forwarded, "?beta=true" if scope.get("query_string", b"") == b"beta=true" else ""


def _cut(text: str) -> str:
    return text if len(text) <= _TOLD_CHARS_MAX else text[: _TOLD_CHARS_MAX - 1] + "…"


async def _until_done(task: asyncio.Task[None], run: CallRun, receive: Receive) -> None:
    """Wait for the run; tell it when the caller hangs up or the server takes the request away."""
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            run.leave()
            await asyncio.wait({task})
    except asyncio.CancelledError:
        run.leave()
        task.add_done_callback(_noted)
        raise
    finally:
        gone.cancel()


def _noted(task: asyncio.Task[None]) -> None:
    """The request is gone: what the run raised would have been its answer, and has been recorded by the run."""
    if not task.cancelled():
        task.exception()


class _Sink:
    """The caller's side of one answer."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def _told(self, message: Message) -> None:
        """Raises ``CallerLeftError``: a transport that broke while nobody read from it says so at the next write."""
        try:
            await self._send(message)
        except (OSError, RuntimeError) as exc:
            raise CallerLeftError from exc

    async def start_stream(self, headers: Mapping[str, str]) -> None:
        head = encoded({**_STREAM_HEAD, **headers})
        await self._told({"type": "http.response.start", "status": 200, "headers": head})

    async def write(self, data: bytes) -> None:
        await self._told({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes) -> None:
        await self._told({"type": "http.response.body", "body": data, "more_body": False})

    async def answer(self, headers: Mapping[str, str], body: bytes) -> None:
        await answer(self._told, 200, body, headers)


def caller_of(context: RequestContext) -> Caller:
    """Who calls, on a route that lets nobody else in."""
    if context.caller is None:
        raise RuntimeError("the route table let a call in without a caller")
    return context.caller


def _key_hash(key: str | None) -> str | None:
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _idempotency_key(scope: Scope, *, flat: bool) -> str | None:
    key = header(scope, b"idempotency-key")
    if key is None:
        return None
    if not key or len(key) > _IDEMPOTENCY_CHARS_MAX or not key.isprintable():
        status, code = (422, "validation_error") if flat else (400, "invalid_request")
        raise GatewayError(
            status, code, "Idempotency-Key must be 1 to 255 printable characters.", field="Idempotency-Key"
        )
    return key
