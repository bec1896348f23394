"""The Anthropic dialect: messages, plain and streamed, and their count of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from .anthropic_answer import Message, compose, last_user_text, prompt_tokens, usage_of
from .anthropic_error import anthropic_error, error_type
from .anthropic_schema import VERSIONS, check_request
from .dialect import Arrival, Call, Event, Refusal, RefusedError, bearer, is_json, request_id, seed_of
from .foreign import foreign_members
from .script import Acts
from .speech import NOTE

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_COUNT: Final = "/messages/count_tokens"
_RETRY_AFTER: Final = "1"
_IN_DELTA: Final = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
)


class AnthropicDialect:
    """Messages. `models` empty accepts every model."""

    name = "anthropic"

    def __init__(self, models: Sequence[str] = ()) -> None:
        self._models = frozenset(models)
        self._listed = tuple(models) or ("sim-model",)

    def serves(self, path: str) -> bool:
        return path.endswith(("/messages", _COUNT))

    def error(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, number: int = 0
    ) -> bytes:
        return anthropic_error(status, message, number=number)

    def headers(self, number: int, status: int) -> dict[str, str]:
        made = {
            "request-id": request_id(number),
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            "anthropic-ratelimit-requests-limit": "10000",
            "anthropic-ratelimit-requests-remaining": "9999",
        }
        if status == 429:
            made["retry-after"] = _RETRY_AFTER
        return made

    def error_event(self, message: str, sent: int) -> Event:
        return _event({"type": "error", "error": {"type": error_type(529), "message": message}}, "error")

    def garbage_event(self, data: bytes) -> Event:
        return Event(data, "garbage", name="content_block_delta")

    def get(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
        """Models in Anthropic's form, for a client that says which version it speaks."""
        if not path.endswith("/models") or b"anthropic-version" not in headers:
            return None
        if _credential(headers) is None:
            return 401, self.error(401, "x-api-key header is required")
        shared = {"type": "model", "created_at": "2026-01-01T00:00:00Z"}
        rows = [{"id": name, "display_name": name, **shared} for name in self._listed]
        return 200, _encode({"data": rows, "has_more": False, "first_id": self._listed[0], "last_id": self._listed[-1]})

    def read(self, arrival: Arrival) -> Call | Refusal:
        model: str | None = None
        stream: bool | None = None
        foreign: tuple[str, ...] = ()
        details: Mapping[str, Any] | None = None
        try:
            version = _check_door(arrival)
            request = _decoded(arrival.body)
            if isinstance(request, dict):
                model = request["model"] if isinstance(request.get("model"), str) else None
                stream = request["stream"] if isinstance(request.get("stream"), bool) else None
                foreign = foreign_members(request.get("messages"), "messages")
                if request.get("thread") is not None:
                    # Clients that get this very answer send the whole conversation again, without the field.
                    details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
                    raise RefusedError("thread: server-side threads are not available for this request")
            betas = bool(arrival.headers.get(b"anthropic-beta", b"").strip())
            counting = arrival.path.endswith(_COUNT)
            checked = check_request(request, version=version, betas=betas, counting=counting)
            if self._models and checked["model"] not in self._models:
                raise RefusedError(f"model: {checked['model']}", "model", status=404)
        except RefusedError as refused:
            if "`signature`" in refused.message and refused.param is not None:
                foreign = (*foreign, f"{refused.param}.signature")
            body = anthropic_error(refused.status, refused.message, number=arrival.number, details=details)
            return Refusal(refused.status, body, model, stream, foreign)
        text = last_user_text(checked["messages"])
        limit = checked.get("max_tokens")
        return Call(
            checked["model"], bool(checked.get("stream")), limit, text, checked, seed_of(checked), arrival.path, foreign
        )

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        if call.path.endswith(_COUNT):
            return _encode({"input_tokens": prompt_tokens(call.request)}), None
        message = compose(call, acts)
        body = _envelope(call, acts)
        body["content"] = [block.whole for block in message.blocks]
        body |= _ending(message)
        usage: dict[str, Any] | None = None
        if acts.usage == "null":
            body["usage"] = None
        elif acts.usage not in ("missing", "nowhere"):
            usage = body["usage"] = usage_of(message, message.output_tokens, acts)
        data = _encode(_with_note(body, acts))
        return (msgspec.json.format(data, indent=2) if acts.layout == "pretty" else data), usage

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        message = compose(call, acts)
        told: dict[str, Any] = {}
        body = {**_envelope(call, acts), "content": [], "stop_reason": None, "stop_sequence": None}
        if acts.usage != "nowhere":
            honest = acts.usage in ("overbilled", "string")
            told = usage_of(message, 1, Acts(cached=acts.cached, cache_write=acts.cache_write,
                cache_write_1h=acts.cache_write_1h) if honest else acts)  # fmt: skip
            told.pop("output_tokens_details", None)
            body["usage"] = told
        yield _event({"type": "message_start", "message": _with_note(body, acts)}, "start", told or None)
        running = 0
        pings = acts.pings
        for index, block in enumerate(message.blocks):
            yield _event({"type": "content_block_start", "index": index, "content_block": block.start}, "block")
            if index == 0:
                yield _event({"type": "ping"}, "ping")
                if acts.unknown_event:
                    yield from _unknown()
            for delta, tokens in block.deltas:
                running += tokens
                yield _event({"type": "content_block_delta", "index": index, "delta": delta}, "delta")
                if pings:
                    pings -= 1
                    yield _event({"type": "ping"}, "ping")
                if acts.usage == "cumulative":
                    yield _message_delta({"stop_reason": None, "stop_sequence": None}, message, running, acts, told)
            yield _event({"type": "content_block_stop", "index": index}, "stop")
        for _ in range(2 if acts.usage == "doubled" else 1):
            yield _message_delta(_ending(message), message, message.output_tokens, acts, told, kind="finish")
        yield _event({"type": "message_stop"}, "done")


def _check_door(arrival: Arrival) -> str:
    """The version the client speaks. Raises `RefusedError` for a caller without a key or a version."""
    if _credential(arrival.headers) is None:
        raise RefusedError("x-api-key header is required", status=401)
    if not is_json(arrival.headers):
        raise RefusedError("The body must be application/json.", status=415)
    version = arrival.headers.get(b"anthropic-version", b"").decode("latin-1")
    if not version:
        raise RefusedError("anthropic-version: header is required")
    if version not in VERSIONS:
        raise RefusedError(f"anthropic-version: {version} is no version of this API")
    return version


def _credential(headers: Mapping[bytes, bytes]) -> bytes | None:
    return headers.get(b"x-api-key", b"").strip() or bearer(headers)


def _decoded(body: bytes) -> object:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"The body is not JSON: {error}") from None


def _event(data: Mapping[str, Any], kind: str, usage: Mapping[str, Any] | None = None) -> Event:
    return Event(_encode(data), kind, usage, data["type"])


def _message_delta(
    delta: Mapping[str, Any], message: Message, output: int, acts: Acts, told: Mapping[str, Any], kind: str = "usage"
) -> Event:
    """The running or the last count of the answer; what the client then knows adds up from this and the first event."""
    data: dict[str, Any] = {"type": "message_delta", "delta": delta}
    known: dict[str, Any] | None = dict(told) or None
    if acts.usage == "null":
        data["usage"] = None
    elif acts.usage not in ("missing", "nowhere"):
        usage = usage_of(message, output, acts)
        data["usage"] = {name: usage[name] for name in _IN_DELTA if name in usage}
        known = {**told, **data["usage"]}
    data["x_provider_note"] = NOTE
    return _event(data, kind, known)


def _unknown() -> Iterator[Event]:
    """An event and a delta of types that no client knows."""
    yield _event({"type": "x_future_event", "note": NOTE}, "unknown")
    delta = {"type": "x_future_delta", "note": NOTE}
    yield _event({"type": "content_block_delta", "index": 0, "delta": delta}, "unknown")


def _envelope(call: Call, acts: Acts) -> dict[str, Any]:
    return {
        "model": acts.as_model or call.model,
        "id": f"msg_{call.digest[:24]}",
        "type": "message",
        "role": "assistant",
    }


def _with_note(body: Mapping[str, Any], acts: Acts) -> dict[str, Any]:
    note = {"x_provider_note": NOTE}
    return {**note, **body} if acts.layout == "note_first" else {**body, **note}


def _ending(message: Message) -> dict[str, Any]:
    ending: dict[str, Any] = {"stop_reason": message.stop_reason, "stop_sequence": message.stop_sequence}
    if message.stop_reason == "refusal":
        ending["stop_details"] = {"type": "refusal", "category": None, "explanation": "The simulator was told to."}
    return ending
