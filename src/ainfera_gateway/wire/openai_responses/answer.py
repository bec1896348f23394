"""Read a whole response of a provider."""

from __future__ import annotations

from ainfera_gateway.canonical.events import MessageDelta, fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_responses.output import OutputReader, spoken_text

_NOT_ENDED = frozenset({"failed", "cancelled", "queued", "in_progress"})


def read_answer(body: bytes) -> Answer:
    """The essentials of a 200 body.

    Raises ``ParseError`` when it is no answer at all: not a JSON object, an error, or a response that failed or has
    not ended.
    """
    try:
        document = read_json(body)
    except ValueError:
        raise ParseError("the provider's answer is not JSON", None) from None
    if not isinstance(document, dict):
        raise ParseError("the provider's answer is not an object", None)
    if document.get("error"):
        raise ParseError("the provider's answer is an error", "error")
    status = document.get("status")
    if isinstance(status, str) and status in _NOT_ENDED:
        raise ParseError(f"the provider's answer has the status {status}", "status")
    events = OutputReader().end(document)
    response = fold(events)
    text = spoken_text(events)
    usage = response.usage
    said = any(not isinstance(event, MessageDelta) for event in events)
    filtered = response.finish_reason == "content_filter"
    answer_id = document.get("id")
    return Answer(
        response=response,
        usage=usage,
        model=response.model,
        id=answer_id if isinstance(answer_id, str) else None,
        empty=not (said or filtered or (usage is not None and usage.output_tokens)),
        text_chars=len(text),
        text_bytes=len(text.encode()),
    )
