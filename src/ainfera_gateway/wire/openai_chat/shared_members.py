"""Members that our plain answers and the chunks of our streams have in common."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.wire.passage import Closing, Terms


def ainfera_object(closing: Closing) -> bytes:
    """JSON of ``{agent_id, inference_id, receipt_id, audit_verify_url, provider, cost_usd}``."""
    return msgspec.json.encode(
        {
            "agent_id": closing.agent_id,
            "inference_id": closing.inference_id,
            "receipt_id": closing.receipt_id,
            "audit_verify_url": closing.audit_url,
            "provider": closing.provider,
            "cost_usd": closing.cost_usd,
        }
    )


def answer_id(terms: Terms) -> str:
    """The id of a translated answer."""
    return f"chatcmpl-{terms.inference_id}"


def extra_content(thought_signature: str | None) -> dict[str, Any]:
    """Google's signature as a member of a tool call; nothing where there is none."""
    if thought_signature is None:
        return {}
    return {"extra_content": {"google": {"thought_signature": thought_signature}}}
