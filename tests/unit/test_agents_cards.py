"""Agent cards: what is signed, and what a verdict says about everything else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from ainfera_gateway.agents.cards import (
    JWS_CHARS_MAX,
    CardError,
    card_payload,
    mint_card,
    new_agent_key,
    verify_card,
)

AGENT = new_agent_key()
PAYLOAD = card_payload(
    agent_id="a-1",
    tenant_id="t-1",
    handle="zoe-bot",
    owner_handle="agents",
    issued_at="2026-11-23T20:30:00.000000Z",
    iss="https://gateway.example",
)
CARD = mint_card(AGENT.private_key, AGENT.kid, PAYLOAD)


def pem_of(agent_id: str, kid: str) -> str | None:
    return AGENT.public_pem if (agent_id, kid) == ("a-1", AGENT.kid) else None


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> str:
    """Any header over any payload, with a signature by the agent that fits."""
    parts = [b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)]
    key = Ed25519PrivateKey.from_private_bytes(AGENT.private_key)
    return ".".join([*parts, b64(key.sign(".".join(parts).encode()))])


HEADER = {"alg": "EdDSA", "kid": AGENT.kid}


def test_a_card_carries_the_contracts_members() -> None:
    assert CARD.payload == {
        "agent_id": "a-1",
        "sub": "did:web:ainfera.ai:agents:zoe-bot",
        "tenant_id": "t-1",
        "handle": "zoe-bot",
        "owner_handle": "agents",
        "canonical_uri": "ainfera.ai/agents/zoe-bot",
        "layer": "L1",
        "issued_at": "2026-11-23T20:30:00.000000Z",
        "iss": "https://gateway.example",
    }
    assert CARD.kid == AGENT.kid


def test_the_jws_is_compact_eddsa_and_decodes_to_exactly_the_payload() -> None:
    header, payload, signature = CARD.jws.split(".")
    assert json.loads(unb64(header)) == {"alg": "EdDSA", "kid": AGENT.kid}
    assert json.loads(unb64(payload)) == CARD.payload
    # Checked without any JOSE library: RFC 8037 signs the text before the last dot.
    public = serialization.load_pem_public_key(AGENT.public_pem.encode())
    assert isinstance(public, Ed25519PublicKey)
    public.verify(unb64(signature), f"{header}.{payload}".encode())


def test_the_kid_is_the_standard_thumbprint_of_the_pem() -> None:
    assert OKPKey.import_key(AGENT.public_pem).thumbprint() == AGENT.kid
    assert AGENT.public_pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert repr(AGENT) == f"AgentKey(kid={AGENT.kid!r})"


def test_a_good_card_is_valid() -> None:
    assert verify_card(CARD.jws, pem_of).as_dict() == {
        "valid": True,
        "payload": PAYLOAD,
        "kid": AGENT.kid,
        "alg": "EdDSA",
        "agent_id": "a-1",
        "reason": None,
    }


@pytest.mark.parametrize(
    "payload", [{"a": 1.5}, {"a": float("nan")}, {1: "a"}, {"a": (1,)}, {"a": b""}, {"a": "\ud800"}]
)
def test_what_would_not_decode_to_itself_is_not_signed(payload: dict[str, Any]) -> None:
    with pytest.raises(CardError):
        mint_card(AGENT.private_key, AGENT.kid, payload)


def hs256_with_the_public_key() -> str:
    """The old confusion: the public key, taken for a shared secret."""
    parts = f"{b64(json.dumps({'alg': 'HS256', 'kid': AGENT.kid}).encode())}.{b64(json.dumps(PAYLOAD).encode())}"
    return f"{parts}.{b64(hmac.digest(AGENT.public_pem.encode(), parts.encode(), hashlib.sha256))}"


def with_a_key_of_its_own() -> str:
    """A stranger's signature beside the stranger's own key in the header."""
    stranger = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(stranger.public_key().public_bytes_raw())}
    parts = f"{b64(json.dumps({**HEADER, 'jwk': jwk}).encode())}.{b64(json.dumps(PAYLOAD).encode())}"
    return f"{parts}.{b64(stranger.sign(parts.encode()))}"


BAD_HEADERS = "the header has members that a card does not have"
UNREADABLE = "header or payload is not base64url of a JSON object"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed({**HEADER, "alg": "none"}, PAYLOAD), "alg must be EdDSA"),
        (CARD.jws.rsplit(".", 1)[0] + ".", "the signature does not fit"),
        (b64(b'{"alg":"none"}') + "." + CARD.jws.split(".")[1] + ".", "alg must be EdDSA"),
        (hs256_with_the_public_key(), "alg must be EdDSA"),
        (signed({**HEADER, "alg": "eddsa"}, PAYLOAD), "alg must be EdDSA"),
        (signed({**HEADER, "alg": "Ed25519"}, PAYLOAD), "alg must be EdDSA"),
        (signed({**HEADER, "alg": ["EdDSA"]}, PAYLOAD), "alg must be EdDSA"),
        (signed({"kid": AGENT.kid}, PAYLOAD), "alg must be EdDSA"),
        (with_a_key_of_its_own(), BAD_HEADERS),
        (signed({**HEADER, "jku": "https://evil.example/keys"}, PAYLOAD), BAD_HEADERS),
        (signed({**HEADER, "crit": ["b64"], "b64": False}, PAYLOAD), BAD_HEADERS),
        (signed({"alg": "EdDSA"}, PAYLOAD), "the header lacks kid"),
        (signed(HEADER, {"sub": "x"}), "the payload lacks agent_id"),
        (signed(HEADER, {"agent_id": 7}), "the payload lacks agent_id"),
        (signed({**HEADER, "kid": "another"}, PAYLOAD), "unknown agent or key"),
        (signed(HEADER, {**PAYLOAD, "agent_id": "a-2"}), "unknown agent or key"),
        (mint_card(new_agent_key().private_key, AGENT.kid, PAYLOAD).jws, "the signature does not fit"),
        (signed(b'{"alg":"none","alg":"EdDSA","kid":"k"}', PAYLOAD), UNREADABLE),
        (signed(HEADER, b'{"agent_id":"a-2","agent_id":"a-1"}'), UNREADABLE),
        (signed(HEADER, b'{"agent_id":"a-1","n":1.5}'), UNREADABLE),
        (signed(HEADER, b"[]"), UNREADABLE),
        (signed(HEADER, b"[" * 5000), UNREADABLE),
        (signed(HEADER, b"\xff"), UNREADABLE),
        ("a.b.c", UNREADABLE),
        ("..", UNREADABLE),
        ("", "not a compact JWS"),
        ("a.b", "not a compact JWS"),
        (CARD.jws + ".x", "not a compact JWS"),
        ("é" + CARD.jws, "not a compact JWS"),
        (CARD.jws + "\n", "the signature does not fit"),
        (" " + CARD.jws, UNREADABLE),
        ("A" * (JWS_CHARS_MAX + 1), "the card is too long"),
    ],
    # The tokens differ from run to run; the names of the tests must not.
    ids=itertools.count(),
)
def test_refused_with_a_reason(token: str, reason: str) -> None:
    verdict = verify_card(token, pem_of)
    assert (verdict.valid, verdict.payload, verdict.reason) == (False, None, reason)


def test_a_changed_member_is_noticed() -> None:
    header, _payload, signature = CARD.jws.split(".")
    changed = b64(json.dumps({**PAYLOAD, "tenant_id": "t-2"}).encode())
    assert verify_card(f"{header}.{changed}.{signature}", pem_of).reason == "the signature does not fit"


def test_one_card_has_one_spelling() -> None:
    """Base64 leaves idle bits in its last character; no spelling but the signer's is a card."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for end in (index for index, char in enumerate(CARD.jws + ".") if char == "."):
        last = CARD.jws[end - 1]
        respelt = CARD.jws[: end - 1] + alphabet[alphabet.index(last) ^ 1] + CARD.jws[end:]
        assert not verify_card(respelt, pem_of).valid


@pytest.mark.parametrize("pem", ["", "no pem", AGENT.public_pem.replace("M", "!"), "é"], ids=range(4))
def test_a_stored_key_that_cannot_be_read_is_a_verdict(pem: str) -> None:
    assert verify_card(CARD.jws, lambda _agent, _kid: pem).reason == "the agent's key cannot be read"


@pytest.mark.parametrize("private", [ec.generate_private_key(ec.SECP256R1()), Ed448PrivateKey.generate()])
def test_a_stored_key_of_another_kind_is_a_verdict(private: ec.EllipticCurvePrivateKey | Ed448PrivateKey) -> None:
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert verify_card(CARD.jws, lambda _agent, _kid: pem.decode()).reason == "the agent's key is not Ed25519"


@given(
    st.text(max_size=200)
    | st.lists(st.text(alphabet="AQabeyJ-_{}0", max_size=30), min_size=3, max_size=3).map(".".join)
)
def test_garbage_is_a_verdict(token: str) -> None:
    verdict = verify_card(token, pem_of)
    assert verdict.valid is False
    assert verdict.reason
