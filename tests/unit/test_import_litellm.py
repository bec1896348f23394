"""``ainfera-gateway import litellm``: a TOML file that our settings take, and a word on everything left out."""

from __future__ import annotations

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from ainfera_gateway.catalog.overlay import with_overlay
from ainfera_gateway.catalog.seed import seed_catalog
from ainfera_gateway.cli.main import app
from ainfera_gateway.routing.gateway_aliases import gateway_aliases
from ainfera_gateway.settings import load

LITERAL = "sk-ant-obviously-not-a-key-0123456789"
CONFIG = f"""
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 60}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4-5, api_key: {LITERAL}}}
  - model_name: house
    litellm_params:
      model: hosted_vllm/our-model
      api_base: http://127.0.0.1:9/v1
      input_cost_per_token: 0.0000005
      output_cost_per_token: 0.0000015
  - model_name: bed
    litellm_params: {{model: bedrock/anthropic.claude-v2}}
litellm_settings: {{drop_params: true}}
general_settings: {{master_key: os.environ/MASTER}}
unheard_of: 1
"""


def run(tmp_path: Path, text: str) -> tuple[int, str, str]:
    source = tmp_path / "config.yaml"
    source.write_text(text)
    result = CliRunner().invoke(app, ["import", "litellm", str(source)])
    return result.exit_code, result.stdout, result.stderr


def test_what_comes_out_is_a_configuration_of_ours(tmp_path: Path) -> None:
    code, made, told = run(tmp_path, CONFIG)
    assert code == 0, told
    document = tomllib.loads(made)
    target = tmp_path / "ainfera.toml"
    target.write_text(made)
    settings = load({"AINFERA_CONFIG": str(target)})
    catalog = with_overlay(seed_catalog(), settings.overlay)
    aliases = gateway_aliases(settings.overlay, catalog)
    assert set(document["aliases"]) >= {"claude", "house"}
    own = catalog.models[aliases["house"]]
    assert (own.prices.input_picousd, own.prices.output_picousd) == (500_000, 1_500_000)
    assert own.upstream_model == "our-model"
    assert catalog.providers[own.provider].base_url == "http://127.0.0.1:9/v1"


def test_everything_left_out_is_named_and_no_secret_is_repeated(tmp_path: Path) -> None:
    _, made, told = run(tmp_path, CONFIG)
    assert LITERAL not in made + told
    for path in (
        "model_list[0].litellm_params.rpm", "model_list[1].litellm_params.api_key", "model_list[3]",
        "litellm_settings.drop_params", "general_settings.master_key", "unheard_of",
    ):  # fmt: skip
        assert path in told
    assert run(tmp_path, CONFIG)[1] == made, "the same file gives the same bytes"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "model_list: [")[0] == 2
    assert CliRunner().invoke(app, ["import", "litellm", str(tmp_path / "nowhere.yaml")]).exit_code == 2
