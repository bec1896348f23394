"""One POST: its line in the log, then its answer, well behaved or not, then the line that says how it ended."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .anthropic_error import anthropic_error
from .connection import ClientGoneError, Connection, Request, head
from .dialect import Call, Dialect, Event, Refusal
from .log import AttemptLog
from .openai_error import openai_error
from .script import PLAIN, Acts

RESET_DELAY_S: Final = 0.02
_NOT_JSON: Final = b'{"choices": [{"delta": {"content": "cut'
_NOT_UTF8: Final = b'{"choices": [{"delta": {"content": "\xff\xfe\x80"}}]}'
_NOT_HTTP: Final = b"\x00\x01SSH-2.0 this is no HTTP\r\n\r\n"
_HTML: Final = b"<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
_STATUS_CODES: Final = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class Gate:
    """Counts the acknowledgements of an attempt and wakes the stream that waits for one."""

    def __init__(self) -> None:
        self.acks = 0
        self.waiting: asyncio.Future[None] | None = None

    def ack(self) -> None:
        self.acks += 1
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)


class Exchange:
    """The answer to one request. `sent` counts its events that left, `size` the bytes of its body."""

    def __init__(
        self,
        connection: Connection,
        request: Request,
        dialect: Dialect,
        call: Call | Refusal,
        acts: Acts,
        *,
        number: int,
        log: AttemptLog,
        gate: Gate,
        on_end: Callable[[Exchange], None],
    ) -> None:
        self.connection, self.request, self.dialect = connection, request, dialect
        self.call, self.acts, self.number = call, acts, number
        self.attempt = request.headers.get(b"x-client-request-id", b"").decode("latin-1") or None
        self.sent = self.size = self.status = 0
        self.usage: Mapping[str, Any] | None = None
        self.reason: str | None = None
        self._log, self._gate, self._on_end = log, gate, on_end
        self._framing = "length"

    @property
    def simple(self) -> bool:
        """True when the answer can be written without waiting for anything."""
        if isinstance(self.call, Refusal):
            return True
        acts = self.acts
        return not self.call.stream and (
            acts is PLAIN or acts == Acts(text=acts.text, status=acts.status, big=acts.big)
        )

    def answer_now(self, record: dict[str, Any]) -> None:
        """Logs, answers and logs again in one go; only for a simple exchange and a log without fsync."""
        self._log.begin_now(record)
        outcome = "error"
        try:
            outcome = self._answer_at_once()
        except ClientGoneError:
            outcome = "client_gone"
        finally:
            self._end(outcome)

    async def run(self, record: dict[str, Any]) -> None:
        """Logs and waits for the disk, answers, logs the end."""
        outcome = "error"
        try:
            await self._log.begin(record)
            outcome = self._answer_at_once() if self.simple else await self._answer()
        except ClientGoneError:
            outcome = "client_gone"
        except asyncio.CancelledError:
            self.reason = "shutdown"
            raise
        except Exception:
            # A fault of the simulator itself must be seen as one and must not leave a client waiting.
            self.reason = "simulator fault"
            traceback.print_exc(file=sys.stderr)
            self.connection.close()
        finally:
            self._end(outcome)

    def _end(self, outcome: str) -> None:
        self._log.end(
            {
                "attempt": self.attempt,
                "event": "end",
                "request": self.number,
                "outcome": outcome,
                "status": self.status or None,
                "events": self.sent,
                "bytes": self.size,
                "usage": self.usage,
                "reason": self.reason,
            }
        )
        self._on_end(self)

    # Answers in one piece.

    def _answer_at_once(self) -> str:
        if isinstance(self.call, Refusal):
            self.reason = "refused"
            return self._send(self.call.status, self.call.body, {})
        if self.acts.status is not None:
            return self._send_status(self.acts.status)
        body, self.usage = self.dialect.plain(self.call, self.acts)
        return self._send(200, body, {})

    def _send_status(self, status: int) -> str:
        headers: dict[str, str] = {}
        if self.acts.retry_after is not None:
            headers["retry-after"] = self.acts.retry_after
        if self.acts.location is not None:
            headers["location"] = self.acts.location
        message, form = f"The simulator was told to answer {status}.", self.acts.form
        body = self.dialect.error(status, message, code=_STATUS_CODES.get(status), number=self.number)
        if form == "openai":
            body = openai_error(status, message, code=_STATUS_CODES.get(status))
        elif form == "anthropic":
            body = anthropic_error(status, message, number=self.number)
        elif form == "array":
            body = msgspec.json.encode([{"error": {"code": status, "message": message, "status": "SIMULATED"}}])
        elif form == "xai":
            body = msgspec.json.encode({"code": "simulated", "error": message})
        elif form == "html":
            body, headers["content-type"] = _HTML, "text/html"
        elif form == "text":
            body, headers["content-type"] = message.encode(), "text/plain"
        elif form == "empty":
            body = b""
        return self._send(status, body, headers)

    def _send(self, status: int, body: bytes, extra: dict[str, str]) -> str:
        self.status, self.size = status, len(body)
        headers = self._headers("application/json", extra)
        headers["content-length"] = str(len(body))
        self.connection.write(head(status, headers) + body)
        self._finish()
        return "complete" if status < 400 else "error"

    def _headers(self, content_type: str, extra: Mapping[str, str]) -> dict[str, str]:
        headers = {
            "content-type": self.acts.content_type or content_type,
            **self.dialect.headers(self.number, self.status),
            **extra,
        }
        if self._must_close:
            headers["connection"] = "close"
        return headers

    @property
    def _must_close(self) -> bool:
        return not self.request.keep_alive or self.acts.connection == "close" or self._framing == "close"

    def _finish(self) -> None:
        if self._must_close:
            self.connection.close()

    # Answers that take time or go wrong.

    async def _answer(self) -> str:
        acts, connection = self.acts, self.connection
        if acts.hold:
            await self._wait_acks(1)
        if acts.slow:
            await connection.wait(seconds=acts.slow / 1000)
        if acts.stall_after == -1:
            await connection.wait()
        if acts.reset_after == -1:
            connection.reset()
            return "reset"
        if acts.close:
            connection.close()
            return "truncated"
        if acts.garbage == "http":
            connection.write(_NOT_HTTP)
            connection.close()
            return "error"
        if acts.status is not None:
            return self._send_status(acts.status)
        assert isinstance(self.call, Call)
        return await (self._stream(self.call) if self.call.stream else self._plain(self.call))

    async def _plain(self, call: Call) -> str:
        acts = self.acts
        body, usage = self.dialect.plain(call, acts)
        if acts.garbage is not None:
            body = _NOT_UTF8 if acts.garbage == "utf8" else _NOT_JSON
        elif acts.empty == "body":
            body = b""
        self._framing = "close" if self.request.http_1_0 else acts.framing or "length"
        self._start("application/json", len(body))
        stop_at, outcome = len(body), "error" if acts.garbage else "complete"
        if acts.truncate is not None:
            stop_at, outcome = int(acts.truncate) if acts.truncate.isdecimal() else len(body) // 2, "truncated"
        if acts.stall_after is not None:
            stop_at = acts.stall_after
        elif acts.reset_after is not None:
            stop_at, outcome = acts.reset_after, "reset"
        await self._write(body[:stop_at])
        if acts.stall_after is not None:
            await self.connection.wait()
        if outcome == "reset":
            await self._reset_soon()
        elif outcome == "truncated":
            self.connection.close()
        else:
            self._end_body()
        # A bill counts as stated only when the client could read it.
        self.usage = usage if outcome == "complete" and body else None
        return outcome

    async def _stream(self, call: Call) -> str:
        acts = self.acts
        self._framing = "close" if self.request.http_1_0 or acts.framing == "close" else "chunked"
        self._start("text/event-stream; charset=utf-8", 0)
        garbage_at = 2 if acts.garbage and acts.garbage_after is None else acts.garbage_after
        outcome = "error" if garbage_at is not None else "complete"
        if acts.empty == "body":
            return self._end_body(outcome)
        for event in self.dialect.events(call, acts):
            if event.kind == "comment":
                await self._write(self._frame(event))
                continue
            if acts.stall_after == self.sent:
                await self.connection.wait()
            if acts.reset_after == self.sent:
                return await self._reset_soon()
            if acts.error_after == self.sent:
                await self._write(
                    self._frame(self.dialect.error_event("The simulator was told to fail here.", self.sent))
                )
                return self._end_body("error")
            if self._truncates_before(event):
                if acts.truncate == "in_json":
                    frame = self._frame(event)
                    await self._write(frame[: len(frame) // 2])
                return self._end_body("truncated")
            if garbage_at == self.sent:
                data = _NOT_UTF8 if acts.garbage == "utf8" else _NOT_JSON
                await self._write(self._frame(self.dialect.garbage_event(data)))
                garbage_at = None
            if self.sent:
                await self._wait_turn()
            await self._write(self._frame(event))
            self.sent += 1
            if event.usage is not None:
                self.usage = event.usage
            if self.sent % 8 == 0:
                # Lets the loop see a client that left and serve the others, however long the stream is.
                await asyncio.sleep(0)
        return self._end_body(outcome)

    def _truncates_before(self, event: Event) -> bool:
        match self.acts.truncate:
            case None:
                return False
            case "no_finish":
                return event.kind in ("finish", "end")
            case "no_done":
                return event.kind in ("done", "end")
            case "in_json":
                return (self.sent >= 2 and event.kind == "delta") or event.kind in ("finish", "end")
            case count:
                return self.sent == int(count)

    async def _wait_turn(self) -> None:
        if self.acts.pace:
            await self.connection.wait(seconds=self.acts.pace / 1000)
        if self.acts.wait_ack:
            await self._wait_acks(self.sent)

    async def _wait_acks(self, count: int) -> None:
        while self._gate.acks < count:
            self._gate.waiting = asyncio.get_running_loop().create_future()
            await self.connection.wait(until=self._gate.waiting)

    def _frame(self, event: Event) -> bytes:
        eol = b"\r\n" if self.acts.crlf else b"\n"
        if event.kind == "comment":
            return b": " + event.data + eol + eol
        blank = b"" if self.acts.no_space else b" "
        data = b"data:" + blank + event.data + eol + eol
        if event.name:
            data = b"event:" + blank + event.name.encode() + eol + data
        return b": keep-alive" + eol + eol + data if self.acts.comments else data

    def _start(self, content_type: str, length: int) -> None:
        self.status = 200
        headers = self._headers(content_type, {})
        if self._framing == "length":
            headers["content-length"] = str(length)
        elif self._framing == "chunked":
            headers["transfer-encoding"] = "chunked"
        self.connection.write(head(200, headers))

    async def _write(self, data: bytes) -> None:
        """Body bytes in the chosen framing, in one write, or in as many as `split` asks for."""
        step = self.acts.split or len(data) or 1
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            framed = b"%x\r\n%s\r\n" % (len(piece), piece) if self._framing == "chunked" else piece
            self.connection.write(framed)
            self.size += len(piece)
            if self.acts.split:
                await asyncio.sleep(0)
        await self.connection.drain()

    def _end_body(self, outcome: str = "complete") -> str:
        """Ends the body as its framing demands, or with a bare FIN where `end=fin` or a cut event asks for it."""
        cut_short = self.acts.end == "fin" or (self.acts.truncate == "in_json" and self.acts.end != "chunked")
        if outcome == "truncated" and cut_short:
            self.connection.close()
            return outcome
        if self._framing == "chunked":
            self.connection.write(b"0\r\n\r\n")
        self._finish()
        return outcome

    async def _reset_soon(self) -> str:
        """Resets once the client has had time to read what was sent: a reset may overtake unread bytes."""
        await self.connection.wait(seconds=RESET_DELAY_S)
        self.connection.reset()
        return "reset"
