"""The fields of an embeddings request that this gateway reads, in the dialect's own form."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ainfera_gateway.canonical.request import TaskType
from ainfera_gateway.wire.routing_inputs import CapFields, HintFields, MetadataFields

INPUTS_MAX = 2048
DIMENSIONS_MAX = 65_536

Token = Annotated[int, Meta(ge=0, lt=2**31)]
Input = (
    Annotated[str, Meta(min_length=1)]
    | Annotated[
        tuple[Annotated[str, Meta(min_length=1)] | Token | Annotated[tuple[Token, ...], Meta(min_length=1)], ...],
        Meta(min_length=1),
    ]
)
"""A text, texts, the tokens of one text, or the tokens of several."""


class EmbeddingsBody(Struct, frozen=True):
    """The fields this gateway reads; null means the same as absent, as the dialect has it."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: Input
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=DIMENSIONS_MAX)] | None = None
    user: str | None = None
    agent_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    routing_hint: HintFields | None = None
    task_type: TaskType | None = None
    caps: CapFields | None = None
    metadata: MetadataFields | None = None
