"""Read a whole answer of a provider, and write the one that goes to the caller."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.events import MessageDelta, StreamEvent, fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.response import AnsweredThinking, ChatResponse, map_finish_reason
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.json_splice import Member, members, members_with_repeats, splice
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.flat import content_blocks, thinking_block
from ainfera_gateway.wire.openai_chat.message import CallPlaces, read_spoken, spoken_events, spoken_text
from ainfera_gateway.wire.openai_chat.shared_members import ainfera_object, answer_id, extra_content
from ainfera_gateway.wire.openai_chat.surrogates import encodable
from ainfera_gateway.wire.openai_chat.usage import read_usage, usage_object
from ainfera_gateway.wire.passage import Closing, Terms


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


def write_answer(response: ChatResponse, closing: Closing, terms: Terms) -> bytes:
    """The answer of a provider who spoke another dialect, as this one has it.

    ``content`` is null for an answer of nothing but calls. Reasoning is in ``reasoning_content``, and where its maker
    signed it also in ``thinking_blocks``, to be sent back as it is.
    """
    message: dict[str, Any] = {"role": "assistant", "content": encodable(response.content) or None, "refusal": None}
    if not response.content and not response.tool_calls:
        message["content"] = ""
    if response.thinking:
        message["reasoning_content"] = encodable(response.thinking)
    thinking = [block for block in response.blocks if isinstance(block, AnsweredThinking)]
    if any(block.signature is not None or block.redacted is not None for block in thinking):
        message["thinking_blocks"] = [thinking_block(block) for block in thinking]
    if response.tool_calls:
        message["tool_calls"] = [
            {
                "id": encodable(call.id) or f"call_{index}",
                "type": "function",
                "function": {"name": encodable(call.name), "arguments": encodable(call.arguments)},
                **extra_content(call.thought_signature),
            }
            for index, call in enumerate(response.tool_calls)
        ]
    reason = response.finish_reason or ("tool_calls" if response.tool_calls else "stop")
    return msgspec.json.encode(
        {
            "id": answer_id(terms),
            "object": "chat.completion",
            "created": terms.created_s,
            "model": terms.slug,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
            "usage": usage_object(closing.usage),
            "ainfera": Raw(ainfera_object(closing)),
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
    spoken = read_spoken(choice.get("message"))
    # Nothing here comes in fragments: each entry is a call of its own, whatever index or id it lacks.
    calls = tuple({**call, "index": place} for place, call in enumerate(spoken.calls))
    events: list[StreamEvent] = spoken_events(msgspec.structs.replace(spoken, calls=calls), 0, CallPlaces())
    events.append(MessageDelta(map_finish_reason(native), native, usage, model))
    response = fold(events)
    return msgspec.structs.replace(response, content_blocks=content_blocks(response))
