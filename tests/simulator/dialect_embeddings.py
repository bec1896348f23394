"""Embeddings in OpenAI's form: unit vectors that depend on the text alone."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from .dialect import Arrival, Call, Event, Refusal, RefusedError, seed_of
from .openai_checks import STRING, Check, integer, one_of
from .openai_form import OpenAIForm
from .openai_messages import only_fields, require_type, required
from .script import Acts
from .speech import NOTE, OVERBILLED_BY, count_tokens

DIMENSIONS: Final = 16
_encode: Final = msgspec.json.Encoder().encode
_MOST: Final = 2048
_FIELDS: Final[Mapping[str, Check]] = {
    "dimensions": integer(1, 3072),
    "encoding_format": one_of("float", "base64"),
    "user": STRING,
}


class EmbeddingsDialect(OpenAIForm):
    """Embeddings, at any provider: the family says how the key must come and how errors look."""

    name = "openai_embeddings"
    ends = "/embeddings"

    def read(self, arrival: Arrival) -> Call | Refusal:
        decoded: object = None
        try:
            decoded = self.open(arrival)
            request = _check(decoded)
        except RefusedError as refused:
            return self.refusal(refused, decoded, ())
        first = _inputs(request)[0]
        text = first if isinstance(first, str) else ""
        return Call(request["model"], False, None, text, request, seed_of(request), arrival.path)

    def plain(self, call: Call, acts: Acts) -> tuple[bytes, Mapping[str, Any] | None]:
        inputs = _inputs(call.request)
        size = call.request.get("dimensions") or DIMENSIONS
        packed = call.request.get("encoding_format") == "base64"
        rows = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector(item, size)) if packed else vector(item, size),
            }
            for index, item in enumerate(inputs)
        ]
        body: dict[str, Any] = {
            "object": "list",
            "data": [] if acts.empty else rows,
            "model": acts.as_model or call.model,
        }
        usage = _usage(sum(_tokens(item) for item in inputs), acts)
        if acts.usage not in ("missing", "nowhere"):
            body["usage"] = usage
        note = {"x_provider_note": NOTE}
        data = _encode({**note, **body} if acts.layout == "note_first" else {**body, **note})
        return (msgspec.json.format(data, indent=2) if acts.layout == "pretty" else data), usage

    def events(self, call: Call, acts: Acts) -> Iterator[Event]:
        """Embeddings are never streamed."""
        return iter(())


def vector(item: str | list[int], size: int) -> list[float]:
    """The embedding of a text or of tokens: `size` numbers, of length one together."""
    seed = msgspec.json.encode(item)
    raw = hashlib.shake_256(seed).digest(size * 2)
    numbers = [value / 32768 + 1e-6 for (value,) in struct.iter_unpack("<h", raw)]
    length = math.sqrt(sum(value * value for value in numbers))
    return [value / length for value in numbers]


def _packed(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _inputs(request: Mapping[str, Any]) -> list[Any]:
    """The input as a list: one string or one array of tokens stands for itself."""
    value = request["input"]
    return [value] if isinstance(value, str) or isinstance(value[0], int) else value


def _tokens(item: str | list[int]) -> int:
    return count_tokens(item) if isinstance(item, str) else len(item)


def _usage(tokens: int, acts: Acts) -> dict[str, Any] | None:
    if acts.usage in ("missing", "nowhere", "null"):
        return None
    told = {"zero": 0, "negative": -tokens, "overbilled": tokens + OVERBILLED_BY}.get(acts.usage or "", tokens)
    return {"prompt_tokens": str(told) if acts.usage == "string" else told, "total_tokens": told}


def _check(request: object) -> Mapping[str, Any]:
    require_type(request, dict, "body", "a JSON object")
    assert isinstance(request, dict)
    only_fields(request, {"model", "input", *_FIELDS}, "")
    STRING(required(request, "model", ""), "model")
    for name, check in _FIELDS.items():
        if request.get(name) is not None:
            check(request[name], name)
    value = required(request, "input", "")
    require_type(value, (str, list), "input", "a string or an array")
    if not value:
        raise RefusedError("'input' is empty.", "input")
    if len(value) > _MOST and isinstance(value, list):
        raise RefusedError(f"'input' takes at most {_MOST} items.", "input", "array_above_max_length")
    if isinstance(value, list) and not _is_tokens(value):
        for position, item in enumerate(value):
            if not isinstance(item, str) and not _is_tokens(item):
                raise RefusedError(f"'input[{position}]' is neither a text nor tokens.", "input", "invalid_type")
            if not item:
                raise RefusedError(f"'input[{position}]' is empty.", "input")
    return request


def _is_tokens(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value)
