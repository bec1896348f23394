"""The code blocks of the README and of docs/operations.md, run as they stand, one after the other, in one shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ainfera_gateway.api import control_types
from tests.gateway_process import INTERNAL_KEY, GatewayProcess
from tests.simulator.process import Simulator

# The session is run by the first test that needs it.
pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
README_URL = "http://127.0.0.1:8000"
PAGES = ("README.md", "docs/operations.md")
PART = re.compile(r"^#+ ([^\n]+)$|^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== {} ==="
SIGN_UP_AGAIN = "the sign-up again"


def blocks() -> list[tuple[str, str, str]]:
    """(the heading it stands under, its language, its code), page after page."""
    found: list[tuple[str, str, str]] = []
    for page in PAGES:
        heading = ""
        for title, language, code in PART.findall((ROOT / page).read_text("utf-8")):
            if language:
                found.append((heading, language, code))
            else:
                heading = title
    return found


def script(url: str) -> str:
    """All blocks as one shell session, as a person would paste them; a mark stands before each block's output."""
    again = (SIGN_UP_AGAIN, "bash", blocks()[0][2])
    lines = ["set -euo pipefail"]
    for heading, language, code in [again, *blocks()]:
        lines.append(f"echo; echo '{MARK.format(heading)}'")
        pasted = code.replace(README_URL, url)
        lines.append(pasted if language == "bash" else f"python3 - <<'END_OF_BLOCK'\n{pasted}END_OF_BLOCK")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = {"LOCAL_BASE_URL": simulator.base_url, "LOCAL_API_KEY": "simulated-local-key-0123"}
    with GatewayProcess(tmp_path_factory.mktemp("data"), environment) as running:
        yield running


def paste(code: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AINFERA_", "OPENAI_"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    environment["AINFERA_INTERNAL_KEY"] = INTERNAL_KEY
    return subprocess.run(["bash", "-c", code], env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def outputs(gateway: GatewayProcess) -> dict[str, list[str]]:
    """Under each heading, what its blocks printed."""
    done = paste(script(gateway.url))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    parts = re.split(r"\n=== (.+) ===\n", done.stdout)[1:]
    found: dict[str, list[str]] = {}
    for heading, printed in zip(parts[::2], parts[1::2], strict=True):
        found.setdefault(heading, []).append(printed.strip())
    return found


def objects(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def test_every_kind_of_client_has_a_block() -> None:
    text = "\n".join(code for _, _, code in blocks())
    for needed in ("curl", "from openai import OpenAI", "from ainfera import AinferaClient", "audit verify"):
        assert needed in text
    assert README_URL in text


def test_the_sign_up_can_be_pasted_again_and_keeps_the_key(outputs: dict[str, list[str]]) -> None:
    (before,), (after, _) = outputs[SIGN_UP_AGAIN], outputs["curl"]
    assert re.fullmatch(r"signed up: my-agent-\d+", before)
    assert re.fullmatch(r"signed up: my-agent-\d+", after)
    shown = "".join(text for heading, texts in outputs.items() if heading != "Health and metrics" for text in texts)
    assert not re.search(r"ainfera_[A-Za-z0-9_-]{20,}", shown)


def test_a_sign_up_that_fails_says_so_and_changes_nothing(gateway: GatewayProcess) -> None:
    gateway.signup("my-agent-taken")
    sign_up = next(code for heading, _, code in blocks() if heading == "curl").replace(README_URL, gateway.url)
    sign_up = sign_up.replace("my-agent-$RANDOM", "my-agent-taken")
    done = paste(f'export AINFERA_API_KEY=kept AGENT=mine\n{sign_up}\necho "$AINFERA_API_KEY $AGENT"')
    assert (done.returncode, done.stderr) == (0, "")
    said, kept = done.stdout.splitlines()
    assert said.startswith("not signed up, and nothing was changed: ")
    assert "handle_taken" in said
    assert kept == "kept mine"


def test_curl_sees_a_stream(outputs: dict[str, list[str]]) -> None:
    events = [line for line in outputs["curl"][1].splitlines() if line.startswith("data: ")]
    assert len(events) > 3
    assert events[-1] == "data: [DONE]"
    assert '"model":"smollm2-135m-instruct"' in events[0].replace('": "', '":"')


def test_the_openai_sdk_gets_an_answer_with_its_cost_and_receipt(outputs: dict[str, list[str]]) -> None:
    answer, paid = outputs["OpenAI SDK"][0].rsplit("\n", 1)
    cost, receipt_id = paid.split()
    assert "primary colours" in answer  # the simulator repeats what it was asked
    assert Decimal(cost) > 0
    assert len(receipt_id) == 36


def test_the_ainfera_sdk_is_routed_paid_and_proved(outputs: dict[str, list[str]]) -> None:
    answer, paid, verified = outputs["ainfera SDK"][0].splitlines()
    cost, balance = paid.split()
    assert answer.startswith("smollm2-135m-instruct ")
    assert Decimal(balance) + Decimal(cost) == Decimal(5)
    assert verified == "True"


def test_the_chain_is_verified_by_the_command(outputs: dict[str, list[str]]) -> None:
    # Sign-up with caps: registered, card, grant, key, policy; then two calls of three events.
    (verified,) = outputs["Verify without us"]
    assert re.fullmatch(r"intact: \d+ events", verified)
    assert int(verified.split()[1]) >= 9


def test_the_provider_was_asked_once_for_each_call(outputs: dict[str, list[str]], simulator: Simulator) -> None:
    assert outputs
    text = "\n".join(code for _, _, code in blocks())
    calls = len(re.findall(r"/v1/chat/completions|\.completions\.create\(|\.messages\.create\(|\.inference\(", text))
    assert calls >= 4
    assert simulator.count() == calls


def test_the_gateway_describes_itself(outputs: dict[str, list[str]]) -> None:
    lines = outputs["Pages about itself"][0].splitlines()
    assert len(lines) == 7
    assert all(line.startswith("200 /") for line in lines)


def test_a_top_up_is_in_the_balance_and_in_the_ledger(outputs: dict[str, list[str]]) -> None:
    topped, wallet, ledger = objects(outputs["Balance and top-up"][0])
    assert topped["amount_usd"] == "2.500000"
    assert topped["new_balance_usd"] == wallet["balance_usd"] == ledger["balance_usd"]
    assert ledger["entries"][0]["kind"] == "topup"


def test_caps_are_changed_one_by_one(outputs: dict[str, list[str]]) -> None:
    (changed,) = objects(outputs["Caps"][0])
    policy = changed["spend_policy"]
    assert [policy[f"{name}_cap_usd"] for name in ("per_call", "daily", "monthly")] == [
        "0.250000", "5.000000", "20.000000",
    ]  # fmt: skip
    assert changed["drain_proof_status"] == "protected"


def test_the_bounds_of_amounts_are_those_that_are_parsed() -> None:
    types = {
        "per_call_cap_usd": control_types.PerCallCap,
        "daily_cap_usd": control_types.DailyCap,
        "monthly_cap_usd": control_types.MonthlyCap,
        "amount_usd": control_types.TopUpAmount,
    }
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|", (ROOT / PAGES[1]).read_text("utf-8"), re.MULTILINE)
    assert [name for name, _, _ in rows] == list(types)
    step = Decimal("0.000000000001")
    for name, low, high in rows:
        adapter: TypeAdapter[int] = TypeAdapter(types[name])
        assert adapter.validate_python(low) < adapter.validate_python(high)
        for outside in (Decimal(low) - step, Decimal(high) + step):
            with pytest.raises(ValidationError):
                adapter.validate_python(str(outside))


def test_an_agent_is_stopped_and_let_go(outputs: dict[str, list[str]]) -> None:
    agent, switch = outputs["Stop an agent, or all of them"]
    assert agent.splitlines() == ["suspend: 200", "activate: 200"]
    assert [state["engaged"] for state in objects(switch)] == [True, False]


def test_a_key_is_made_bound_and_revoked(outputs: dict[str, list[str]]) -> None:
    revoked, listed = objects(outputs["Keys"][0])
    assert (revoked["name"], revoked["scope"], revoked["agent_id"] is None) == ("worker", "inference", False)
    assert revoked["revoked_at"] is not None
    assert [key["revoked_at"] is None for key in listed["keys"]] == [False, True]


def test_the_cost_of_a_stream_is_in_its_receipt(outputs: dict[str, list[str]]) -> None:
    (receipt,) = objects(outputs["What a stream did cost"][0])
    assert Decimal(receipt["cost_usd"]) > 0
    assert receipt["outcome_status"] == "succeeded"


def test_the_heights_are_shown(outputs: dict[str, list[str]]) -> None:
    ready, height = objects(outputs["Health and metrics"][0])
    assert ready["chain_height"] > 0
    assert height["height"] > 0
    (gauge,) = [line for line in outputs["Health and metrics"][0].splitlines() if line.startswith("ainfera_")]
    assert float(gauge.split()[-1]) > 0


def test_an_agents_key_for_metrics_is_told_whose_key_it_takes(gateway: GatewayProcess) -> None:
    with gateway.client(gateway.signup("metrics-reader")["api_key"]) as client:
        shown = client.get("/metrics")
    with gateway.client() as client:
        bare = client.get("/metrics")
    assert (shown.status_code, shown.json()["code"]) == (401, "invalid_api_key")
    assert (bare.status_code, bare.json()["code"]) == (401, "missing_api_key")
    for answer in (shown, bare):
        assert "operator's key (AINFERA_INTERNAL_KEY)" in answer.json()["message"]


def test_the_routers_refusal_and_llms_txt_name_the_way_out(gateway: GatewayProcess) -> None:
    body = {"model": "ainfera-inference", "messages": [{"role": "user", "content": "hello"}]}
    with gateway.client(gateway.signup("routed-agent")["api_key"]) as client:
        refused = client.post("/v1/chat/completions", json=body)
        page = client.get("/llms.txt").text
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "no_candidate_clears_floor"
    assert "quality floor (0.68; see routing_hint.min_quality)" in refused.json()["error"]["message"]
    for named in ("0.68", "no_candidate_clears_floor", '"routing_hint": {"min_quality": 0}'):
        assert named in page


def test_a_key_without_an_agent_is_bound_to_none(gateway: GatewayProcess) -> None:
    bundle = gateway.signup("binding-agent")
    with gateway.client(bundle["api_key"]) as client:
        made = client.post("/v1/keys", json={"name": "loose"}).json()
        described = client.get("/openapi.json").json()["paths"]["/v1/keys"]["post"]["description"]
    assert made["agent_id"] is None
    assert "bound to no agent" in described
    with gateway.client(made["api_key"]) as client:
        assert client.get(f"/v1/wallets/{bundle['agent_id']}").status_code == 200
        body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "hello"}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 422
