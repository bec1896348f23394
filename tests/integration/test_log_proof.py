"""A call's receipt with its proof, checked by the command as its owner would: offline, and against what was seen before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import eventually
from tests.simulator.process import Simulator


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    environment = engine_environment | provider_environment(simulator.base_url)
    with GatewayProcess(tmp_path_factory.mktemp("log"), environment) as running:
        yield running


def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ainfera-gateway"), "audit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def receipt_of(gateway: GatewayProcess, key: str) -> dict[str, Any]:
    """A receipt of a new call, as soon as it is included."""
    with gateway.client(key) as client:
        body = {"model": "gpt-5-5", "messages": [{"role": "user", "content": "prove it"}], "max_tokens": 20}
        answer = client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        path = f"/v1/receipts/{answer.headers['x-ainfera-receipt-id']}"
        eventually(lambda: client.get(path).json()["proof_status"] == "included")
        receipt: dict[str, Any] = client.get(path).json()
    return receipt


def test_a_receipt_is_proved_offline_and_a_changed_one_is_not(gateway: GatewayProcess, tmp_path: Path) -> None:
    receipt = receipt_of(gateway, gateway.signup("proved")["api_key"])
    key, file, seen = tmp_path / "key.json", tmp_path / "receipt.json", str(tmp_path / "seen.json")
    key.write_bytes(httpx.get(f"{gateway.url}/.well-known/ainfera-public-key.json").content)

    def checked(document: dict[str, Any], *more: str) -> tuple[int, str]:
        file.write_text(json.dumps(document))
        done = audit("verify", str(file), "--key", str(key), "--seen", seen, *more)
        assert done.stderr == ""
        return done.returncode, done.stdout

    code, said = checked(receipt)
    assert (code, "first checkpoint seen" in said) == (0, True)
    proof = receipt["proof"]
    assert proof["event_hash"] == receipt["event_hash"]
    wrong = [
        {**receipt, "event_hash": "0" * 64},
        {**receipt, "proof": {**proof, "event_hash": "0" * 64}, "event_hash": "0" * 64},
        {**receipt, "proof": {**proof, "log_index": proof["log_index"] + 1}},
        {**receipt, "proof": {**proof, "hashes": proof["hashes"][1:]}},
        {**receipt, "proof": {**proof, "checkpoint": proof["checkpoint"].replace("\n", "\n1", 1)}},
        {**receipt, "proof": None, "proof_status": "pending"},
    ]
    for document in wrong:
        code, said = checked(document)
        assert (code, said[:7]) == (1, "broken:"), document
    later = receipt_of(gateway, gateway.signup("later")["api_key"])
    assert checked(later)[1].endswith("that needs --url\n")
    code, said = checked(later, "--url", gateway.url)
    assert (code, "contained in the log as it stands" in said) == (0, True)
    code, said = checked(receipt, "--url", gateway.url)
    assert (code, "contained in the log as it stands" in said) == (0, True)


def test_a_log_that_was_rolled_back_or_has_a_second_history_is_refused(gateway: GatewayProcess, tmp_path: Path) -> None:
    receipt = receipt_of(gateway, gateway.signup("followed")["api_key"])
    file, seen = tmp_path / "receipt.json", tmp_path / "seen.json"
    file.write_text(json.dumps(receipt))
    note = httpx.get(f"{gateway.url}/log/checkpoint").text
    origin, size = note.split("\n")[:2]

    def verdict(size: int, root: str) -> str:
        seen.write_text(json.dumps({origin: {"size": size, "root": root}}))
        done = audit("verify", str(file), "--url", gateway.url, "--seen", str(seen))
        assert done.returncode == 1, done
        return done.stdout

    assert "rolled back" in verdict(int(size) + 1_000_000, "0" * 64)
    assert "rewritten" in verdict(3, "0" * 64)
    seen.write_text("[]")
    assert audit("verify", str(file), "--url", gateway.url, "--seen", str(seen)).returncode == 1


def test_the_log_is_served_in_tiles_and_proofs(gateway: GatewayProcess) -> None:
    bundle = gateway.signup("tiled")
    receipt = receipt_of(gateway, bundle["api_key"])
    note = httpx.get(f"{gateway.url}/log/checkpoint")
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    size = int(note.text.split("\n")[1])
    part = httpx.get(f"{gateway.url}/log/tile/0/000.p/{min(size, 255)}")
    assert (part.status_code, len(part.content)) == (200, 32 * min(size, 255))
    for path in ("0/999", "0/0", "9/000", "1/000.p/256", "0/000.p/0", "0/000.p/999", "64/000", "0/x", "0/../0"):
        assert httpx.get(f"{gateway.url}/log/tile/{path}").status_code in (404, 422), path
    agent = bundle["agent_id"]
    proof = httpx.get(f"{gateway.url}/v1/audit/{agent}/proof", params={"seq": receipt["seq"]}).json()
    assert (proof["log_index"], proof["event_hash"]) == (receipt["position"], receipt["event_hash"])
    missing = httpx.get(f"{gateway.url}/v1/audit/{agent}/proof", params={"seq": 10_000})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_fsck_finds_the_log_sound_while_the_gateway_runs(gateway: GatewayProcess, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint.txt"
    eventually(lambda: httpx.get(f"{gateway.url}/log/checkpoint", timeout=60).status_code == 200)
    kept.write_bytes(httpx.get(f"{gateway.url}/log/checkpoint", timeout=60).content)
    place = ["--data-dir", str(gateway.data_dir)]
    if isinstance(gateway.database, str):
        place += ["--database-url", gateway.database]
    done = audit("fsck", "--checkpoint", str(kept), *place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.strip().endswith("checkpoints: sound")
