"""The stored answer of an idempotency key, given again byte for byte."""

from __future__ import annotations

import base64

import msgspec

from ainfera_gateway.agents.secrets import open_sealed
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.records import IdempotencyHit


class StoredAnswer(msgspec.Struct, frozen=True):
    """What was answered the first time. ``headers`` are those that belong to the answer itself."""

    streamed: bool
    inference_id: str
    receipt_id: str
    headers: dict[str, str]
    body: bytes


_decoder = msgspec.json.Decoder(StoredAnswer)


def associated_data(agent_id: str, idempotency_hash: str) -> bytes:
    """What a sealed answer is bound to."""
    return f"answer:{agent_id}:{idempotency_hash}".encode()


def refuse_or_open(
    hit: IdempotencyHit, fingerprint: str, data_key: bytes, agent_id: str, idempotency_hash: str
) -> StoredAnswer:
    """The stored answer. Raises 422 for another request under the key, 409 while in flight or when too large."""
    if hit.fingerprint != fingerprint:
        raise GatewayError(
            422, "idempotency_conflict", "This Idempotency-Key was used for another request.", field="Idempotency-Key"
        )
    if hit.state == "in_flight":
        raise GatewayError(
            409, "idempotency_in_flight", "The first call with this Idempotency-Key is still running.",
            headers={"retry-after": "1"},
        )  # fmt: skip
    if hit.answer_sealed is None:
        raise GatewayError(
            409,
            "idempotency_too_large",
            "The answer to this Idempotency-Key was too large to keep; it is not repeated and not charged again.",
            headers={"x-should-retry": "false"},
        )
    sealed = base64.b64decode(hit.answer_sealed)
    return _decoder.decode(open_sealed(data_key, sealed, associated_data(agent_id, idempotency_hash)))
