"""Agent cards: compact JWS (RFC 7515), EdDSA over Ed25519, signed with the agent's own key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwa import EdDSAAlgorithm
from joserfc.jwk import OKPKey

from ainfera_gateway.agents.handles import DEFAULT_HOST, canonical_uri, did_web

ALGORITHM = "EdDSA"
LAYER = "L1"
JWS_CHARS_MAX = 16_384


@dataclass(frozen=True, slots=True, repr=False)
class AgentKey:
    """An agent's new key pair. ``private_key`` is 32 raw bytes, to be sealed; ``kid`` the RFC 7638 thumbprint."""

    private_key: bytes
    public_pem: str
    kid: str

    def __repr__(self) -> str:
        return f"AgentKey(kid={self.kid!r})"


@dataclass(frozen=True, slots=True)
class Card:
    """A signed card. ``payload`` is exactly what the JWS decodes to."""

    jws: str
    payload: dict[str, Any]
    kid: str


@dataclass(frozen=True, slots=True)
class CardVerdict:
    """What ``verify_card`` found. ``payload`` is shown only when the signature is good; ``kid``, ``alg`` and ``agent_id``
    are what the card claims, where it is readable."""

    valid: bool
    payload: dict[str, Any] | None
    kid: str | None
    alg: str | None
    agent_id: str | None
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "valid": self.valid,
            "payload": self.payload,
            "kid": self.kid,
            "alg": self.alg,
            "agent_id": self.agent_id,
            "reason": self.reason,
        }


class _CardAlgorithm(EdDSAAlgorithm):
    """RFC 8037's name for the algorithm, which cards keep; RFC 9864 would call it Ed25519, hence the library's warning."""

    security_warning = ""


_registry = jws.JWSRegistry(algorithms=[ALGORITHM])
# It knows this one algorithm and no other, so that no header can ask for another.
_registry.algorithms = {ALGORITHM: _CardAlgorithm()}


class CardError(ValueError):
    """The payload cannot stand on a card."""


def new_agent_key() -> AgentKey:
    """A fresh Ed25519 key pair."""
    private = Ed25519PrivateKey.generate()
    public_pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return AgentKey(
        private_key=private.private_bytes_raw(),
        public_pem=public_pem.decode("ascii"),
        kid=OKPKey.import_key(public_pem).thumbprint(),
    )


def card_payload(
    *,
    agent_id: str,
    tenant_id: str,
    handle: str,
    owner_handle: str,
    issued_at: str,
    iss: str,
    host: str = DEFAULT_HOST,
) -> dict[str, Any]:
    """The members of a card. ``issued_at`` is RFC 3339 text in UTC, ``iss`` the gateway's public URL."""
    return {
        "agent_id": agent_id,
        "sub": did_web(owner_handle, handle, host),
        "tenant_id": tenant_id,
        "handle": handle,
        "owner_handle": owner_handle,
        "canonical_uri": canonical_uri(owner_handle, handle, host),
        "layer": LAYER,
        "issued_at": issued_at,
        "iss": iss,
    }


def mint_card(private_key: bytes, kid: str, payload: dict[str, Any]) -> Card:
    """Sign ``payload`` with the agent's raw private key. Raises ``CardError`` when it would not decode to itself."""
    try:
        encoded = json.dumps(
            payload, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode("utf-8")
        decoded = _decode_object(encoded)
    except (ValueError, TypeError, RecursionError) as exc:
        raise CardError("a card holds JSON without floats") from exc
    if decoded != payload:
        raise CardError("the payload does not decode to itself")
    private = Ed25519PrivateKey.from_private_bytes(private_key)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    token = jws.serialize_compact({"alg": ALGORITHM, "kid": kid}, encoded, OKPKey.import_key(pem), registry=_registry)
    return Card(jws=token, payload=decoded, kid=kid)


def verify_card(token: str, public_pem_of: Callable[[str, str], str | None]) -> CardVerdict:
    """Check a card; whatever is handed in, the answer is a verdict.

    ``public_pem_of(agent_id, kid)`` finds the agent's public key, ``None`` when there is none. The key always comes from
    there and the algorithm is always EdDSA: nothing in the header can choose another.
    """
    try:
        header, payload = _read_parts(token)
    except ValueError as exc:
        return CardVerdict(valid=False, payload=None, kid=None, alg=None, agent_id=None, reason=str(exc))
    alg, kid, agent_id = _text(header.get("alg")), _text(header.get("kid")), _text(payload.get("agent_id"))
    reason = _claims_fault(header, alg, kid, agent_id)
    if reason is None and kid is not None and agent_id is not None:
        public_pem = public_pem_of(agent_id, kid)
        reason = "unknown agent or key" if public_pem is None else _signature_fault(token, public_pem)
    return CardVerdict(
        valid=reason is None,
        payload=payload if reason is None else None,
        kid=kid,
        alg=alg,
        agent_id=agent_id,
        reason=reason,
    )


def _claims_fault(header: dict[str, Any], alg: str | None, kid: str | None, agent_id: str | None) -> str | None:
    if alg != ALGORITHM:
        return f"alg must be {ALGORITHM}"
    if not set(header) <= {"alg", "kid", "typ"}:
        return "the header has members that a card does not have"
    if kid is None:
        return "the header lacks kid"
    if agent_id is None:
        return "the payload lacks agent_id"
    return None


def _signature_fault(token: str, public_pem: str) -> str | None:
    try:
        public = serialization.load_pem_public_key(public_pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        return "the agent's key cannot be read"
    if not isinstance(public, Ed25519PublicKey):
        return "the agent's key is not Ed25519"
    try:
        jws.deserialize_compact(token, OKPKey.import_key(public_pem), registry=_registry)
    except (JoseError, ValueError):
        return "the signature does not fit"
    return None


def _read_parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload, unverified. Raises ``ValueError`` whose text is the reason."""
    if len(token) > JWS_CHARS_MAX:
        raise ValueError("the card is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise ValueError("not a compact JWS")
    try:
        header, payload = _decode_object(_base64url(parts[0])), _decode_object(_base64url(parts[1]))
    except (ValueError, RecursionError) as exc:
        raise ValueError("header or payload is not base64url of a JSON object") from exc
    return header, payload


def _base64url(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64url") from exc


def _decode_object(data: bytes) -> dict[str, Any]:
    decoded = json.loads(data, object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse)
    if not isinstance(decoded, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one kind of error for all that is not a card
    return decoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _refuse(token: str) -> Any:
    raise ValueError(f"{token} has no place on a card")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
