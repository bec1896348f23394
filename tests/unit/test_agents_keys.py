"""API keys, handles and secrets at rest."""

from __future__ import annotations

import hashlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.agents.handles import canonical_uri, did_web, handle_fault, owner_handle_fault
from ainfera_gateway.agents.keys import KEY_CHARS, hash_key, mint, well_formed
from ainfera_gateway.agents.secrets import SealError, open_sealed, seal

URL_SAFE = string.ascii_letters + string.digits + "-_"


def test_a_minted_key_has_the_contracts_form() -> None:
    key = mint()
    assert re.fullmatch(r"ainfera_[A-Za-z0-9_-]{32,}", key.secret)
    assert len(key.secret) == KEY_CHARS
    assert key.secret.startswith(key.prefix)
    assert len(key.prefix) == len("ainfera_") + 6
    assert key.key_hash == hash_key(key.secret) == hashlib.sha256(key.secret.encode()).hexdigest()
    assert well_formed(key.secret)


def test_keys_differ_and_never_show_in_a_repr() -> None:
    keys = [mint() for _ in range(100)]
    assert len({key.secret for key in keys}) == 100
    assert all(key.secret not in repr(key) and key.key_hash not in repr(key) for key in keys)


def test_every_single_typing_error_is_noticed() -> None:
    secret = mint().secret
    for index in range(len("ainfera_"), len(secret)):
        for char in URL_SAFE:
            if char != secret[index]:
                assert not well_formed(secret[:index] + char + secret[index + 1 :])


def test_neighbours_swapped_and_characters_lost_or_doubled_are_noticed() -> None:
    secret = mint().secret
    for index in range(len(secret)):
        swapped = secret[:index] + secret[index : index + 2][::-1] + secret[index + 2 :]
        assert swapped == secret or not well_formed(swapped)
        assert not well_formed(secret[:index] + secret[index + 1 :])
        assert not well_formed(secret[:index] + secret[index] + secret[index:])


@given(st.text(max_size=80) | st.text(alphabet=URL_SAFE, min_size=49, max_size=49).map("ainfera_".__add__))
def test_garbage_is_not_well_formed_and_raises_nothing(text: str) -> None:
    assert not well_formed(text)
    assert len(hash_key(text)) == 64


@pytest.mark.parametrize("secret", ["", "ainfera_", "ainfera_" + "A" * 49, "sk-" + "a" * 54, "\ud800" * KEY_CHARS])
def test_what_is_no_key(secret: str) -> None:
    assert not well_formed(secret)


def test_the_checksum_is_over_the_letters_not_over_the_bytes_they_stand_for() -> None:
    """The last of 43 base64 characters has two idle bits: respelling it is another key, and a wrong one."""
    secret = mint().secret
    at = len("ainfera_") + 42
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    respelt = alphabet[alphabet.index(secret[at]) ^ 1]
    assert not well_formed(secret[:at] + respelt + secret[at + 1 :])


@pytest.mark.parametrize("handle", ["abc", "a-b", "0-9", "a" * 40, "---", "agent-7"])
def test_good_handles(handle: str) -> None:
    assert handle_fault(handle) is None


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "ab",
        "a" * 41,
        "Abc",
        "a_b",
        "a b",
        "abc\n",
        "äbc",
        "a.b",
        "a/b",
        "аbc",
        "a\0b",
        "٣٣٣",
        "01a20a7a-9e6c-7001-9965-451a7e3f425e",
    ],
)
def test_bad_handles(handle: str) -> None:
    assert handle_fault(handle)


def test_owner_handles_may_be_short() -> None:
    assert owner_handle_fault("x") is None
    assert owner_handle_fault("")
    assert owner_handle_fault("X")
    assert owner_handle_fault("a" * 41)


def test_names_made_of_handles() -> None:
    assert canonical_uri("agents", "my-bot") == "ainfera.ai/agents/my-bot"
    assert did_web("agents", "my-bot") == "did:web:ainfera.ai:agents:my-bot"
    assert canonical_uri("o", "bot", "localhost:8000") == "localhost:8000/o/bot"
    assert did_web("o", "bot", "localhost:8000") == "did:web:localhost%3A8000:o:bot"


DATA_KEY = b"d" * 32


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_sealed_opens_in_its_place_only(plaintext: bytes, place: bytes) -> None:
    sealed = seal(DATA_KEY, plaintext, place)
    assert open_sealed(DATA_KEY, sealed, place) == plaintext
    with pytest.raises(SealError):
        open_sealed(DATA_KEY, sealed, place + b"x")
    with pytest.raises(SealError):
        open_sealed(b"e" * 32, sealed, place)


def test_every_changed_or_missing_byte_is_noticed() -> None:
    sealed = seal(DATA_KEY, b"private key", b"agent-key:1")
    for index in range(len(sealed)):
        with pytest.raises(SealError):
            open_sealed(DATA_KEY, sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :], b"agent-key:1")
        with pytest.raises(SealError):
            open_sealed(DATA_KEY, sealed[:index], b"agent-key:1")


def test_sealing_twice_gives_different_texts_without_the_secret() -> None:
    first, second = seal(DATA_KEY, b"a secret text", b""), seal(DATA_KEY, b"a secret text", b"")
    assert first != second
    assert b"secret" not in first + second
