"""OpenAI's Responses: plain and as numbered events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from .dialect import Arrival, Call, Event, Refusal, RefusedError, seed_of
from .foreign import foreign_members
from .openai_form import OpenAIForm
from .responses_answer import Answer, Item, compose, last_user_text, usage_of
from .responses_schema import check_request
from .script import Acts
from .speech import NOTE

_encode: Final = msgspec.json.Encoder().encode
_FAILURE: Final = {"code": "server_error", "message": "The simulator was told to fail here."}
_ECHOED: Final = (
    "instructions", "max_output_tokens", "max_tool_calls", "previous_response_id", "prompt_cache_key", "reasoning",
    "safety_identifier", "text", "truncation", "user",
)  # fmt: skip


class ResponsesDialect(OpenAIForm):
    """Responses, at any provider: the family says how the key must come and how errors look."""

    name = "openai_responses"
    ends = "/responses"

    def error_event(self, message: str, sent: int) -> Event:
        failure = {"type": "error", "code": "server_error", "message": message, "param": None}
        return Event(_encode({**failure, "sequence_number": sent}), "error", name="error")

    def garbage_event(self, data: bytes) -> Event:
        return Event(data, "garbage", name="response.output_text.delta")

    def read(self, arrival: Arrival) -> Call | Refusal:
        decoded: object = None
        foreign: tuple[str, ...] = ()
        try:
            decoded = self.open(arrival)
            if isinstance(decoded, dict):
                foreign = foreign_members(decoded.get("input"), "input", {"encrypted_content"})
            request = check_request(decoded)
        except RefusedError as refused:
            if refused.code == "invalid_encrypted_content" and refused.param:
                foreign = (*foreign, refused.param)
            return self.refusal(refused, decoded, foreign)
        limit = request.get("max_output_tokens")
        return Call(
            request["model"], bool(request.get("stream")), limit, last_user_text(request), request,
            seed_of(request), arrival.path, foreign,
        )  # fmt: skip

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        answer = compose(call, acts)
        body = _final(call, acts, answer)
        data = _encode({"x_provider_note": NOTE, **body} if acts.layout == "note_first" else body)
        return (msgspec.json.format(data, indent=2) if acts.layout == "pretty" else data), body.get("usage")

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        sent = -1

        def event(kind: str, name: str, /, **members: Any) -> Event:
            nonlocal sent
            sent += 1
            told = (members.get("response") or {}).get("usage")
            return Event(_encode({"type": name, "sequence_number": sent, **members}), kind, told, name)

        answer = compose(call, acts)
        begun = _response(call, acts, status="in_progress", output=[])
        yield event("role", "response.created", response=begun)
        running = {}
        if acts.usage == "cumulative":
            running["usage"] = usage_of(Answer((), None, None, answer.input_tokens, 0, 0), acts)
        yield event("role", "response.in_progress", response=begun | running)
        if acts.unknown_event:
            yield event("unknown", "response.x_future.delta", delta="?", note=NOTE)
        pings = acts.pings
        for index, item in enumerate(answer.items):
            for kind, name, members in _steps(index, item):
                yield event(kind, name, **members)
                if pings and kind == "delta":
                    pings -= 1
                    yield Event(b"keep-alive", "comment")
        final = _final(call, acts, answer)
        for _ in range(2 if acts.usage == "doubled" else 1):
            yield event("end", f"response.{answer.status or 'completed'}", response=final)


def _steps(index: int, item: Item) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The events of an output item: kind, name, members."""
    whole = item.whole
    at = {"item_id": whole["id"], "output_index": index}
    match whole["type"]:
        case "reasoning":
            yield "item", "response.output_item.added", {"output_index": index, "item": {**whole, "summary": []}}
            if whole["summary"]:
                part = whole["summary"][0]
                here = {**at, "summary_index": 0}
                name = "response.reasoning_summary"
                yield "item", f"{name}_part.added", {**here, "part": {**part, "text": ""}}
                for piece in item.pieces:
                    yield "delta", f"{name}_text.delta", {**here, "delta": piece}
                yield "item", f"{name}_text.done", {**here, "text": part["text"]}
                yield "item", f"{name}_part.done", {**here, "part": part}
        case "message":
            empty = {**whole, "status": "in_progress", "content": []}
            yield "item", "response.output_item.added", {"output_index": index, "item": empty}
            for part in whole["content"]:
                here = {**at, "content_index": 0}
                yield "item", "response.content_part.added", {**here, "part": {**part, "text": ""}}
                for piece in item.pieces:
                    yield "delta", "response.output_text.delta", {**here, "delta": piece, "logprobs": []}
                yield "item", "response.output_text.done", {**here, "text": part["text"], "logprobs": []}
                yield "item", "response.content_part.done", {**here, "part": part}
        case kind:
            member = "arguments" if kind == "function_call" else "input"
            name = f"response.{kind}_{member}"
            started = {**whole, "status": "in_progress", member: ""}
            yield "item", "response.output_item.added", {"output_index": index, "item": started}
            for piece in item.pieces:
                yield "delta", f"{name}.delta", {**at, "delta": piece}
            yield "item", f"{name}.done", {**at, member: whole[member]}
    yield "item", "response.output_item.done", {"output_index": index, "item": whole}


def _final(call: Call, acts: Acts, answer: Answer) -> dict[str, Any]:
    body = _response(call, acts, status=answer.status, output=[item.whole for item in answer.items])
    if answer.incomplete is not None:
        body["incomplete_details"] = {"reason": answer.incomplete}
    if answer.status == "failed":
        body["error"] = _FAILURE
    body["usage"] = usage_of(answer, acts)
    if acts.usage in ("missing", "nowhere"):
        del body["usage"]
    return body


def _response(call: Call, acts: Acts, *, status: str | None, output: list[Mapping[str, Any]]) -> dict[str, Any]:
    request = call.request
    tier = request.get("service_tier")
    return {
        "id": f"resp_{call.digest[:40]}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": acts.as_model or call.model,
        "output": output,
        "parallel_tool_calls": request.get("parallel_tool_calls") is not False,
        "temperature": request.get("temperature", 1.0),
        "top_p": request.get("top_p", 1.0),
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": request.get("tools") or [],
        "metadata": request.get("metadata") or {},
        "store": request.get("store") is not False,
        "service_tier": tier if tier not in (None, "auto") else "default",
        "usage": None,
        **{name: request.get(name) for name in _ECHOED},
        "x_provider_note": NOTE,
    }
