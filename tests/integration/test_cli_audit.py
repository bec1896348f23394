"""``ainfera-gateway audit verify``: every tampered copy is refused, from files, over HTTP and in the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ainfera_gateway.cli.main import app
from tests.gateway_process import GatewayProcess
from tests.simulator.process import Simulator
from tests.unit.test_audit_golden import AGENT_ID, GOLDEN, TAMPERED, Copy, fresh

KEY_DOCUMENT = {"alg": "HMAC-SHA256", "hmac_key_b64": GOLDEN["hmac_key_b64"]}
Tamper = Callable[[Copy], None]


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", "verify", *map(str, arguments)], env={"COLUMNS": "200"})


def file(folder: Path, document: Any, name: str = "export.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document), "utf-8")
    return path


def annex_iv(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {"agent_id": AGENT_ID, "public_key": KEY_DOCUMENT, "events": events}


def test_the_untouched_copies_are_intact(tmp_path: Path) -> None:
    copy = fresh()
    for document in (annex_iv(copy.verifier), {"agent_id": AGENT_ID, "events": copy.sdk}, copy.sdk):
        result = verify(file(tmp_path, document))
        assert (result.exit_code, result.stdout) == (0, f"intact: {len(copy.sdk)} events\n")


@pytest.mark.parametrize(("tamper", "reason"), [(case[0], case[3]) for case in TAMPERED if case[3] is not None])
def test_a_tampered_export_is_broken(tamper: Tamper, reason: str, tmp_path: Path) -> None:
    copy = fresh()
    tamper(copy)
    result = verify(file(tmp_path, annex_iv(copy.verifier)))
    assert result.exit_code == 1
    assert reason in result.stdout


@pytest.mark.parametrize(("tamper", "reason"), [(case[0], case[2]) for case in TAMPERED if case[2] is not None])
def test_a_tampered_page_of_the_sdks_form_is_broken(tamper: Tamper, reason: str, tmp_path: Path) -> None:
    copy = fresh()
    tamper(copy)
    result = verify(file(tmp_path, {"agent_id": AGENT_ID, "events": copy.sdk}), "--agent", AGENT_ID)
    assert result.exit_code == 1
    assert reason in result.stdout


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"events": []},
        {"events": "all"},
        [1, 2],
        {"events": [{"timestamp": "now"}], "public_key": {"alg": "x"}},
        7,
    ],
)
def test_what_is_no_chain_is_unreadable(document: Any, tmp_path: Path) -> None:
    assert verify(file(tmp_path, document)).exit_code == 2


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    for data in (b"\xff\xfe", b"PK\x03\x04 no zip", b""):
        garbage.write_bytes(data)
        assert verify(garbage).exit_code == 2
    assert verify(tmp_path / "missing.json").exit_code == 2
    assert verify("--agent", "a", "--url", "http://127.0.0.1:1").exit_code == 2
    assert verify("--agent", "a", "--url", "file:///etc/passwd").exit_code == 2
    unreachable = verify("--agent", "a", "--url", "http://127.0.0.1:1").output
    assert "is a gateway running there?" in unreachable
    assert "Errno" not in unreachable
    assert verify().exit_code == 2
    assert verify("--agent", "a", "--database", "--data-dir", tmp_path).exit_code == 2


def test_signed_events_without_a_key_need_one(tmp_path: Path) -> None:
    copy = fresh()
    page = file(tmp_path, {"events": copy.verifier, "has_more": False})
    without = verify(page)
    assert without.exit_code == 2
    assert "--key" in without.output
    assert verify(page, "--key", file(tmp_path, KEY_DOCUMENT, "key.json")).exit_code == 0


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = {"LOCAL_BASE_URL": simulator.base_url, "LOCAL_API_KEY": "simulated-local-key-0123"}
    with GatewayProcess(tmp_path_factory.mktemp("data"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def called(
    gateway: GatewayProcess, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GatewayProcess, str, Path]:
    """A gateway, an agent that made a call, and a folder with both of its exports."""
    folder = tmp_path_factory.mktemp("exports")
    bundle = gateway.signup("audited-agent")
    body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "hello"}]}
    with gateway.client(bundle["api_key"]) as client:
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        export = f"/v1/audit/{bundle['agent_id']}/annex-iv"
        (folder / "export.json").write_bytes(client.get(export).content)
        (folder / "export.zip").write_bytes(client.get(export, params={"format": "zip"}).content)
    assert simulator.count() == 1
    return gateway, bundle["agent_id"], folder


def test_a_live_chain_is_intact_from_every_side(called: tuple[GatewayProcess, str, Path]) -> None:
    gateway, agent_id, folder = called
    from_files = [verify(folder / "export.json"), verify(folder / "export.zip")]
    over_http = [verify("--url", gateway.url, "--agent", name) for name in (agent_id, "audited-agent")]
    stored = verify("--database", "--agent", agent_id, "--data-dir", gateway.data_dir)
    for result in (*from_files, *over_http, stored):
        assert result.exit_code == 0, result.output
    assert len({result.stdout for result in (*from_files, *over_http, stored)}) == 1


def test_an_agent_that_is_not_there_is_said_so(called: tuple[GatewayProcess, str, Path]) -> None:
    gateway, _, _ = called
    over_http = verify("--url", gateway.url, "--agent", "nobody")
    assert over_http.exit_code == 2
    assert over_http.output == f"ainfera-gateway: {gateway.url} has no agent 'nobody', or its chain is not public\n"
    stored = verify("--database", "--agent", "nobody", "--data-dir", gateway.data_dir)
    assert stored.exit_code == 2
    assert stored.output == "ainfera-gateway: there is no agent 'nobody' in this database\n"


def test_an_export_that_was_cut_at_its_end_is_broken(called: tuple[GatewayProcess, str, Path], tmp_path: Path) -> None:
    document = json.loads((called[2] / "export.json").read_text("utf-8"))
    document["events"].pop()
    result = verify(file(tmp_path, document))
    assert result.exit_code == 1
    assert "head_mismatch" in result.stdout


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "UPDATE audit_events SET payload = replace(payload, '\"v\":1', '\"v\": 1') WHERE seq = 2",
            "payload_not_canonical",
        ),
        ("UPDATE audit_events SET event_type = 'agent.suspended' WHERE seq = 1", "payload_event_type_mismatch"),
        ("DELETE FROM audit_events WHERE seq = 3", "seq_not_contiguous"),
        (
            "DELETE FROM audit_events WHERE seq = (SELECT max(seq) FROM audit_events WHERE agent_id = ?)",
            "head_mismatch",
        ),
    ],
)
def test_a_database_that_was_tampered_with_is_broken(
    called: tuple[GatewayProcess, str, Path], tmp_path: Path, statement: str, reason: str
) -> None:
    gateway, agent_id, _ = called
    source = sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)
    copy = sqlite3.connect(tmp_path / "ainfera.db")
    source.backup(copy)
    source.close()
    for (trigger,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        copy.execute(f"DROP TRIGGER {trigger}")
    changed = copy.execute(f"{statement} AND agent_id = ?", (agent_id,) * (statement.count("?") + 1)).rowcount
    copy.commit()
    copy.close()
    assert changed == 1
    result = verify("--database", "--agent", agent_id, "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert reason in result.stdout
