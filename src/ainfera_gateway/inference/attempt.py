"""One request to a provider: sent, and read as it arrives. What came of it is a value; nothing is decided here."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.ledger.hold import Grant
from ainfera_gateway.providers.backend import Backend
from ainfera_gateway.providers.http import Reply, UpstreamClient, UpstreamError
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame, FrameReader
from ainfera_gateway.wire.openai_chat.provider_error import read_provider_error
from ainfera_gateway.wire.passage import Passage

ANSWER_BYTES_MAX = 64 * 1024 * 1024
ERROR_BYTES_MAX = 64 * 1024
DRAIN_BYTES_MAX = 64 * 1024
USAGE_TOKENS_MAX = 2**31
"""More tokens than this in one call are no report: what they cost could not even be stored."""
TOOLS_NOT_SUPPORTED = "tools_not_supported"
"""The reason of an attempt that its backend refused because of the tools."""
_ERROR_BODY_S = 5.0
_RETRY_STATUSES = frozenset({408, 409, 425, 429})


@dataclass(slots=True)
class AttemptResult:
    """What came of one attempt.

    ``outcome`` is a label of the provider-call series (ok, client_error, rate_limited, server_error, timeout, connect,
    cancelled, invalid). ``relayed`` tells that the caller has been sent something. ``complete`` that the answer is
    whole. ``retryable`` that another try may help. ``reason`` is a word of ours and is stored; ``message`` is the
    provider's own, which may quote the prompt, and goes to the caller alone, as does its machine ``code``. Times in
    microseconds.
    """

    outcome: str = "ok"
    upstream_status: int | None = None
    reason: str | None = None
    message: str | None = None
    code: str | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    relayed: bool = False
    complete: bool = False
    empty: bool = False
    usage: Usage | None = None
    text_bytes: int = 0
    ttft_us: int | None = None
    latency_us: int = 0
    response_hash: str = ""
    answer: Answer | None = None
    body: bytes = field(default=b"", repr=False)
    passage: Passage | None = None


class Scope:
    """The deadline of what is being read now, which a caller who leaves pulls near."""

    def __init__(self, drain_s: float) -> None:
        self.left = False
        self.sending = False
        self._drain_s = drain_s
        self._timeout: asyncio.Timeout | None = None
        self._idle_s = 0.0
        self._latest = 0.0
        self._final: float | None = None

    def leave(self) -> None:
        """The caller is gone: what comes within the drain still counts, then the provider is cut off."""
        if self.left:
            return
        self.left = True
        self._final = asyncio.get_running_loop().time() + self._drain_s
        self._move(self._final)

    def begin(self, idle_s: float, total_s: float) -> asyncio.Timeout:
        """A time-out of ``idle_s`` between two arrivals and of ``total_s`` for all of them."""
        self._idle_s = idle_s
        now = asyncio.get_running_loop().time()
        self._latest = now + total_s
        self._timeout = asyncio.timeout_at(min(now + idle_s, self._latest) if self._final is None else self._final)
        return self._timeout

    def arrived(self) -> None:
        """Something came: the idle time starts anew, unless the caller is gone; the total goes on."""
        if self._final is None:
            self._move(min(asyncio.get_running_loop().time() + self._idle_s, self._latest))

    def end(self) -> None:
        """Nothing is being read any more."""
        self._timeout = None

    def _move(self, when_s: float) -> None:
        """A deadline that has passed stands; only one that is still ahead can be moved."""
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(when_s)


Send = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Attempt:
    """One request on behalf of a call. ``send`` takes the caller's bytes of a stream."""

    client: UpstreamClient
    backend: Backend
    capture: Grant | None
    passage: Passage
    headers: Mapping[str, str]
    query: str
    streamed: bool
    salt: bytes
    scope: Scope
    idle_s: float
    total_s: float
    send: Send
    now_us: Callable[[], int]

    async def run(self) -> AttemptResult:
        """Send and read to the end. Never raises but for cancellation of the task itself."""
        result = AttemptResult(passage=self.passage)
        started_us = self.now_us()
        digest = hmac.new(self.salt, digestmod="sha256")
        timeout = self.scope.begin(self.idle_s, self.total_s)
        try:
            async with (
                timeout,
                self.client.post(
                    self.backend.url(self.passage.path) + self.query,
                    body=self.passage.body,
                    headers=dict(self.headers),
                    head_timeout_s=self.idle_s,
                    short_idle=self.backend.short_idle,
                ) as reply,
            ):
                result.upstream_status = reply.status
                if reply.status != 200:
                    await _read_refusal(reply, result)
                elif self.streamed:
                    await self._read_stream(reply, result, digest, started_us)
                else:
                    await self._read_plain(reply, result, digest, started_us)
        except TimeoutError:
            if self.scope.sending:
                # It was the caller who took nothing, not the provider who sent nothing: that is a caller who left.
                self.scope.end()
                self.scope.leave()
            result.outcome, result.reason = ("cancelled", "caller_left") if self.scope.left else ("timeout", "stalled")
            result.retryable = True
        except UpstreamError as exc:
            result.outcome, result.reason, result.retryable = exc.kind, exc.reason, True
        finally:
            self.scope.end()
        result.latency_us = self.now_us() - started_us
        result.response_hash = digest.hexdigest()
        return result

    async def _read_plain(self, reply: Reply, result: AttemptResult, digest: hmac.HMAC, started_us: int) -> None:
        body = await reply.body(ANSWER_BYTES_MAX)
        result.ttft_us = self.now_us() - started_us
        digest.update(body)
        try:
            answer = self.passage.read_answer(body)
        except ParseError as exc:
            result.outcome, result.reason, result.retryable = "invalid", "unreadable_answer", True
            result.message = exc.message
            return
        result.answer, result.body = answer, body
        result.usage, result.text_bytes, result.empty = plausible(answer.usage), answer.text_bytes, answer.empty
        result.complete = not answer.empty
        if answer.empty:
            result.outcome, result.reason, result.retryable = "invalid", "empty_answer", True

    async def _read_stream(self, reply: Reply, result: AttemptResult, digest: hmac.HMAC, started_us: int) -> None:
        kind = (reply.header("content-type") or "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            result.outcome, result.reason, result.retryable = "invalid", "not_an_event_stream", True
            return
        reader = self.passage.reader()
        drained = 0
        try:
            while not reader.done:
                chunk = await reply.chunk()
                self.scope.arrived()
                if chunk is not None:
                    digest.update(chunk)
                frames = reader.close() if chunk is None else reader.feed(chunk)
                if frames and result.ttft_us is None:
                    result.ttft_us = self.now_us() - started_us
                await self._relay(frames, result)
                # A caller who reads slowly is not a provider that stalls.
                self.scope.arrived()
                if chunk is None or result.reason is not None:
                    break
                if self.scope.left:
                    drained += len(chunk)
                    if drained > DRAIN_BYTES_MAX:
                        result.outcome, result.reason = "cancelled", "caller_left"
                        break
        finally:
            self._conclude(reader, result)

    async def _relay(self, frames: list[Frame], result: AttemptResult) -> None:
        pieces: list[bytes] = []
        for frame in frames:
            if frame.kind in ("error", "garbage"):
                result.outcome = "server_error" if frame.kind == "error" else "invalid"
                result.reason, result.retryable = f"{frame.kind}_in_stream", True
                break
            if frame.kind == "comment" and not (result.relayed or any(pieces)):
                continue
            pieces.append(self.passage.relay(frame))
        data = b"".join(pieces)
        if not data:
            return
        if not self.scope.left:
            result.relayed = True
            result.text_bytes = self.passage.text_bytes
        self.scope.sending = True
        await self.send(data)
        self.scope.sending = False

    def _conclude(self, reader: FrameReader, result: AttemptResult) -> None:
        result.usage = plausible(reader.usage)
        if result.reason is not None:
            return
        if not reader.complete:
            result.outcome, result.reason, result.retryable = "server_error", "stream_cut_off", True
            return
        said = reader.visible or reader.finish_reason == "content_filter"
        result.empty = not said and not (reader.usage is not None and reader.usage.output_tokens)
        result.complete = not result.empty
        if result.empty:
            result.outcome, result.reason, result.retryable = "invalid", "empty_answer", True


def plausible(usage: Usage | None) -> Usage | None:
    """``usage``, or ``None`` where a count in it is beyond what any call can have used."""
    if usage is None:
        return None
    return None if max(count or 0 for count in msgspec.structs.astuple(usage)) > USAGE_TOKENS_MAX else usage


async def _read_refusal(reply: Reply, result: AttemptResult) -> None:
    """A status other than 200: its class, its reason without secrets, and whether to try again."""
    status = reply.status
    try:
        async with asyncio.timeout(_ERROR_BODY_S):
            body = await reply.body(ERROR_BYTES_MAX)
    except (TimeoutError, UpstreamError):
        body = b""
    result.reason = f"http_{status}"
    said = read_provider_error(body)
    result.message, result.code = said.message.rstrip("."), said.code
    result.retryable = status >= 500 or status in _RETRY_STATUSES
    if status == 429:
        result.outcome = "rate_limited"
    else:
        result.outcome = "server_error" if status >= 500 else "client_error"
    after = (reply.header("retry-after") or "").strip()
    if after.isascii() and after.isdigit():
        result.retry_after_s = float(after)
