"""The code blocks of the README, run as they stand, one after the other, against a live gateway."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.simulator.process import Simulator

ROOT = Path(__file__).parents[2]
README_URL = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== block {} ==="


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text("utf-8"))


def script(url: str) -> str:
    """All blocks as one shell session, as a person would paste them; a mark stands before each block's output."""
    lines = ["set -euo pipefail"]
    for number, (language, code) in enumerate(blocks()):
        lines.append(f"echo; echo '{MARK.format(number)}'")
        pasted = code.replace(README_URL, url)
        lines.append(pasted if language == "bash" else f"python3 - <<'END_OF_BLOCK'\n{pasted}END_OF_BLOCK")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = {"LOCAL_BASE_URL": simulator.base_url, "LOCAL_API_KEY": "simulated-local-key-0123"}
    with GatewayProcess(tmp_path_factory.mktemp("data"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def outputs(gateway: GatewayProcess) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AINFERA_", "OPENAI_"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-c", script(gateway.url)], env=environment, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return re.split(r"\n=== block \d+ ===\n", done.stdout)[1:]


def test_every_kind_of_client_has_a_block() -> None:
    text = "\n".join(code for _, code in blocks())
    assert len(blocks()) == 5
    for needed in ("curl", "from openai import OpenAI", "from ainfera import AinferaClient", "audit verify"):
        assert needed in text
    assert README_URL in text


def test_the_sign_up_says_nothing_and_keeps_the_key(outputs: list[str]) -> None:
    assert outputs[0].strip() == ""
    assert "ainfera_" not in "".join(outputs)


def test_curl_sees_a_stream(outputs: list[str]) -> None:
    events = [line for line in outputs[1].splitlines() if line.startswith("data: ")]
    assert len(events) > 3
    assert events[-1] == "data: [DONE]"
    assert '"model":"smollm2-135m-instruct"' in events[0].replace('": "', '":"')


def test_the_openai_sdk_gets_an_answer_with_its_cost_and_receipt(outputs: list[str]) -> None:
    answer, paid = outputs[2].strip().rsplit("\n", 1)
    cost, receipt_id = paid.split()
    assert "primary colours" in answer  # the simulator repeats what it was asked
    assert Decimal(cost) > 0
    assert len(receipt_id) == 36


def test_the_ainfera_sdk_is_routed_paid_and_proved(outputs: list[str]) -> None:
    answer, paid, verified = outputs[3].strip().splitlines()
    cost, balance = paid.split()
    assert answer.startswith("smollm2-135m-instruct ")
    assert Decimal(balance) + Decimal(cost) == Decimal(5)
    assert verified == "True"


def test_the_chain_is_verified_by_the_command(outputs: list[str]) -> None:
    # Sign-up with caps: registered, card, grant, key, policy; then two calls of three events.
    assert re.fullmatch(r"intact: \d+ events", outputs[4].strip())
    assert int(outputs[4].split()[1]) >= 9


def test_the_provider_was_asked_once_for_each_call(outputs: list[str], simulator: Simulator) -> None:
    assert outputs
    assert simulator.count() == 3
