"""The Annex IV export, as JSON and as the zip that the published verifier opens."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ainfera_verify.bundle import load_bundle
from ainfera_verify.chain import verify_chain
from ainfera_verify.cli import app as verifier_cli
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from ainfera_gateway.audit.export import Manifest, annex_iv_document, annex_iv_zip, verifier_projection
from ainfera_gateway.audit.keys import public_key_document
from ainfera_gateway.audit.verify import verify_rows
from ainfera_gateway.audit.verify_published import verify_bundle
from tests.unit.test_audit_golden import AGENT_ID, KEY, our_rows, receipt_url

MANIFEST = Manifest(
    issuer="https://gateway.example", issued_at="2026-11-23T21:00:00.000000Z", agent_id=AGENT_ID, tenant="t-1"
)
KEY_DOCUMENT = public_key_document(KEY, Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key())


def events() -> list[dict[str, Any]]:
    rows = our_rows()
    before = [None, *(row.verifier_hash for row in rows)]
    return [verifier_projection(row, prev, KEY, receipt_url(row)) for row, prev in zip(rows, before, strict=False)]


def packed() -> bytes:
    return annex_iv_zip(MANIFEST, events(), KEY_DOCUMENT)


def repacked(**changed: bytes | None) -> bytes:
    """The zip with some files replaced (or left out: None), by name up to the dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed())) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = changed.get(name.split(".")[0], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def test_the_published_verifier_opens_and_accepts_the_zip(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(packed())
    bundle = load_bundle(path)
    assert bundle.manifest == MANIFEST.as_dict()
    assert bundle.hmac_public_key == KEY
    assert verify_chain(bundle.events, bundle.hmac_public_key).ok
    assert [event.raw for event in bundle.events] == events()


def test_the_published_command_exits_with_0_for_it_and_1_for_a_changed_one(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    good.write_bytes(packed())
    with zipfile.ZipFile(io.BytesIO(packed())) as bundle:
        lines = bundle.read("events.jsonl")
    bad.write_bytes(repacked(events=lines.replace(b"0.000987654321", b"0.000000000001")))
    assert CliRunner().invoke(verifier_cli, ["bundle", str(good)]).exit_code == 0
    assert CliRunner().invoke(verifier_cli, ["bundle", str(bad)]).exit_code == 1


def test_the_zip_is_the_same_bytes_each_time() -> None:
    assert packed() == packed()


def test_the_zip_names_its_files_in_order_and_no_time() -> None:
    with zipfile.ZipFile(io.BytesIO(packed())) as bundle:
        assert bundle.namelist() == ["manifest.json", "events.jsonl", "public_key.json"]
        assert {info.date_time for info in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_one_event_a_line_whatever_the_reader_takes_for_a_line_end() -> None:
    with zipfile.ZipFile(io.BytesIO(packed())) as bundle:
        text = bundle.read("events.jsonl").decode()
    assert "\u2028" in json.dumps(events(), ensure_ascii=False)
    assert text.splitlines() == text.rstrip("\n").split("\n")
    assert len(text.splitlines()) == len(our_rows())


def test_our_own_check_accepts_the_zip() -> None:
    found = verify_bundle(packed())
    assert found.manifest == MANIFEST.as_dict()
    assert (found.result.valid, found.result.event_count) == (True, len(our_rows()))


def test_our_own_check_finds_an_event_of_another_agent_than_the_manifests() -> None:
    manifest = json.dumps(MANIFEST.as_dict() | {"agent_id": "another"}).encode()
    assert verify_bundle(repacked(manifest=manifest)).result.failure_reason == "agent_id_mismatch"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04garbage",
        packed()[:-30],
        packed()[: len(packed()) // 2],
        repacked(manifest=None),
        repacked(public_key=None),
        repacked(public_key=b"{}"),
        repacked(public_key=b'{"hmac_key_b64": "***"}'),
        repacked(public_key=b'{"hmac_key_b64": 7}'),
        repacked(public_key=b"[]"),
        repacked(manifest=b"{"),
        repacked(manifest=b"[]"),
        repacked(events=b"{\n"),
        repacked(events=b"\xff\n"),
        repacked(events=b"[" * 100_000),
    ],
)
def test_a_zip_that_cannot_be_read_is_a_verdict(data: bytes) -> None:
    found = verify_bundle(data)
    assert (found.result.valid, found.result.failure_reason) == (False, "bundle_unreadable")


@pytest.mark.parametrize("line", [b"[]\n", b"7\n", b"null\n", b'{"seq": 0}\n'])
def test_a_line_that_is_no_event_is_a_verdict(line: bytes) -> None:
    assert verify_bundle(repacked(events=line)).result.failure_reason == "event_malformed"


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    assert (
        verify_bundle(repacked(events=b" " * 2_000_000), bytes_max=1_000_000).result.failure_reason
        == "bundle_too_large"
    )


def test_the_document_holds_the_agent_the_chain_and_the_key() -> None:
    rows = our_rows()
    agent = {"id": AGENT_ID, "name": "golden", "status": "active"}
    document = annex_iv_document(MANIFEST, agent, verify_rows(rows), events(), KEY_DOCUMENT)
    assert MANIFEST.as_dict().items() <= document.items()
    assert document["agent"] == agent
    assert document["public_key"] == KEY_DOCUMENT
    assert document["events"] == events()
    assert document["chain"] == {
        "event_count": len(rows),
        "valid": True,
        "failure_seq": None,
        "failure_reason": None,
        "genesis_hash": "0" * 64,
        "tip_seq": len(rows) - 1,
        "tip_event_hash": rows[-1].event_hash,
        "tip_verifier_hash": rows[-1].verifier_hash,
    }
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_document_of_a_broken_or_empty_chain_says_so() -> None:
    rows = our_rows()
    broken = annex_iv_document(MANIFEST, {}, verify_rows(rows[1:]), [], KEY_DOCUMENT)["chain"]
    assert (broken["valid"], broken["failure_seq"], broken["tip_seq"]) == (False, 1, None)
    empty = annex_iv_document(MANIFEST, {}, verify_rows([]), [], KEY_DOCUMENT)["chain"]
    assert (empty["valid"], empty["event_count"], empty["tip_event_hash"]) == (True, 0, None)
