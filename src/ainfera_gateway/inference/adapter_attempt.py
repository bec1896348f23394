"""One attempt at a backend that is no HTTP provider: its events, or its whole answer, as the result of an attempt."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ainfera_gateway.canonical.events import StreamEvent, fold
from ainfera_gateway.canonical.response import ChatResponse
from ainfera_gateway.inference.attempt import TOOLS_NOT_SUPPORTED, AttemptResult, Scope, Send, plausible
from ainfera_gateway.providers.adapter import AdapterRequest, ProviderAdapter, ToolsNotSupportedError, events_of
from ainfera_gateway.wire.adapted import AdaptedPassage
from ainfera_gateway.wire.answer import Answer

_log = logging.getLogger("ainfera.inference")


@dataclass(slots=True)
class AdapterAttempt:
    """One request on behalf of a call; ``run`` is as in ``Attempt``."""

    adapter: ProviderAdapter
    request: AdapterRequest
    passage: AdaptedPassage
    streamed: bool
    salt: bytes
    scope: Scope
    idle_s: float
    total_s: float
    send: Send
    now_us: Callable[[], int]

    async def run(self) -> AttemptResult:
        """Ask and read to the end. Never raises but for cancellation of the task itself."""
        result = AttemptResult(passage=self.passage)
        started_us = self.now_us()
        seen: list[StreamEvent] = []
        timeout = self.scope.begin(self.idle_s, self.total_s)
        try:
            async with timeout:
                await self._read(seen, result, started_us)
        except TimeoutError:
            if self.scope.sending:
                self.scope.end()
                self.scope.leave()
            result.outcome, result.reason = ("cancelled", "caller_left") if self.scope.left else ("timeout", "stalled")
            result.retryable = True
        except ToolsNotSupportedError:
            result.outcome, result.reason = "client_error", TOOLS_NOT_SUPPORTED
        except Exception:  # noqa: BLE001 - whatever an adapter raises is a provider that failed
            _log.exception("adapter failed", extra={"event": "adapter_failed"})
            result.outcome, result.reason, result.retryable = "server_error", "adapter_failed", True
        finally:
            self.scope.end()
        response = fold(seen)
        result.usage = plausible(response.usage)
        if result.reason is None:
            _conclude(response, result)
        result.latency_us = self.now_us() - started_us
        result.response_hash = hmac.digest(self.salt, msgspec.json.encode([response]), "sha256").hex()
        return result

    async def _read(self, seen: list[StreamEvent], result: AttemptResult, started_us: int) -> None:
        conversation = self.request.conversation
        asked = (self.request, conversation.tools, conversation.choice)
        if not self.streamed:
            seen += events_of(await self.adapter.chat(*asked))
            result.ttft_us = self.now_us() - started_us
            return
        async for event in self.adapter.stream_chat(*asked):
            self.scope.arrived()
            if result.ttft_us is None:
                result.ttft_us = self.now_us() - started_us
            seen.append(event)
            data = self.passage.write([event])
            if not data:
                continue
            if not self.scope.left:
                result.relayed = True
                result.text_bytes = self.passage.text_bytes
            self.scope.sending = True
            await self.send(data)
            self.scope.sending = False
            self.scope.arrived()


def _conclude(response: ChatResponse, result: AttemptResult) -> None:
    reported = response.usage is not None and response.usage.output_tokens
    result.empty = not (response.blocks or response.finish_reason == "content_filter" or reported)
    result.complete = not result.empty
    if result.empty:
        result.outcome, result.reason, result.retryable = "invalid", "empty_answer", True
    said = "".join((response.content, response.thinking, *(call.name + call.arguments for call in response.tool_calls)))
    result.text_bytes = len(said.encode("utf-8", "surrogatepass"))
    result.answer = Answer(
        response=response,
        usage=result.usage,
        model=response.model,
        id=None,
        empty=result.empty,
        text_chars=len(said),
        text_bytes=result.text_bytes,
    )
