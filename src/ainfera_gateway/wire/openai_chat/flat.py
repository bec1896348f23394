"""The flat answer of ``/v1/inference``, whichever wire the answer came over."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.canonical.response import AnsweredText, AnsweredThinking, Block, ChatResponse
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.openai_chat.surrogates import encodable
from ainfera_gateway.wire.passage import Closing


def whole_flat(answer: Answer, closing: Closing) -> bytes:
    """The body of ``/v1/inference``. ``cost_usd`` is exact decimal text; tokens are those that were billed.

    ``content_blocks`` is null for plain text; with tool calls or reasoning it lists all that was answered, in order.
    """
    response = answer.response
    native = response.finish_reason_native
    return msgspec.json.encode(
        {
            "agent_id": closing.agent_id,
            "inference_id": closing.inference_id,
            "receipt_id": closing.receipt_id,
            "content": encodable(response.content),
            "content_blocks": content_blocks(response),
            "model_used": closing.model,
            "provider": closing.provider,
            "finish_reason": response.finish_reason or "stop",
            "finish_reason_native": native and encodable(native),
            "input_tokens": closing.usage.input_tokens or 0,
            "output_tokens": closing.usage.output_tokens or 0,
            "cost_usd": closing.cost_usd,
        }
    )


def content_blocks(response: ChatResponse) -> list[dict[str, Any]] | None:
    """The answer as a list of blocks in the words of Anthropic; None when it is nothing but text."""
    if all(isinstance(block, AnsweredText) for block in response.blocks):
        return None
    return [_block(block) for block in response.blocks]


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, AnsweredText):
        return {"type": "text", "text": encodable(block.text)}
    if isinstance(block, AnsweredThinking):
        return thinking_block(block)
    return {
        "type": "tool_use",
        "id": encodable(block.id),
        "name": encodable(block.name),
        "input": _arguments(encodable(block.arguments)),
    }


def thinking_block(block: AnsweredThinking) -> dict[str, Any]:
    """Reasoning as its maker wants it back: text with its signature (none where nobody signs), or what is redacted."""
    if block.redacted is not None:
        return {"type": "redacted_thinking", "data": block.redacted}
    written = {"type": "thinking", "thinking": encodable(block.text)}
    return written if block.signature is None else {**written, "signature": block.signature}


def _arguments(text: str) -> Any:
    """The arguments as an object where they are one, else the text as the model wrote it."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.MsgspecError, RecursionError):
        return text
    return value if isinstance(value, dict) else text
