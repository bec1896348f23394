"""What the dialects of OpenAI's house share: the door, the errors, the headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .dialect import Arrival, Event, Refusal, RefusedError, is_json, request_id
from .families import OPENAI, Family

_decode: Final = msgspec.json.Decoder().decode


class OpenAIForm:
    """A dialect that answers errors as its family does."""

    name = "openai"
    ends = "/chat/completions"

    def __init__(self, family: Family = OPENAI) -> None:
        self.family = family

    def serves(self, path: str) -> bool:
        return path.endswith(self.ends) and path.startswith(self.family.prefix)

    def error(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, number: int = 0
    ) -> bytes:
        return self.family.error(status, message, code, param)

    def headers(self, number: int, status: int) -> dict[str, str]:
        return {
            "x-request-id": request_id(number),
            "openai-processing-ms": "1",
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
        }

    def error_event(self, message: str, sent: int) -> Event:
        return Event(self.error(500, message), "error")

    def garbage_event(self, data: bytes) -> Event:
        return Event(data, "garbage")

    def get(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
        return None

    def open(self, arrival: Arrival) -> object:
        """The decoded body. Raises `RefusedError` at the door: key, media type, JSON."""
        family = self.family
        if family.refuses_credential(arrival.headers):
            how = "as bearer token" if family.credential == "bearer" else "in the header api-key alone"
            raise RefusedError(f"No API key was sent {how}.", code="invalid_api_key", status=401)
        if not is_json(arrival.headers):
            raise RefusedError("The body must be application/json.", code="unsupported_media_type", status=415)
        try:
            return _decode(arrival.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(f"The body is not JSON: {error}", code="invalid_json") from None

    def refusal(self, refused: RefusedError, decoded: object, foreign: tuple[str, ...]) -> Refusal:
        """The answer to a refused request, with what could be read of it."""
        seen: dict[str, Any] = decoded if isinstance(decoded, dict) else {}
        model, stream = seen.get("model"), seen.get("stream")
        return Refusal(
            refused.status,
            self.family.error(refused.status, refused.message, refused.code, refused.param),
            model if isinstance(model, str) else None,
            stream if isinstance(stream, bool) else None,
            foreign,
        )
