"""The terms of one attempt: model, limits and the provider's ways, as the codecs take them. Pure."""

from __future__ import annotations

from ainfera_gateway.ids import id_time_s
from ainfera_gateway.inference.plan import Target
from ainfera_gateway.providers.backend import Backend
from ainfera_gateway.wire.passage import Terms


def terms_of(target: Target, backend: Backend, output_tokens: int, inference_id: str) -> Terms:
    """Terms for sending a call to ``target``, with the output that was granted."""
    model = target.model
    return Terms(
        wire=model.wire or backend.wire,
        provider=model.provider,
        slug=model.slug,
        upstream_model=target.upstream_model,
        max_tokens=output_tokens,
        max_tokens_field=backend.max_tokens_field,
        knows_usage_option=backend.knows_usage_option,
        drop_fields=backend.drop_fields,
        quirks=backend.quirks,
        inference_id=inference_id,
        created_s=id_time_s(inference_id),
        input_tokens=target.ask.input_tokens,
    )


def adapter_terms(target: Target, output_tokens: int, inference_id: str) -> Terms:
    """Terms for asking an adapter, which speaks no wire: only the caller's side reads them."""
    return Terms(
        wire="openai_chat",
        provider=target.model.provider,
        slug=target.model.slug,
        upstream_model=target.upstream_model,
        max_tokens=output_tokens,
        inference_id=inference_id,
        created_s=id_time_s(inference_id),
        input_tokens=target.ask.input_tokens,
    )
