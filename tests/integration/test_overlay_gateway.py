"""A server of one's own by a few rows of TOML, written by hand or by ``import litellm``: called, paid and proved as any."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway_process import GatewayProcess
from tests.simulator.process import Simulator

COMMAND = str(Path(sys.executable).parent / "ainfera-gateway")
KEY = "house-key-of-the-tests-0123456789"
LITELLM = """
model_list:
  - model_name: house
    litellm_params:
      model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct
      api_base: {base_url}
      api_key: os.environ/HOUSE_KEY
      input_cost_per_token: 3e-06
      output_cost_per_token: 0.000007
    model_info: {{max_input_tokens: 8192, max_output_tokens: 2048}}
  - model_name: left-out
    litellm_params: {{model: bedrock/some-model}}
router_settings:
  model_group_alias: {{gpt-4o: house}}
"""


@pytest.fixture(scope="module")
def written(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the import makes, with one row more by hand: a model that carries a prior, and a name for the router."""
    directory = tmp_path_factory.mktemp("overlay")
    config, toml = directory / "config.yaml", directory / "ainfera.toml"
    config.write_text(LITELLM.format(base_url=simulator.base_url))
    done = subprocess.run([COMMAND, "import", "litellm", str(config), "--output", str(toml)], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"left out: model_list[1]: there is no provider bedrock here\n" in done.stderr
    by_hand = f"""
"cheapest" = "ainfera-inference"

[providers.second]
base_url = "{simulator.base_url}"
api_key_env = "SECOND_KEY"

[models.second-model]
provider = "second"
brand = "local"
upstream_model = "second-upstream"
context_window = 8192
max_output_tokens = 2048
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
prior = "0.99"
prior_source = "our own evaluation"
"""
    toml.write_text(toml.read_text() + by_hand)
    return toml


@pytest.fixture(scope="module")
def gateway(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = {"AINFERA_CONFIG": str(written), "HOUSE_KEY": KEY, "SECOND_KEY": f"second-{KEY}"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client(gateway.signup("overlay-agent")["api_key"]) as made:
        yield made


def call(client: httpx.Client, model: str) -> tuple[dict[str, Any], httpx.Response]:
    body = {"model": model, "messages": [{"role": "user", "content": "say hello"}], "max_tokens": 50}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer


@pytest.mark.parametrize(
    ("asked", "slug", "upstream", "key", "usd"),
    [
        ("house", "vllm-127-0-0-1-{port}/meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", KEY,
         ("3", "7")),
        ("gpt-4o", "vllm-127-0-0-1-{port}/meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", KEY,
         ("3", "7")),
        ("second-model", "second-model", "second-upstream", f"second-{KEY}", ("1", "2")),
        ("cheapest", "second-model", "second-upstream", f"second-{KEY}", ("1", "2")),
    ],
)  # fmt: skip
def test_an_own_model_is_called_and_paid_by_its_row(
    asked: str, slug: str, upstream: str, key: str, usd: tuple[str, str], client: httpx.Client, simulator: Simulator
) -> None:
    body, answer = call(client, asked)
    assert body["model"] == slug.format(port=simulator.port)
    seen = simulator.attempts()
    attempt = [one for tries in seen.values() for one in tries][-1].begin
    assert attempt["model"] == upstream
    assert attempt["key_suffix"] == key[-4:]
    usage = body["usage"]
    cost = (usage["prompt_tokens"] * Decimal(usd[0]) + usage["completion_tokens"] * Decimal(usd[1])) / 10**6
    assert cost > 0
    assert Decimal(answer.headers["x-ainfera-cost-usd"]) == cost


def test_own_models_are_listed_and_their_keys_never_shown(client: httpx.Client, gateway: GatewayProcess) -> None:
    listed = client.get("/v1/models")
    found = {model["slug"]: model for model in listed.json()}
    assert found["second-model"]["provider"] == "second"
    assert found["second-model"]["routable_status"] == "active"
    assert KEY not in listed.text
    assert not [line for line in gateway.raw if KEY in line]


def test_a_wrong_row_stops_the_start_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[aliases]\nhouse = "nowhere"\n')
    done = subprocess.run(
        [COMMAND, "serve", "--port", "0", "--data-dir", str(tmp_path / "data")],
        env={"PATH": "/usr/bin", "AINFERA_CONFIG": str(tmp_path / "a.toml")}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ainfera-gateway: AINFERA_CONFIG: aliases.house: must lead to ainfera-inference or to a model of the catalog\n"
    )
