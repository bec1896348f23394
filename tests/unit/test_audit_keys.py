"""The gateway's key files and the published key document."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ainfera_verify.fetch import fetch_public_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import OKPKey

from ainfera_gateway.audit.keys import (
    CHAIN_HMAC_KEY_FILE,
    CHECKPOINT_KEY_FILE,
    DATA_KEY_FILE,
    KeyFileError,
    _create,
    key_id,
    load_or_create_bytes,
    load_or_create_keys,
    parse_data_key,
    public_key_document,
    public_key_pem,
)

FILES = [CHAIN_HMAC_KEY_FILE, CHECKPOINT_KEY_FILE, DATA_KEY_FILE]


def test_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    first = load_or_create_keys(tmp_path / "data")
    second = load_or_create_keys(tmp_path / "data")
    assert first.chain_hmac_key == second.chain_hmac_key
    assert first.data_key == second.data_key
    assert first.checkpoint_kid == second.checkpoint_kid
    assert len({first.chain_hmac_key, first.data_key}) == 2
    assert load_or_create_keys(tmp_path / "other").chain_hmac_key != first.chain_hmac_key


def test_files_are_their_owners_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_keys(tmp_path)
    finally:
        os.umask(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", FILES)
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / name).chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_create_keys(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33, b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_key_stops_the_start_and_is_never_replaced(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=name):
        load_or_create_keys(tmp_path)
    assert path.read_bytes() == content


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    pem = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / CHECKPOINT_KEY_FILE
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="another kind"):
        load_or_create_keys(tmp_path)


def test_a_directory_in_the_place_of_a_key_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / CHAIN_HMAC_KEY_FILE).mkdir(mode=0o700)
    with pytest.raises(KeyFileError, match=CHAIN_HMAC_KEY_FILE):
        load_or_create_keys(tmp_path)


def test_processes_that_start_together_end_with_one_key(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ainfera_gateway.audit.keys import load_or_create_bytes;"
        "sys.stdin.readline(); print(load_or_create_bytes(Path(sys.argv[1])).hex())"
    )
    path = tmp_path / "shared.key"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    printed = {child.communicate(timeout=60)[0].strip() for child in children}
    assert printed == {load_or_create_bytes(path).hex()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.key"]


def test_a_key_that_another_process_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "shared.key"
    _create(path, b"first")
    _create(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.key"]


KEY = bytes(range(224, 256))


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        f"  {KEY.hex()}\n",
    ],
)
def test_a_data_key_comes_in_hex_or_base64(tmp_path: Path, text: str) -> None:
    assert parse_data_key(text) == KEY
    assert load_or_create_keys(tmp_path, text).data_key == KEY
    assert not (tmp_path / DATA_KEY_FILE).exists()


@pytest.mark.parametrize("text", ["short", KEY.hex()[:-2], KEY.hex() + "00", "z" * 64, "é" * 43, "!" * 44, "A" * 45])
def test_another_data_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(KeyFileError, match="AINFERA_DATA_KEY") as caught:
        parse_data_key(text)
    assert text not in str(caught.value)


def test_no_key_shows_in_a_repr(tmp_path: Path) -> None:
    keys = load_or_create_keys(tmp_path)
    assert repr(keys) == f"GatewayKeys(checkpoint_kid={keys.checkpoint_kid!r})"


def test_the_key_document(tmp_path: Path) -> None:
    keys = load_or_create_keys(tmp_path)
    document = public_key_document(keys.chain_hmac_key, keys.checkpoint_key.public_key())
    assert set(document) == {"alg", "hmac_key_b64", "ed25519_public_key_pem", "kid"}
    assert document["alg"] == "HMAC-SHA256"
    assert document["kid"] == keys.checkpoint_kid
    public = serialization.load_pem_public_key(document["ed25519_public_key_pem"].encode())
    assert isinstance(public, Ed25519PublicKey)
    public.verify(keys.checkpoint_key.sign(b"checkpoint"), b"checkpoint")


def test_the_published_verifier_reads_the_key_document(tmp_path: Path) -> None:
    import httpx

    keys = load_or_create_keys(tmp_path)
    document = public_key_document(keys.chain_hmac_key, keys.checkpoint_key.public_key())
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=document))
    with httpx.Client(transport=transport) as client:
        assert fetch_public_key("https://gateway.example/key.json", client=client) == keys.chain_hmac_key


def test_the_kid_is_the_standard_thumbprint(tmp_path: Path) -> None:
    public = load_or_create_keys(tmp_path).checkpoint_key.public_key()
    assert key_id(public) == OKPKey.import_key(public_key_pem(public)).thumbprint()
