"""The provider families: where each is found, how it takes its key, the form of its errors, what it takes beside OpenAI's.

A family is chosen by the beginning of the path; OpenAI itself is where no other is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from .dialect import bearer
from .openai_error import openai_error

ErrorForm = Callable[[int, str, str | None, str | None], bytes]
_encode: Final = msgspec.json.Encoder().encode
_CHAT: Final = frozenset({"model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "tools", "n"})
_USUAL: Final = _CHAT | {
    "tool_choice", "parallel_tool_calls", "response_format", "presence_penalty", "frequency_penalty",
}  # fmt: skip
_MISTRAL: Final = _USUAL | {
    "random_seed", "safe_prompt", "prediction", "prompt_mode", "metadata", "reasoning_effort", "guardrails",
}  # fmt: skip
_GROQ: Final = _USUAL | {
    "max_completion_tokens", "seed", "stream_options", "user", "service_tier", "reasoning_effort", "reasoning_format",
    "include_reasoning", "metadata", "store", "search_settings", "documents", "compound_custom",
}  # fmt: skip
_CEREBRAS: Final = _USUAL | {
    "max_completion_tokens", "seed", "stream_options", "user", "service_tier", "reasoning_effort", "logprobs",
    "top_logprobs", "logit_bias", "prediction", "disable_reasoning", "clear_thinking",
}  # fmt: skip
_GEMINI: Final = _USUAL | {
    "max_completion_tokens", "seed", "stream_options", "user", "reasoning_effort", "extra_body", "logprobs",
    "top_logprobs", "modalities", "audio", "service_tier", "store", "metadata", "web_search_options",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """A provider that speaks OpenAI's interfaces in its own manner.

    `fields` are the top-level names it takes (None: OpenAI's own, `*`: any). `closed` refuses unknown members of messages,
    which others ignore, and members of foreign make. `message_fields` and `call_fields` are names it takes in
    messages and their tool calls beside OpenAI's. `unknown` is the status of a refused name. `own` are members it makes.
    """

    name: str
    prefix: str
    error: ErrorForm
    credential: Literal["bearer", "api-key"] = "bearer"
    fields: frozenset[str] | Literal["*"] | None = None
    closed: bool = False
    unknown: int = 400
    message_fields: frozenset[str] = frozenset()
    call_fields: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()

    def refuses_credential(self, headers: Mapping[bytes, bytes]) -> bool:
        """True when the key is missing or not in the form that this provider takes."""
        if self.credential == "api-key":
            return not headers.get(b"api-key", b"").strip() or b"authorization" in headers
        return bearer(headers) is None


def _openai(status: int, message: str, code: str | None, param: str | None) -> bytes:
    return openai_error(status, message, code=code, param=param)


def _mistral(status: int, message: str, code: str | None, param: str | None) -> bytes:
    if status == 401:
        return _encode({"detail": "Unauthorized"})
    said: object = message
    kind = "invalid_request_error" if status < 500 else "service_unavailable"
    if status == 422:
        parts = re.findall(r"[^.\[\]]+", param or "")
        loc = ["body", *(int(part) if part.isdecimal() else part for part in parts)]
        forbidden = {"type": "extra_forbidden", "loc": loc, "msg": "Extra inputs are not permitted", "input": None}
        said, kind = {"detail": [forbidden]}, "invalid_request_error"
    return _encode(
        {"object": "error", "message": said, "type": kind, "param": None, "code": code, "raw_status_code": status}
    )


_GOOGLE: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def _gemini(status: int, message: str, code: str | None, param: str | None) -> bytes:
    return _encode([{"error": {"code": status, "message": message, "status": _GOOGLE.get(status, "UNKNOWN")}}])


def _xai(status: int, message: str, code: str | None, param: str | None) -> bytes:
    return _encode({"code": code or f"The request ended with status {status}", "error": message})


def _openrouter(status: int, message: str, code: str | None, param: str | None) -> bytes:
    return _encode({"error": {"code": status, "message": message, "metadata": {"provider_name": "simulator"}}})


def _flat(status: int, message: str, code: str | None, param: str | None) -> bytes:
    kind = "server_error" if status >= 500 else "too_many_requests_error" if status == 429 else "invalid_request_error"
    return _encode({"message": message, "type": kind, "param": param or "", "code": code or ""})


def _azure(status: int, message: str, code: str | None, param: str | None) -> bytes:
    return _encode({"error": {"code": code or str(status), "message": message, "param": param, "type": None}})


def _fireworks(status: int, message: str, code: str | None, param: str | None) -> bytes:
    kind = "internal_server_error" if status >= 500 else "invalid_request_error"
    return _encode({"error": {"object": "error", "type": kind, "code": code or kind, "message": message}})


OPENAI: Final = Family("openai", "", _openai, closed=True)
FAMILIES: Final = (
    Family("mistral", "/mistral/", _mistral, fields=_MISTRAL, closed=True, unknown=422, call_fields=frozenset({"index"})),
    Family("groq", "/groq/", _openai, fields=_GROQ, closed=True, message_fields=frozenset({"reasoning"})),
    Family(
        "gemini", "/gemini/", _gemini, fields=_GEMINI, closed=True, call_fields=frozenset({"extra_content", "index"}),
        own=frozenset({"extra_content", "thought_signature"}),
    ),
    Family("xai", "/xai/", _xai, fields="*"),
    Family("deepseek", "/deepseek/", _openai, fields="*"),
    Family("openrouter", "/openrouter/", _openrouter, fields="*", own=frozenset({"reasoning_details"})),
    Family("together", "/together/", _openai, fields="*"),
    Family("fireworks", "/fireworks/", _fireworks, fields="*"),
    Family("cerebras", "/cerebras/", _flat, fields=_CEREBRAS, closed=True),
    Family("azure", "/azure/", _azure, credential="api-key", closed=True),
)  # fmt: skip
