"""The published offline verifier, ainfera-verify 0.1.0, as the command that its users type."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess

COMMAND = str(Path(sys.executable).parent / "ainfera-verify")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60)


def at(gateway: GatewayProcess) -> list[str]:
    well_known = f"{gateway.url}/.well-known/ainfera-public-key.json"
    return ["--base-url", gateway.url, "--well-known-url", well_known]


@pytest.fixture
def lived(gateway: GatewayProcess, agent: dict[str, Any]) -> dict[str, Any]:
    with gateway.client(agent["api_key"]) as client:
        for number in range(3):
            body = {"model": "gpt-5-5", "messages": [{"role": "user", "content": f"number {number} ü 漢字"}]}
            assert client.post("/v1/chat/completions", json=body).status_code == 200
    return agent


@pytest.fixture
def bundle(gateway: GatewayProcess, lived: dict[str, Any], tmp_path: Path) -> Path:
    with gateway.client() as anyone:
        answer = anyone.get(f"/v1/audit/{lived['agent_id']}/annex-iv?format=zip")
    assert answer.status_code == 200
    path = tmp_path / "bundle.zip"
    path.write_bytes(answer.content)
    return path


def test_chain(gateway: GatewayProcess, lived: dict[str, Any]) -> None:
    done = run("chain", lived["agent_id"], *at(gateway))
    assert done.returncode == 0, done.stdout
    assert "Chain intact — 13 events verified" in done.stdout


def test_event(gateway: GatewayProcess, lived: dict[str, Any]) -> None:
    done = run("event", lived["agent_id"], "6", *at(gateway))
    assert done.returncode == 0, done.stdout
    assert "receipt.created" in done.stdout


def test_bundle(bundle: Path) -> None:
    done = run("bundle", str(bundle))
    assert done.returncode == 0, done.stdout
    assert "Bundle is genuine" in done.stdout


def test_a_tampered_bundle_exits_1(bundle: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "events.jsonl":
                lines = data.decode().splitlines()
                event = json.loads(lines[6])
                event["payload"]["cost_usd"] = "0.000001"
                lines[6] = json.dumps(event)
                data = "\n".join(lines).encode()
            target.writestr(name, data)
    done = run("bundle", str(forged))
    assert done.returncode == 1
    assert "seq 6" in done.stdout


def test_what_is_not_there_exits_2(gateway: GatewayProcess, tmp_path: Path) -> None:
    assert run("chain", "00000000-0000-7000-8000-000000000000", *at(gateway)).returncode == 2
    assert run("event", "00000000-0000-7000-8000-000000000000", "0", *at(gateway)).returncode == 2
    assert run("bundle", str(tmp_path / "none.zip")).returncode == 2
