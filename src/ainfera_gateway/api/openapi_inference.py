"""The hot routes in the OpenAPI document: their bodies' schemas come from the type that parses them."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.api.openapi_types import schema_of
from ainfera_gateway.wire.openai_chat import request as chat

_REFS = "#/components/schemas/{name}"
_BODY_NAME = "ChatRequestBody"

_ANSWER_HEADERS = {
    name: {"schema": {"type": "string"}, "description": text}
    for name, text in {
        "x-ainfera-agent-id": "Whose call this is",
        "x-ainfera-inference-id": "This call",
        "x-ainfera-receipt-id": "Its receipt, at /v1/receipts/{receipt_id}",
        "x-ainfera-audit-url": "Where its chain is verified",
        "x-ainfera-trace-id": "Its trace",
        "x-ainfera-model": "The slug that served",
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


def inference_paths() -> dict[str, Any]:
    """Path items of the inference routes."""
    return {
        "/v1/chat/completions": _path(
            "ainfera-inference in OpenAI's chat dialect, plain or streamed: the model is chosen, paid for and proved.",
            "chat_completions",
            _CHAT_ANSWER,
        ),
        "/v1/inference": _path(
            "ainfera-inference with a flat answer: content, model, tokens and cost side by side.",
            "inference",
            _FLAT_ANSWER,
        ),
    }


def inference_schemas() -> dict[str, Any]:
    """The named schemas that the path items refer to."""
    body = chat._Body  # noqa: SLF001 - the very type that parses, which nothing else needs to name
    return {_BODY_NAME: schema_of(body)}


def _path(description: str, operation_id: str, schema: dict[str, Any]) -> dict[str, Any]:
    body = {"schema": {"$ref": _REFS.format(name=_BODY_NAME)}}
    return {
        "post": {
            "tags": ["inference"],
            "summary": description.partition(":")[0],
            "description": description,
            "operationId": operation_id,
            "security": [{"bearer": []}],
            "requestBody": {"required": True, "content": {"application/json": body}},
            "responses": {
                "200": {
                    "description": "The answer, or server-sent events with stream: true",
                    "headers": _ANSWER_HEADERS,
                    "content": {
                        "application/json": {"schema": schema},
                        "text/event-stream": {"schema": {"type": "string"}},
                    },
                }
            },
        }
    }
