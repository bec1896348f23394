"""What a verifier remembers of a log: its newest checkpoint and the keys that signed it, whoever shows another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from ainfera_gateway.audit.verify_log import LogError, Tree
from ainfera_gateway.cli.audit_log import SeenLogs
from ainfera_gateway.cli.main import app

ORIGIN = "ainfera.ai/log/tests"
FIRST, SECOND = (Ed25519PrivateKey.generate().public_key() for _ in range(2))


def test_a_log_that_another_key_signs_is_refused(tmp_path: Path) -> None:
    seen = SeenLogs(tmp_path / "seen.json")
    seen.put(Tree(ORIGIN, 3, b"\1" * 32), [FIRST])
    before = (tmp_path / "seen.json").read_text()
    with pytest.raises(LogError, match="another key"):
        seen.put(Tree(ORIGIN, 5, b"\2" * 32), [SECOND])
    assert (tmp_path / "seen.json").read_text() == before
    seen.put(Tree(ORIGIN, 5, b"\2" * 32), [SECOND, FIRST])
    with pytest.raises(LogError, match="another key"):
        seen.put(Tree(ORIGIN, 5, b"\2" * 32), [SECOND])
    seen.put(Tree("ainfera.ai/log/other", 1, b"\3" * 32), [SECOND])
    assert seen.get(ORIGIN) == Tree(ORIGIN, 5, b"\2" * 32)


def test_a_file_from_before_keys_were_kept_is_read_and_then_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    path.write_text(json.dumps({ORIGIN: {"size": 3, "root": "01" * 32}}))
    seen = SeenLogs(path)
    assert seen.get(ORIGIN) == Tree(ORIGIN, 3, b"\1" * 32)
    seen.put(Tree(ORIGIN, 4, b"\2" * 32), [FIRST])
    with pytest.raises(LogError, match="another key"):
        seen.put(Tree(ORIGIN, 4, b"\2" * 32), [SECOND])


def test_fsck_makes_no_key_where_there_is_none(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["audit", "fsck", "--data-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert "checkpoint_ed25519.pem" in done.output
    assert list(tmp_path.iterdir()) == []
