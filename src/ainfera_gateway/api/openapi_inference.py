"""The hot routes in the OpenAPI document: their bodies' schemas come from the types that parse them."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.api.openapi_types import schema_of
from ainfera_gateway.wire.anthropic_messages.body import CountTokensBody, MessagesBody
from ainfera_gateway.wire.openai_chat.body import ChatBody
from ainfera_gateway.wire.openai_embeddings.body import EmbeddingsBody

_REFS = "#/components/schemas/{name}"
_CHAT_BODY = "ChatRequestBody"
_MESSAGES_BODY = "MessagesRequestBody"
_COUNT_BODY = "CountTokensRequestBody"
_EMBEDDINGS_BODY = "EmbeddingsRequestBody"

_ANSWER_HEADERS = {
    name: {"schema": {"type": "string"}, "description": text}
    for name, text in {
        "x-ainfera-agent-id": "Whose call this is",
        "x-ainfera-inference-id": "This call",
        "x-ainfera-receipt-id": "Its receipt, at /v1/receipts/{receipt_id}",
        "x-ainfera-audit-url": "Where its chain is verified",
        "x-ainfera-trace-id": "Its trace",
        "x-ainfera-model": "The slug that served",
        "x-ainfera-dropped-fields": "Members of the request that the serving provider could not be told",
        "x-ainfera-cost-usd": "What it cost, as exact decimal text; not on streams",
    }.items()
}

_CHAT_ANSWER = {
    "type": "object",
    "description": "OpenAI's chat completion with the member ainfera beside it",
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string"},
        "model": {"type": "string", "description": "The slug that served"},
        "choices": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": "object"},
        "ainfera": {
            "type": "object",
            "properties": {
                name: {"type": "string"}
                for name in ("agent_id", "inference_id", "receipt_id", "audit_verify_url", "provider", "cost_usd")
            },
        },
    },
}

_FLAT_ANSWER = {
    "type": "object",
    "properties": {
        **{
            name: {"type": "string"}
            for name in ("agent_id", "inference_id", "receipt_id", "content", "model_used", "provider", "cost_usd")
        },
        "content_blocks": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
        "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
        "finish_reason_native": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "input_tokens": {"type": "integer"},
        "output_tokens": {"type": "integer"},
    },
}

_MESSAGES_ANSWER = {
    "type": "object",
    "description": "Anthropic's message; ids and cost stand in the headers alone",
    "properties": {
        "id": {"type": "string"},
        "type": {"enum": ["message"]},
        "role": {"enum": ["assistant"]},
        "model": {"type": "string", "description": "The slug that served"},
        "content": {"type": "array", "items": {"type": "object"}},
        "stop_reason": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "usage": {"type": "object"},
    },
}

_COUNT_ANSWER = {"type": "object", "properties": {"input_tokens": {"type": "integer"}}}

_EMBEDDINGS_ANSWER = {
    "type": "object",
    "description": "OpenAI's list of embeddings with the member ainfera beside it",
    "properties": {
        "object": {"enum": ["list"]},
        "model": {"type": "string", "description": "The slug that served"},
        "data": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": "object"},
        "ainfera": {"type": "object"},
    },
}


def inference_paths() -> dict[str, Any]:
    """Path items of the inference routes."""
    return {
        "/v1/chat/completions": _path(
            "ainfera-inference in OpenAI's chat dialect, plain or streamed: the model is chosen, paid for and proved.",
            "chat_completions",
            _CHAT_BODY,
            _CHAT_ANSWER,
        ),
        "/v1/messages": _path(
            "ainfera-inference in Anthropic's messages dialect, plain or streamed: the same way, the same books.",
            "messages",
            _MESSAGES_BODY,
            _MESSAGES_ANSWER,
        ),
        "/v1/messages/count_tokens": _path(
            "ainfera-inference counts input tokens: exactly where the model's provider counts, else by an upper estimate.",
            "count_tokens",
            _COUNT_BODY,
            _COUNT_ANSWER,
            streams=False,
        ),
        "/v1/embeddings": _path(
            "ainfera-inference in OpenAI's embeddings dialect: vectors, paid for and proved like any call.",
            "embeddings",
            _EMBEDDINGS_BODY,
            _EMBEDDINGS_ANSWER,
            streams=False,
        ),
        "/v1/inference": _path(
            "ainfera-inference with a flat answer: content, model, tokens and cost side by side.",
            "inference",
            _CHAT_BODY,
            _FLAT_ANSWER,
        ),
    }


def inference_schemas() -> dict[str, Any]:
    """The named schemas that the path items refer to."""
    return {
        _CHAT_BODY: schema_of(ChatBody),
        _MESSAGES_BODY: schema_of(MessagesBody),
        _COUNT_BODY: schema_of(CountTokensBody),
        _EMBEDDINGS_BODY: schema_of(EmbeddingsBody),
    }


def _path(
    description: str, operation_id: str, body_name: str, schema: dict[str, Any], *, streams: bool = True
) -> dict[str, Any]:
    body = {"schema": {"$ref": _REFS.format(name=body_name)}}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    told = "The answer, or server-sent events with stream: true" if streams else "The answer"
    return {
        "post": {
            "tags": ["inference"],
            "summary": description.partition(":")[0],
            "description": description,
            "operationId": operation_id,
            "security": [{"bearer": []}],
            "requestBody": {"required": True, "content": {"application/json": body}},
            "responses": {"200": {"description": told, "headers": _ANSWER_HEADERS, "content": content}},
        }
    }
