"""The way of one attempt through the dialects: out to the provider in its words, back to the caller in its own."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame, FrameReader


class Terms(Struct, frozen=True, kw_only=True):
    """What an attempt is made on. ``slug`` is what the caller is told served, ``upstream_model`` what is asked for.

    ``provider`` decides whose signatures may travel. ``quirks`` are those of the catalog's provider row. ``input_tokens``
    is the estimate that a translated stream begins with. ``created_s`` is a Unix time.
    """

    wire: Wire
    provider: str
    slug: str
    upstream_model: str
    max_tokens: int
    max_tokens_field: str = "max_tokens"
    knows_usage_option: bool = True
    drop_fields: frozenset[str] = frozenset()
    quirks: frozenset[str] = frozenset()
    inference_id: str = ""
    created_s: int = 0
    input_tokens: int = 0


class Closing(Struct, frozen=True, kw_only=True):
    """What is known once a call is settled: who served, what it cost, and the ``usage`` that was billed."""

    agent_id: str
    inference_id: str
    receipt_id: str
    audit_url: str
    provider: str
    model: str
    cost_usd: str
    usage: Usage


class Passage(Protocol):
    """One attempt's way. ``path`` goes behind the provider's base URL, ``dropped`` names what could not be carried.

    Of a stream, ``relay`` gives the caller's bytes for each frame (``b""`` for what is kept back, hidden or no part of
    an answer) and ``finish`` its end; ``text_bytes`` counts what was relayed. Of a plain answer, ``whole`` gives the body.
    """

    path: str
    body: bytes
    dropped: tuple[str, ...]

    @property
    def text_bytes(self) -> int: ...

    def reader(self) -> FrameReader: ...

    def relay(self, frame: Frame, /) -> bytes: ...

    def finish(self, closing: Closing) -> bytes: ...

    def read_answer(self, body: bytes, /) -> Answer: ...

    def whole(self, answer: Answer, body: bytes, closing: Closing) -> bytes: ...
