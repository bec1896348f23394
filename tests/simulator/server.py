"""The simulator's application: which request is whose, the control paths, and the life of the process."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from .connection import Connection, Request, head
from .dialect import Arrival, Call, Dialect, Refusal
from .exchange import Exchange, Gate
from .log import AttemptLog
from .script import PLAIN, Acts, DirectiveError, RuleSpec, Script

_DEFAULTS: Final = asdict(PLAIN)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a control path."""

    status: int
    body: bytes


def reply(status: int, value: object) -> Reply:
    """A control answer as JSON."""
    return Reply(status, msgspec.json.encode(value))


class Application:
    """Gives each POST to the first dialect that serves its path; keeps the live exchanges and their acknowledgements.

    The last dialect answers what none serves.
    """

    def __init__(self, dialects: Sequence[Dialect], log: AttemptLog, script: Script, *, log_bodies: bool) -> None:
        self._dialects = dialects
        self._log = log
        self._script = script
        self._log_bodies = log_bodies
        self._live: dict[int, Exchange] = {}
        self._gates: dict[str | None, Gate] = {}
        self._number = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def connection(self) -> Connection:
        return Connection(self.handle, self.tasks)

    def handle(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answers at once and returns None, or returns the work that will answer."""
        if request.path == "/_idle" and request.method == "GET":
            return self._answer_when_idle(connection, request)
        if request.method != "POST" or request.path.startswith("/_"):
            self._write(connection, request, self._control(request))
            return None
        return self._post(connection, request)

    def _post(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        digest = hashlib.sha256(request.body).hexdigest()
        dialect = next((item for item in self._dialects if item.serves(request.path)), None)
        chosen = dialect or self._dialects[-1]
        self._number += 1
        if dialect is None:
            call: Call | Refusal = Refusal(404, chosen.error(404, f"No such path: {request.path}", code="unknown_url"))
        else:
            arrival = Arrival(request.path, request.headers, request.body, digest, self._number)
            call = dialect.read(arrival)
        key_suffix = _key(request)[-4:]
        acts = PLAIN
        if isinstance(call, Call):
            try:
                acts = self._script.choose(call.model, request.path, call.stream, key_suffix, call.text)
            except DirectiveError as error:
                # A misspelt directive would otherwise turn a test of misbehaviour into a test of nothing.
                body = chosen.error(400, str(error), code="simulator_directive", number=self._number)
                call = Refusal(400, body, call.model, call.stream, call.foreign)
        attempt = request.headers.get(b"x-client-request-id", b"").decode("latin-1") or None
        exchange = Exchange(
            connection, request, chosen, call, acts,
            number=self._number, log=self._log, gate=self._gate(attempt), on_end=self._forget,
        )  # fmt: skip
        self._live[exchange.number] = exchange
        record = self._record(exchange, dialect, digest, key_suffix)
        if exchange.simple and not self._log.fsync:
            exchange.answer_now(record)
            return None
        return exchange.run(record)

    def _record(self, exchange: Exchange, dialect: Dialect | None, digest: str, key_suffix: str) -> dict[str, Any]:
        request, call = exchange.request, exchange.call
        record: dict[str, Any] = {
            "attempt": exchange.attempt,
            "event": "begin",
            "request": exchange.number,
            "dialect": dialect.name if dialect else None,
            "path": request.path,
            "model": call.model,
            "stream": call.stream,
            "max_tokens": call.max_tokens if isinstance(call, Call) else None,
            "key_suffix": key_suffix or None,
            "at_ns": time.time_ns(),
            "headers": [name.decode("latin-1") for name in request.headers],
            "body_sha256": digest,
            "body_bytes": len(request.body),
            "refused": call.status if isinstance(call, Refusal) else None,
            "acts": _differences(exchange.acts),
        }
        if call.foreign:
            record["foreign"] = call.foreign
        if self._log_bodies:
            record["body"] = request.body.decode("utf-8", "replace")
        return record

    def _gate(self, attempt: str | None) -> Gate:
        gate = self._gates.get(attempt)
        if gate is None:
            gate = self._gates[attempt] = Gate()
        return gate

    def _forget(self, exchange: Exchange) -> None:
        self._live.pop(exchange.number, None)
        if not any(other.attempt == exchange.attempt for other in self._live.values()):
            self._gates.pop(exchange.attempt, None)

    def _counts(self) -> dict[str, int]:
        return {"attempts": self._log.begun, "ended": self._log.ended, "open": self._log.open}

    def _control(self, request: Request) -> Reply:
        match request.method, request.path:
            case (("GET" | "HEAD"), ("/health" | "/")):
                return reply(200, {"status": "ok"})
            case "GET", "/log/count":
                return reply(200, self._counts())
            case "POST", "/_script":
                return self._add_rules(request.body)
            case "DELETE", "/_script":
                self._script.clear()
                return reply(200, {"rules": 0})
            case "GET", "/_script":
                rules = self._script.rules
                return reply(200, [{"rule": rule.spec, "seen": rule.seen, "used": rule.used} for rule in rules])
            case "GET", "/_live":
                live = self._live.values()
                return reply(200, [{"attempt": e.attempt, "request": e.number, "sent": e.sent} for e in live])
            case (("GET" | "POST"), "/_ack"):
                attempt = parse_qs(request.query).get("attempt", [None])[0]
                gate = self._gate(attempt)
                gate.ack()
                sent = max((e.sent for e in self._live.values() if e.attempt == attempt), default=None)
                return reply(200, {"attempt": attempt, "acks": gate.acks, "sent": sent})
            case "GET", path:
                for dialect in self._dialects:
                    answer = dialect.get(path, request.headers)
                    if answer is not None:
                        return Reply(*answer)
        error = self._dialects[-1].error
        if any(dialect.serves(request.path) for dialect in self._dialects):
            return Reply(405, error(405, f"{request.method} is not allowed here.", code="method_not_allowed"))
        return Reply(404, error(404, f"No such path: {request.path}", code="unknown_url"))

    def _add_rules(self, body: bytes) -> Reply:
        try:
            decoded = msgspec.json.decode(body, type=RuleSpec | list[RuleSpec])
            specs = decoded if isinstance(decoded, list) else [decoded]
            for spec in specs:
                self._script.add(spec)
        except (msgspec.DecodeError, DirectiveError) as error:
            return reply(400, {"error": str(error)})
        return reply(200, {"rules": len(self._script.rules)})

    async def _answer_when_idle(self, connection: Connection, request: Request) -> None:
        timeout_ms = int(parse_qs(request.query).get("timeout_ms", ["5000"])[0])
        idle = await self._log.wait_idle(timeout_ms / 1000)
        if not connection.transport.is_closing():
            self._write(connection, request, reply(200, {"idle": idle, **self._counts()}))

    def _write(self, connection: Connection, request: Request, answer: Reply) -> None:
        headers = {"content-type": "application/json", "content-length": str(len(answer.body))}
        if not request.keep_alive:
            headers["connection"] = "close"
        connection.write(head(answer.status, headers) + (b"" if request.method == "HEAD" else answer.body))
        if not request.keep_alive:
            connection.close()


def _key(request: Request) -> str:
    """The caller's key, from whichever header dialects use."""
    found = request.headers.get(b"authorization", b"").partition(b" ")[2].strip()
    for name in (b"x-api-key", b"api-key"):
        found = found or request.headers.get(name, b"").strip()
    return found.decode("latin-1")


def _differences(acts: Acts) -> dict[str, Any]:
    if acts is PLAIN:
        return {}
    return {name: value for name, value in asdict(acts).items() if value != _DEFAULTS[name]}


async def serve(application: Application, port: int, stopped: asyncio.Event) -> None:
    """Listens on loopback, prints the ready line, and ends when `stopped` is set; open streams are cut."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(application.connection, "127.0.0.1", port, backlog=1024)
    print(msgspec.json.encode({"port": server.sockets[0].getsockname()[1]}).decode(), flush=True)
    sys.stdout.close()
    await stopped.wait()
    server.close()
    for task in list(application.tasks):
        task.cancel()
    await asyncio.gather(*application.tasks, return_exceptions=True)
