"""``/v1/messages/count_tokens``: what goes to a provider that counts, and what comes back."""

from __future__ import annotations

import msgspec

from ainfera_gateway.wire.anthropic_messages.request import ParsedMessages
from ainfera_gateway.wire.anthropic_messages.upstream import without_foreign_marks
from ainfera_gateway.wire.envelope import changed
from ainfera_gateway.wire.lenient import read_json

_TOKENS_MAX = 2**53


def count_tokens_body(parsed: ParsedMessages, *, model: str) -> bytes:
    """The caller's bytes with ``model`` set, and without what was meant for the gateway or made by others."""
    values: dict[str, bytes | None] = {"model": msgspec.json.encode(model)}
    messages, _ = without_foreign_marks(parsed)
    if messages is not None:
        values["messages"] = messages
    return changed(parsed.body, parsed.members, values)


def count_answer(tokens: int) -> bytes:
    """The body that tells a caller the tokens."""
    return msgspec.json.encode({"input_tokens": tokens})


def read_count(body: bytes) -> int | None:
    """The tokens that a provider counted; None when its answer says no number."""
    try:
        document = read_json(body)
    except ValueError:
        return None
    tokens = document.get("input_tokens") if isinstance(document, dict) else None
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= _TOKENS_MAX:
        return None
    return tokens
