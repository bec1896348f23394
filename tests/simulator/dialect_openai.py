"""The OpenAI dialect: chat completions, plain and streamed, and the list of models."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from .dialect import Call, Event, Refusal
from .openai_answer import Answer, Choice, ToolCall, compose, last_user_text
from .openai_messages import InvalidError
from .openai_schema import check_request
from .script import Acts

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_ERROR_TYPES: Final = {429: "requests"}
_OVERBILLED_BY: Final = 1_000_000
# A nested "model" that is not the answer's: whoever rewrites the model must find the right one.
NOTE: Final = {"text": "kept by an honest relay", "model": "not-the-model"}


class OpenAIDialect:
    """Chat completions. `models` empty accepts every model; lenient lets unknown top-level fields pass."""

    name = "openai"

    def __init__(self, models: Sequence[str] = (), *, lenient: bool = False) -> None:
        self._models = frozenset(models)
        self._listed = tuple(models) or ("sim-model",)
        self._lenient = lenient

    def serves(self, path: str) -> bool:
        return path.endswith("/chat/completions")

    def error(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
        kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})

    def error_event(self, message: str) -> Event:
        return Event(self.error(500, message), "error")

    def get(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
        head, found, model = path.partition("/models")
        if not found or head.startswith("/_"):
            return None
        if _bearer(headers) is None:
            return 401, self.error(401, "No API key was sent.", code="invalid_api_key")
        shared = {"object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
        rows = [{"id": name, **shared} for name in self._listed]
        if not model:
            return 200, _encode({"object": "list", "data": rows})
        for row in rows:
            if row["id"] == model.removeprefix("/"):
                return 200, _encode(row)
        return 404, self._unknown_model(model.removeprefix("/"))

    def read(self, headers: Mapping[bytes, bytes], body: bytes, digest: str) -> Call | Refusal:
        if _bearer(headers) is None:
            return Refusal(401, self.error(401, "No API key was sent as bearer token.", code="invalid_api_key"))
        media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media_type != b"application/json":
            return Refusal(415, self.error(415, "The body must be application/json.", code="unsupported_media_type"))
        try:
            decoded = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Refusal(400, self.error(400, f"The body is not JSON: {error}", code="invalid_json"))
        model, stream = (decoded.get("model"), decoded.get("stream")) if isinstance(decoded, dict) else (None, None)
        seen_model = model if isinstance(model, str) else None
        seen_stream = stream if isinstance(stream, bool) else None
        try:
            request = check_request(decoded, lenient=self._lenient)
        except InvalidError as refused:
            body = self.error(400, refused.message, code=refused.code, param=refused.param)
            return Refusal(400, body, seen_model, seen_stream)
        name = request["model"]
        if self._models and name not in self._models:
            return Refusal(404, self._unknown_model(name), seen_model, seen_stream)
        max_tokens = request.get("max_tokens")
        if max_tokens is None:
            max_tokens = request.get("max_completion_tokens")
        return Call(name, bool(request.get("stream")), max_tokens, last_user_text(request["messages"]), request, digest)

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        answer = compose(call, acts)
        body = self._envelope(call, acts, "chat.completion")
        body["choices"] = [
            {"index": index, "message": _message(choice), "logprobs": None, "finish_reason": choice.finish}
            for index, choice in enumerate(answer.choices)
        ]
        usage = usage_of(answer, acts)
        if acts.usage != "missing":
            body["usage"] = usage
        note = body.pop("x_provider_note")
        body = {"x_provider_note": note, **body} if acts.layout == "note_first" else {**body, "x_provider_note": note}
        data = _encode(body)
        return (msgspec.json.format(data, indent=2) if acts.layout == "pretty" else data), usage

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        answer = compose(call, acts)
        base = self._envelope(call, acts, "chat.completion.chunk")
        options = call.request.get("stream_options") or {}
        include_usage = bool(options.get("include_usage"))
        running = 0

        def chunk(choices: list[dict[str, Any]], kind: str, tokens: int = 0) -> Event:
            nonlocal running
            running += tokens
            if acts.usage == "cumulative":
                usage = _bill(answer.prompt_tokens, running, acts)
                return Event(_encode({**base, "choices": choices, "usage": usage}), kind, usage)
            if include_usage and acts.usage != "missing":
                return Event(_encode({**base, "choices": choices, "usage": None}), kind)
            return Event(_encode({**base, "choices": choices}), kind)

        for index, choice in enumerate(answer.choices):
            content = None if choice.tool_calls else ""
            yield chunk([_delta(index, {"role": "assistant", "content": content, "refusal": None})], "role")
            for delta, tokens in _deltas(choice, acts):
                yield chunk([_delta(index, delta)], "delta", tokens)
            yield chunk([_delta(index, {}, choice.finish)], "finish")
        if (include_usage and acts.usage != "missing") or acts.usage == "cumulative":
            total = usage_of(answer, acts)
            yield Event(_encode({**base, "choices": [], "usage": total}), "usage", total)
        yield Event(b"[DONE]", "done")

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


def _bearer(headers: Mapping[bytes, bytes]) -> bytes | None:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() or None if scheme.lower() == b"bearer" else None


def usage_of(answer: Answer, acts: Acts) -> dict[str, Any] | None:
    """The usage the provider states: the truth, or what `usage=` makes of it. None when it states none."""
    if acts.usage in ("missing", "null"):
        return None
    if acts.usage == "zero":
        return _bill(0, 0, acts)
    if acts.usage == "overbilled":
        return _bill(answer.prompt_tokens, answer.completion_tokens + _OVERBILLED_BY, acts)
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


def _message(choice: Choice) -> dict[str, Any]:
    content = "".join(choice.pieces)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if choice.tool_calls:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": call.kind,
                call.kind: {"name": call.name, _payload_name(call): "".join(call.fragments)},
            }
            for call in choice.tool_calls
        ]
    return message


def _payload_name(call: ToolCall) -> str:
    return "arguments" if call.kind == "function" else "input"


def _delta(index: int, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _deltas(choice: Choice, acts: Acts) -> Iterator[tuple[dict[str, Any], int]]:
    """The deltas of a choice, each with the tokens it stands for."""
    step = max(1, acts.per_event)
    for start in range(0, len(choice.pieces), step):
        pieces = choice.pieces[start : start + step]
        yield {"content": "".join(pieces)}, len(pieces)
    queues: list[list[dict[str, Any]]] = []
    for index, call in enumerate(choice.tool_calls):
        payload = _payload_name(call)
        first = {"index": index, "id": call.id, "type": call.kind, call.kind: {"name": call.name, payload: ""}}
        queues.append([first, *({"index": index, call.kind: {payload: text}} for text in call.fragments)])
    if acts.interleave:
        longest = max((len(queue) for queue in queues), default=0)
        ordered = [queue[place] for place in range(longest) for queue in queues if place < len(queue)]
    else:
        ordered = [part for queue in queues for part in queue]
    for part in ordered:
        yield {"tool_calls": [part]}, 1
