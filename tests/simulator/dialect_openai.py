"""The OpenAI dialect: chat completions, plain and streamed, and the list of models; each family's manner of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from .dialect import Arrival, Call, Event, Refusal, RefusedError
from .families import OPENAI, Family
from .family_answer import Chunk, dress_chunks, dress_plain, dress_tool_call, dress_usage, with_family_ids
from .family_rules import conform
from .foreign import foreign_members
from .openai_answer import Answer, Choice, ToolCall, compose, last_user_text
from .openai_form import OpenAIForm
from .openai_schema import check_request
from .script import Acts
from .speech import NOTE, OVERBILLED_BY

_encode: Final = msgspec.json.Encoder().encode
_RUNNING: Final = ("cumulative", "doubled")
_UNSAID: Final = ("missing", "nowhere")


class OpenAIDialect(OpenAIForm):
    """Chat completions. `models` empty accepts every model; lenient lets unknown top-level fields pass."""

    def __init__(self, models: Sequence[str] = (), *, lenient: bool = False, family: Family = OPENAI) -> None:
        super().__init__(family)
        self.name = family.name
        self._models = frozenset(models)
        self._listed = tuple(models) or ("sim-model",)
        self._lenient = lenient

    def error_event(self, message: str, sent: int) -> Event:
        if self.family.name != "openrouter":
            return Event(self.error(500, message), "error")
        choices = [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
        shared = {"id": "gen-failed", "object": "chat.completion.chunk", "created": int(time.time()), "model": ""}
        return Event(_encode({**shared, "error": {"code": 502, "message": message}, "choices": choices}), "error")

    def get(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
        head, found, model = path.partition("/models")
        if not found or head.startswith("/_") or not path.startswith(self.family.prefix):
            return None
        if self.family.refuses_credential(headers):
            return 401, self.error(401, "No API key was sent.", code="invalid_api_key")
        shared = {"object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
        rows = [{"id": name, **shared} for name in self._listed]
        if not model:
            return 200, _encode({"object": "list", "data": rows})
        for row in rows:
            if row["id"] == model.removeprefix("/"):
                return 200, _encode(row)
        return 404, self._unknown_model(model.removeprefix("/"))

    def read(self, arrival: Arrival) -> Call | Refusal:
        decoded: object = None
        foreign: tuple[str, ...] = ()
        try:
            decoded = self.open(arrival)
            if isinstance(decoded, dict):
                foreign = foreign_members(decoded.get("messages"), "messages", self.family.own)
            request = check_request(conform(decoded, self.family, foreign), lenient=self._lenient)
            name = request["model"]
            if self._models and name not in self._models:
                raise RefusedError(f"The model '{name}' is not served here.", "model", "model_not_found", 404)
        except RefusedError as refused:
            return self.refusal(refused, decoded, foreign)
        max_tokens = request.get("max_tokens")
        if max_tokens is None:
            max_tokens = request.get("max_completion_tokens")
        text = last_user_text(request["messages"])
        return Call(name, bool(request.get("stream")), max_tokens, text, request, arrival.digest, arrival.path, foreign)

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        answer = with_family_ids(compose(call, acts), self.family)
        body = self._envelope(call, acts, "chat.completion")
        body["choices"] = [
            {
                "index": index,
                "message": self._message(choice),
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(answer.choices)
        ]
        usage = dress_usage(usage_of(answer, acts), self.family)
        if acts.usage not in _UNSAID:
            body["usage"] = usage
        body = dress_plain(body, self.family, call, acts)
        note = body.pop("x_provider_note")
        body = {"x_provider_note": note, **body} if acts.layout == "note_first" else {**body, "x_provider_note": note}
        data = _encode(body)
        return (msgspec.json.format(data, indent=2) if acts.layout == "pretty" else data), usage

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        answer = with_family_ids(compose(call, acts), self.family)
        usage = dress_usage(usage_of(answer, acts), self.family)
        chunks = self._chunks(call, acts, answer, usage)
        if self.family.name != "openai":
            chunks = dress_chunks(chunks, self.family, call, acts, usage, len(answer.choices))
        pings = acts.pings
        for chunk in chunks:
            data = chunk.body if isinstance(chunk.body, bytes) else _encode(chunk.body)
            yield Event(data, chunk.kind, chunk.usage)
            if pings and chunk.kind == "delta":
                pings -= 1
                yield Event(b"keep-alive", "comment")

    def _chunks(self, call: Call, acts: Acts, answer: Answer, total: Mapping[str, Any] | None) -> Iterator[Chunk]:
        base = self._envelope(call, acts, "chat.completion.chunk")
        options = call.request.get("stream_options") or {}
        include_usage = bool(options.get("include_usage"))
        running = 0

        def chunk(choices: list[dict[str, Any]], kind: str, tokens: int = 0) -> Chunk:
            nonlocal running
            running += tokens
            if acts.usage in _RUNNING:
                usage = dress_usage(_bill(answer.prompt_tokens, running, acts), self.family)
                return Chunk({**base, "choices": choices, "usage": usage}, kind, usage)
            if include_usage and acts.usage not in _UNSAID:
                return Chunk({**base, "choices": choices, "usage": None}, kind)
            return Chunk({**base, "choices": choices}, kind)

        for index, choice in enumerate(answer.choices):
            content = None if choice.tool_calls else ""
            yield chunk([_delta(index, {"role": "assistant", "content": content, "refusal": None})], "role")
            if acts.unknown_event and index == 0:
                unknown = chunk([_delta(0, {"x_future_delta": NOTE})], "unknown")
                yield replace(unknown, body={**unknown.body, "x_future_event": NOTE})
            for delta, tokens in self._deltas(choice, acts):
                yield chunk([_delta(index, delta)], "delta", tokens)
            yield chunk([_delta(index, {}, choice.finish)], "finish")
        if (include_usage and acts.usage not in _UNSAID) or acts.usage in _RUNNING:
            yield Chunk({**base, "choices": [], "usage": total}, "usage", total)
        yield Chunk(b"[DONE]", "done")

    def _unknown_model(self, name: str) -> bytes:
        return self.error(404, f"The model '{name}' is not served here.", code="model_not_found", param="model")

    def _envelope(self, call: Call, acts: Acts, kind: str) -> dict[str, Any]:
        tier = call.request.get("service_tier")
        return {
            "id": f"chatcmpl-{call.digest[:29]}",
            "object": kind,
            "created": int(time.time()),
            "model": acts.as_model or call.model,
            "service_tier": tier if tier not in (None, "auto") else "default",
            "system_fingerprint": "fp_" + hashlib.sha256(call.model.encode()).hexdigest()[:10],
            "x_provider_note": NOTE,
        }

    def _message(self, choice: Choice) -> dict[str, Any]:
        content = "".join(choice.pieces)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        if choice.tool_calls:
            message["content"] = content or None
            message["tool_calls"] = [self._tool_call(call, "".join(call.fragments)) for call in choice.tool_calls]
        return message

    def _tool_call(self, call: ToolCall, payload: str) -> dict[str, Any]:
        made = {"id": call.id, "type": call.kind, call.kind: {"name": call.name, _payload_name(call): payload}}
        return dress_tool_call(made, "".join(call.fragments), self.family)

    def _deltas(self, choice: Choice, acts: Acts) -> Iterator[tuple[dict[str, Any], int]]:
        """The deltas of a choice, each with the tokens it stands for."""
        step = max(1, acts.per_event)
        for start in range(0, len(choice.pieces), step):
            pieces = choice.pieces[start : start + step]
            yield {"content": "".join(pieces)}, len(pieces)
        numbering = acts.index or ("zero" if self.family.name == "gemini" else "right")
        if numbering != "right":
            # Without numbers that tell them apart, calls come whole, one in each chunk.
            for call in choice.tool_calls:
                place = {"index": 0} if numbering == "zero" else {}
                whole = {**place, **self._tool_call(call, "".join(call.fragments))}
                yield {"tool_calls": [whole]}, 1 + len(call.fragments)
            return
        queues: list[list[dict[str, Any]]] = []
        for index, call in enumerate(choice.tool_calls):
            first = {"index": index, **self._tool_call(call, "")}
            payload = _payload_name(call)
            queues.append([first, *({"index": index, call.kind: {payload: text}} for text in call.fragments)])
        if acts.interleave:
            longest = max((len(queue) for queue in queues), default=0)
            ordered = [queue[place] for place in range(longest) for queue in queues if place < len(queue)]
        else:
            ordered = [part for queue in queues for part in queue]
        for part in ordered:
            yield {"tool_calls": [part]}, 1


def usage_of(answer: Answer, acts: Acts) -> dict[str, Any] | None:
    """The usage the provider states: the truth, or what `usage=` makes of it. None when it states none."""
    if acts.usage in ("missing", "nowhere", "null"):
        return None
    if acts.usage == "zero":
        return _bill(0, 0, acts)
    if acts.usage == "overbilled":
        return _bill(answer.prompt_tokens, answer.completion_tokens + OVERBILLED_BY, acts)
    if acts.usage == "negative":
        return _bill(-answer.prompt_tokens, -answer.completion_tokens, acts)
    bill = _bill(answer.prompt_tokens, answer.completion_tokens, acts)
    if acts.usage == "string":
        bill["completion_tokens"] = str(answer.completion_tokens)
    return bill


def _bill(prompt: int, completion: int, acts: Acts) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": max(0, min(acts.cached, prompt)), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": acts.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _payload_name(call: ToolCall) -> str:
    return "arguments" if call.kind == "function" else "input"


def _delta(index: int, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
