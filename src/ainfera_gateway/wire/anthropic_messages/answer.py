"""Read a whole answer of a provider, and write the one that goes to the caller."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ainfera_gateway.canonical.events import MessageDelta, StreamEvent, fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.response import (
    AnsweredText,
    AnsweredThinking,
    AnsweredToolCall,
    Block,
    ChatResponse,
    FinishReason,
)
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.anthropic_messages.content import block_events, block_text, finish_reason, text_of
from ainfera_gateway.wire.anthropic_messages.tool_ids import with_thought
from ainfera_gateway.wire.anthropic_messages.tool_input import object_input
from ainfera_gateway.wire.anthropic_messages.usage import read_usage, usage_object
from ainfera_gateway.wire.lenient import read_json
from ainfera_gateway.wire.openai_chat.surrogates import encodable
from ainfera_gateway.wire.passage import Closing, Terms


class _SentBlock(Struct):
    input: Raw = Raw(b"null")


class _SentContent(Struct):
    content: list[_SentBlock] = []


_sent_decoder = msgspec.json.Decoder(_SentContent)


def read_answer(body: bytes) -> Answer:
    """The essentials of a 200 body. Raises ``ParseError`` when it is no answer at all (not a JSON object, an error)."""
    try:
        document = read_json(body)
    except ValueError:
        raise ParseError("the provider's answer is not JSON", None) from None
    if not isinstance(document, dict):
        raise ParseError("the provider's answer is not an object", None)
    content = document.get("content")
    if document.get("type") == "error" or (document.get("error") and not content):
        raise ParseError("the provider's answer is an error", "error")
    usage = read_usage(document.get("usage"))
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    texts = [block_text(block) for block in blocks]
    response = _read_response(document, _with_sent_inputs(body, content, blocks))
    response = msgspec.structs.replace(response, usage=usage, content_blocks=_content_blocks(response))
    said = any(texts) or any(block.get("type") not in {"text", "thinking"} for block in blocks)
    filtered = response.finish_reason == "content_filter"
    return Answer(
        response=response,
        usage=usage,
        model=response.model,
        id=text_of(document.get("id")) or None,
        empty=not isinstance(content, list) or not (said or filtered or (usage is not None and usage.output_tokens)),
        text_chars=sum(map(len, texts)),
        text_bytes=sum(len(text.encode("utf-8", "surrogatepass")) for text in texts),
    )


def write_answer(response: ChatResponse, closing: Closing, terms: Terms, *, show_thinking: bool = False) -> bytes:
    """The body for a caller of this dialect.

    Arguments that are no JSON object stand as text in ``input`` under ``_raw``, for an input must be an object.
    Reasoning of another vendor is told only to who asked (``show_thinking``), and then without a signature.
    """
    calls = 0
    content: list[dict[str, Any]] = []
    for block in _blocks_of(response):
        if isinstance(block, AnsweredThinking):
            content += written_thinking(block, terms) if show_thinking else []
        elif isinstance(block, AnsweredToolCall):
            content.append(_written_call(block, calls, terms))
            calls += 1
        else:
            content.append({"type": "text", "text": encodable(block.text)})
    return msgspec.json.encode(
        {
            "id": message_id(terms),
            "type": "message",
            "role": "assistant",
            "model": terms.slug,
            "content": content,
            "stop_reason": stop_reason(response.finish_reason, response.stop_sequence, called=calls > 0),
            "stop_sequence": response.stop_sequence and encodable(response.stop_sequence),
            "usage": usage_object(closing.usage),
        }
    )


def message_id(terms: Terms) -> str:
    """The id of an answer that was made in another dialect."""
    return f"msg_{terms.inference_id}"


def call_id(sent: str, index: int, thought_signature: str | None, terms: Terms) -> str:
    """The id of a call, with the signature behind it; one of our own where the provider gave none."""
    return with_thought(encodable(sent) or f"toolu_{terms.inference_id}_{index}", thought_signature)


def stop_reason(finish: FinishReason | None, stop_sequence: str | None, *, called: bool) -> str:
    """This dialect's word. A call that was made makes it ``tool_use``, for some providers say ``stop`` then."""
    if finish == "length":
        return "max_tokens"
    if finish == "content_filter":
        return "refusal"
    if called:
        return "tool_use"
    return "stop_sequence" if stop_sequence is not None else "end_turn"


def shown_signature(signature: str | None, terms: Terms) -> str:
    """The signature as a caller of this dialect may have it: only one that can come back to its maker."""
    return signature if signature and terms.wire == "anthropic_messages" else ""


def written_thinking(block: AnsweredThinking, terms: Terms) -> list[dict[str, Any]]:
    """The block of a stretch of reasoning; none for what another vendor redacted."""
    if block.redacted is not None:
        mine = terms.wire == "anthropic_messages"
        return [{"type": "redacted_thinking", "data": block.redacted}] if mine else []
    signature = shown_signature(block.signature, terms)
    return [{"type": "thinking", "thinking": encodable(block.text), "signature": signature}]


def _read_response(document: dict[str, Any], blocks: list[dict[str, Any]]) -> ChatResponse:
    events: list[StreamEvent] = []
    calls = 0
    for block in blocks:
        events += block_events(block, calls)
        calls += block.get("type") == "tool_use"
    native = text_of(document.get("stop_reason")) or None
    sequence = text_of(document.get("stop_sequence")) or None
    model = text_of(document.get("model")) or None
    events.append(MessageDelta(finish_reason(native), native, model=model, stop_sequence=sequence))
    return fold(events)


def _with_sent_inputs(body: bytes, content: Any, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks with each input as the JSON text that was sent, so that no number changes on the way."""
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    if not calls or len(blocks) != len(content):
        return [_with_input(block) for block in blocks]
    try:
        sent = _sent_decoder.decode(body).content
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [_with_input(block) for block in blocks]
    return [
        {**block, "input": raw.input} if block.get("type") == "tool_use" and block.get("input") is not None else block
        for block, raw in zip(blocks, sent, strict=True)
    ]


def _with_input(block: dict[str, Any]) -> dict[str, Any]:
    """A call without input says ``{}``, as it does when it is streamed."""
    if block.get("type") != "tool_use" or block.get("input"):
        return block
    return {**block, "input": Raw(b"{}")}


def _content_blocks(response: ChatResponse) -> list[dict[str, Any]] | None:
    if not response.tool_calls:
        return None
    blocks: list[dict[str, Any]] = []
    if response.content:
        blocks.append({"type": "text", "text": encodable(response.content)})
    return blocks + [
        {
            "type": "tool_use",
            "id": encodable(call.id),
            "name": encodable(call.name),
            "input": msgspec.json.decode(object_input(call.arguments)),
        }
        for call in response.tool_calls
    ]


def _blocks_of(response: ChatResponse) -> tuple[Block, ...]:
    if response.blocks:
        return response.blocks
    text = (AnsweredText(response.content),) if response.content else ()
    return (*text, *response.tool_calls)


def _written_call(call: AnsweredToolCall, index: int, terms: Terms) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": call_id(call.id, index, call.thought_signature, terms),
        "name": encodable(call.name),
        "input": object_input(call.arguments),
    }
