"""Read a provider's embeddings."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.response import ChatResponse
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.usage import read_usage


def read_answer(body: bytes) -> Answer:
    """The essentials of a 200 body. Raises ``ParseError`` when it is no answer at all (not a JSON object, an error)."""
    try:
        document = read_json(body)
    except ValueError:
        raise ParseError("the provider's answer is not JSON", None) from None
    if not isinstance(document, dict):
        raise ParseError("the provider's answer is not an object", None)
    data = document.get("data")
    if document.get("error") and not data:
        raise ParseError("the provider's answer is an error", "error")
    usage = _usage(document.get("usage"))
    model = document.get("model")
    response = ChatResponse(finish_reason="stop", usage=usage, model=model if isinstance(model, str) else None)
    answer_id = document.get("id")
    return Answer(
        response=response,
        usage=usage,
        model=response.model,
        id=answer_id if isinstance(answer_id, str) else None,
        empty=not (isinstance(data, list) and data),
        text_chars=0,
        text_bytes=0,
    )


def _usage(sent: Any) -> Usage | None:
    """What was read; nothing was generated. A total that stands alone is all input."""
    usage = read_usage(sent)
    tokens = usage.input_tokens if usage is not None else None
    if tokens is None and isinstance(sent, dict):
        total = read_usage({"prompt_tokens": sent.get("total_tokens")})
        tokens = total.input_tokens if total is not None else None
    return None if tokens is None else Usage(input_tokens=tokens, output_tokens=0)
