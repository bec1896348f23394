"""Read a whole answer of a provider, and write the one that goes to the caller."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ainfera_gateway.canonical.events import MessageDelta, StreamEvent, fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.response import ChatResponse, FinishReason, map_finish_reason
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.json_splice import Member, members, members_with_repeats, splice
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.message import CallPlaces, read_spoken, spoken_events, spoken_text
from ainfera_gateway.wire.openai_chat.usage import read_usage


class Answer(Struct, frozen=True):
    """A provider's whole answer. ``response`` is its first choice; the counts cover all choices.

    ``empty`` says that nothing was answered: no choices, or neither text nor calls nor any reported output.
    """

    response: ChatResponse
    usage: Usage | None
    model: str | None
    id: str | None
    empty: bool
    text_chars: int
    text_bytes: int

    @property
    def finish_reason(self) -> FinishReason | None:
        """The finish reason in the closed set of the contract."""
        return self.response.finish_reason

    @property
    def finish_reason_native(self) -> str | None:
        """The provider's own word."""
        return self.response.finish_reason_native


def read_answer(body: bytes) -> Answer:
    """The essentials of a 200 body. Raises ``ParseError`` when it is no answer at all (not a JSON object, an error)."""
    try:
        document = read_json(body)
    except ValueError:
        raise ParseError("the provider's answer is not JSON", None) from None
    if not isinstance(document, dict):
        raise ParseError("the provider's answer is not an object", None)
    if document.get("error") and not document.get("choices"):
        raise ParseError("the provider's answer is an error", "error")
    usage = read_usage(document.get("usage"))
    model = document.get("model")
    choices = document.get("choices")
    listed = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    response = _first_choice(listed, usage, model if isinstance(model, str) else None)
    spoken = [read_spoken(choice.get("message")) for choice in listed]
    texts = [spoken_text(one) for one in spoken]
    said = any(one.visible for one in spoken)
    filtered = response.finish_reason == "content_filter"
    answer_id = document.get("id")
    return Answer(
        response=response,
        usage=usage,
        model=response.model,
        id=answer_id if isinstance(answer_id, str) else None,
        empty=not listed or not (said or filtered or (usage is not None and usage.output_tokens)),
        text_chars=sum(map(len, texts)),
        text_bytes=sum(len(text.encode("utf-8", "surrogatepass")) for text in texts),
    )


def splice_answer(body: bytes, model: str, ainfera: bytes) -> bytes:
    """The provider's bytes with the value of ``model`` replaced and an ``ainfera`` member appended; nothing else.

    ``ainfera`` is the JSON of that object. An answer that carries no ``model`` gains one.
    """
    found = answer_members(body)
    return splice_named(body, found, {"model": msgspec.json.encode(model), "ainfera": ainfera})


def flat_answer(
    answer: Answer,
    *,
    agent_id: str,
    inference_id: str,
    receipt_id: str,
    model_used: str,
    provider: str,
    input_tokens: int,
    output_tokens: int,
    cost_usd: str,
) -> bytes:
    """The body of ``/v1/inference``. ``cost_usd`` is exact decimal text; tokens are those that were billed.

    ``content_blocks`` is null for plain text; with tool calls it lists the text, if any, and each call.
    """
    response = answer.response
    return msgspec.json.encode(
        {
            "agent_id": agent_id,
            "inference_id": inference_id,
            "receipt_id": receipt_id,
            "content": _encodable(response.content),
            "content_blocks": response.content_blocks,
            "model_used": model_used,
            "provider": provider,
            "finish_reason": response.finish_reason or "stop",
            "finish_reason_native": response.finish_reason_native and _encodable(response.finish_reason_native),
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": cost_usd,
        }
    )


def answer_members(body: bytes) -> list[Member]:
    """Where the members of a provider's object stand, repeated ones included."""
    try:
        return members(body)
    except ParseError:
        return members_with_repeats(body)


def splice_named(body: bytes, found: list[Member], values: dict[str, bytes]) -> bytes:
    """``body`` with each named value set: in its place where there is one, else appended."""
    present = {member.key for member in found}
    replace: dict[str, bytes | None] = {key: value for key, value in values.items() if key in present}
    return splice(body, found, replace, {key: value for key, value in values.items() if key not in present})


def _first_choice(listed: list[dict[str, Any]], usage: Usage | None, model: str | None) -> ChatResponse:
    if not listed:
        return ChatResponse(usage=usage, model=model)
    choice = listed[0]
    native = choice.get("finish_reason")
    native = native if isinstance(native, str) and native else None
    events: list[StreamEvent] = spoken_events(read_spoken(choice.get("message")), 0, CallPlaces())
    events.append(MessageDelta(map_finish_reason(native), native, usage, model))
    response = fold(events)
    return msgspec.structs.replace(response, content_blocks=_blocks(response))


def _blocks(response: ChatResponse) -> list[dict[str, Any]] | None:
    if not response.tool_calls:
        return None
    blocks: list[dict[str, Any]] = []
    if response.content:
        blocks.append({"type": "text", "text": _encodable(response.content)})
    blocks += [
        {
            "type": "tool_use",
            "id": _encodable(call.id),
            "name": _encodable(call.name),
            "input": _arguments(_encodable(call.arguments)),
        }
        for call in response.tool_calls
    ]
    return blocks


def _arguments(text: str) -> Any:
    """The arguments as an object where they are one, else the text as the model wrote it."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.MsgspecError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _encodable(text: str) -> str:
    """Half surrogates, which no UTF-8 can hold, become the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
