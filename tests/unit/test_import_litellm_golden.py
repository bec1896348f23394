"""``import litellm``: a realistic configuration against golden files, and each rule and each hostile file on its own."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ainfera_gateway.catalog.model import Model, catalog_of
from ainfera_gateway.catalog.names import Named, Names
from ainfera_gateway.catalog.price import Prices, Tier
from ainfera_gateway.catalog.seed import SEED_PROVIDERS
from ainfera_gateway.cli.import_litellm import check, converted
from ainfera_gateway.cli.import_report import Report
from ainfera_gateway.cli.import_yaml import YamlError, read_yaml
from ainfera_gateway.cli.main import app

GOLDEN = Path(__file__).parent / "litellm"


def model(slug: str, provider: str, brand: str, upstream: str = "", prices: Prices | None = None) -> Model:
    return Model(
        slug=slug,
        display_name=slug,
        brand=brand,
        provider=provider,
        upstream_model=upstream or slug,
        context_window=200_000,
        max_output_tokens=64_000,
        capabilities=frozenset(),
        capabilities_known=False,
        prices=prices or Prices(2_000_000, 8_000_000, cached_input_picousd=500_000),
    )


CATALOG = catalog_of(
    [
        model("gpt-4o", "openai", "openai"),
        model("gpt-4o-mini", "openai", "openai"),
        model("gpt-4.1", "openai", "openai"),
        model("claude-sonnet-4-5", "anthropic", "anthropic"),
        model("claude-opus-4-7", "anthropic", "anthropic"),
        model("gemini-2.5-flash", "gemini", "google"),
        model("mistral-small-latest", "mistral", "mistral"),
        model("groq/llama-3.3-70b-versatile", "groq", "meta", "llama-3.3-70b-versatile"),
        model("openrouter/meta-llama/llama-3.2-3b-instruct", "openrouter", "meta", "meta-llama/llama-3.2-3b-instruct"),
        model("azure/o4-mini", "azure", "openai", "o4-mini",
              Prices(1_100_000, 4_400_000, tiers=(Tier(200_000, Prices(2_200_000, 4_400_000)),))),
    ],
    SEED_PROVIDERS,
    Names({}, {"claude-sonnet-4-5": Named("claude-sonnet-4-5", "claude-sonnet-4-5")}),
)  # fmt: skip


def made(text: str, directory: Path) -> tuple[dict[str, Any], list[tuple[str, str]], str]:
    """The TOML document, what was left out, and the TOML text; ``serve`` takes it."""
    path = directory / "config.yaml"
    path.write_text(text, encoding="utf-8")
    report = Report()
    toml, _ = converted(read_yaml(path), CATALOG, report, source="config.yaml")
    check(toml, CATALOG)
    return tomllib.loads(toml), report.left_out, toml


def entry(params: str, more: str = "", name: str = "mine") -> str:
    return f"model_list:\n  - model_name: {name}\n    litellm_params: {{{params}}}\n{more}"


def test_a_realistic_configuration_is_made_into_the_golden_file(tmp_path: Path) -> None:
    source = (GOLDEN / "config.yaml").read_text("utf-8")
    _, left_out, toml = made(source, tmp_path)
    said = "".join(f"{path}: {reason}\n" for path, reason in left_out)
    assert toml == (GOLDEN / "ainfera.toml").read_text("utf-8")
    assert said == (GOLDEN / "left_out.txt").read_text("utf-8")
    assert "canary" in source
    assert "canary" not in toml + said


def test_every_part_of_the_configuration_is_carried_or_named() -> None:
    """Each leaf of the file: a value that stands in the TOML text, or a path in what was left out."""
    carried = {"model_name", "model", "api_base", "api_key", "base_model", "mode"}
    carried |= {"input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost"}
    carried |= {"max_input_tokens", "max_output_tokens", "max_tokens", "supports_function_calling"}
    carried |= {"supports_vision", "supports_response_schema"}
    left = {line.split(": ")[0] for line in (GOLDEN / "left_out.txt").read_text("utf-8").splitlines()}
    document = read_yaml(GOLDEN / "config.yaml")
    missing = []
    for section, content in document.items():
        if section == "model_list":
            for number, one in enumerate(content):
                whole = f"model_list[{number}]"
                for part in ("litellm_params", "model_info"):
                    names = {f"{whole}.{part}.{name}": name for name in one.get(part, {})}
                    missing += [p for p, name in names.items() if not {p, whole} & left and name not in carried]
        elif section not in left:
            missing += [f"{section}.{name}" for name in content if f"{section}.{name}" not in left]
    assert missing == ["router_settings.model_group_alias"]


def test_the_command_writes_the_file_and_says_what_it_left_out(tmp_path: Path) -> None:
    output = tmp_path / "ainfera.toml"
    arguments = ["import", "litellm", str(GOLDEN / "config.yaml")]
    done = CliRunner().invoke(app, [*arguments, "--output", str(output)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "left out: model_list[8]: there is no provider bedrock here\n" in done.stderr
    assert re.search(r"^6 providers, \d+ models and \d+ aliases; left out: \d+$", done.stderr, re.MULTILINE)
    printed = CliRunner().invoke(app, arguments)
    assert printed.stdout == output.read_text("utf-8")
    assert printed.stderr == done.stderr
    again = CliRunner().invoke(app, [*arguments, "--output", str(output)])
    assert again.exit_code == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model_list: [", "is no YAML at line 1"),
        (b"a: 1\na: 2\n", "line 2: the same key stands there twice"),
        (b"a: !!python/object/apply:os.system [echo]\n", "line 1: a tag that is not plain YAML"),
        (b"a: !include other.yaml\n", "line 1: a tag that is not plain YAML"),
        (b"a: &a [*a]\n", "line 1: an anchor leads to itself"),
        (b"? [1]\n: 2\n", "line 1: a key that is no text"),
        (b"<<: 1\n", "line 1: << takes a mapping"),
        (b"a: 1\n---\nb: 2\n", "is no YAML at line"),
        (b"a: \xff\n", "is not UTF-8 text"),
        (b"a: \x00\n", "has characters that YAML does not allow"),
        (b"[" * 5000, "is nested too deeply"),
        (b"", "holds no configuration"),
        (b"- 1\n", "holds no configuration"),
    ],
)
def test_a_file_that_cannot_be_read_is_status_2_and_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    done = CliRunner().invoke(app, ["import", "litellm", str(path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_missing_is_status_2(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        assert CliRunner().invoke(app, ["import", "litellm", str(path)]).exit_code == 2


def test_yaml_values_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "base: &b {a: 1, b: 0.10}\nown: {<<: *b, a: yes}\nlist: [~, 2.5e-06, 1_000, 1:30, .inf, 2024-10-21, '7']\n"
    )
    assert read_yaml(path) == {
        "base": {"a": 1, "b": Decimal("0.10")},
        "own": {"a": True, "b": Decimal("0.10")},
        "list": [None, Decimal("0.0000025"), 1000, "1:30", ".inf", "2024-10-21", "7"],
    }
    assert str(read_yaml(path)["base"]["b"]) == "0.10"


def test_many_names_of_one_anchor_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    path.write_text("\n".join(lines))
    found = read_yaml(path)
    assert found["a59"][0] is found["a59"][1]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ainfera_gateway.cli.import_yaml.FILE_BYTES_MAX", 3)
    (tmp_path / "a.yaml").write_text("a: 1")
    with pytest.raises(YamlError, match="is larger than 3 bytes"):
        read_yaml(tmp_path / "a.yaml")


PRICED = "input_cost_per_token: 1e-6, output_cost_per_token: 2e-6"


@pytest.mark.parametrize(
    ("written", "usd"),
    [("3e-6", "3.00"), ("2.5e-06", "2.50"), ("0.000000075", "0.075"), ("'0.0000011'", "1.10"), ("0", "0.00"),
     ("0.000000000001", "0.000001")],
)  # fmt: skip
def test_prices_are_carried_to_the_last_place(written: str, usd: str, tmp_path: Path) -> None:
    params = (
        f"model: hosted_vllm/x, api_base: 'http://h/v1', input_cost_per_token: {written}, output_cost_per_token: 1e-6"
    )
    document, left_out, _ = made(entry(params), tmp_path)
    assert document["models"]["vllm-h/x"]["input_usd_per_mtok"] == usd
    assert left_out == []


@pytest.mark.parametrize("written", ["-1e-6", "1e-13", "much", ".nan", "true", "1e30", "[1]"])
def test_a_price_that_cannot_be_billed_is_left_out_with_its_model(written: str, tmp_path: Path) -> None:
    params = (
        f"model: hosted_vllm/x, api_base: 'http://h/v1', input_cost_per_token: {written}, output_cost_per_token: 1e-6"
    )
    document, left_out, toml = made(entry(params), tmp_path)
    assert "models" not in document
    assert "aliases" not in document
    assert '# [models."vllm-h/x"]' in toml
    assert [path for path, _ in left_out] == [
        "model_list[0].litellm_params.input_cost_per_token",
        "model_list[0].output_cost_per_token",
        "model_list[0]",
    ]


@pytest.mark.parametrize(
    ("params", "provider"),
    [
        ("model: hosted_vllm/x, api_base: 'http://gpu.lan:8000/v1/'",
         ("vllm-gpu-lan-8000", {"base_url": "http://gpu.lan:8000/v1", "credential": "none"})),
        ("model: ollama/x", ("ollama-localhost-11434", {"base_url": "http://localhost:11434/v1", "credential": "none"})),
        ("model: ollama_chat/x, api_base: 'http://box/v1'",
         ("ollama-box", {"base_url": "http://box/v1", "credential": "none"})),
        ("model: openai/x, api_base: 'http://box/v1', api_key: EMPTY",
         ("server-box", {"base_url": "http://box/v1", "credential": "none"})),
        ("model: openai/x, base_url: 'http://box/v1', api_key: sk-canary",
         ("server-box", {"base_url": "http://box/v1", "api_key_env": "SERVER_BOX_API_KEY"})),
        ("model: x, custom_llm_provider: openai_like, api_base: os.environ/BOX_URL",
         ("server-box", {"credential": "none"})),
        ("model: lm_studio/x, api_base: 'http://[::1]:1234/v1', api_key: os.environ/LM_KEY",
         ("lm-studio-1-1234", {"base_url": "http://[::1]:1234/v1", "api_key_env": "LM_KEY"})),
        ("model: groq/x, api_key: os.environ/TEAM_GROQ", ("groq", {"api_key_env": "TEAM_GROQ"})),
        ("model: azure/x, api_base: 'https://r1.openai.azure.com/openai/v1/'",
         ("azure-r1", {"base_url": "https://r1.openai.azure.com/openai/v1", "api_key_env": "AZURE_API_KEY",
                       "credential": "api-key", "max_tokens_field": "max_completion_tokens"})),
    ],
)  # fmt: skip
def test_a_server_of_ones_own_becomes_a_provider(
    params: str, provider: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    document, _, toml = made(entry(f"{params}, {PRICED}"), tmp_path)
    name, members = provider
    assert document["providers"] == {name: members}
    assert document["models"][f"{name}/x"]["provider"] == name
    assert document["aliases"] == {"mine": f"{name}/x"}
    assert "canary" not in toml


def test_a_literal_key_is_named_by_the_variable_that_replaces_it(tmp_path: Path) -> None:
    _, left_out, _ = made(entry("model: openai/gpt-4o, api_key: sk-canary"), tmp_path)
    assert left_out == [("model_list[0].litellm_params.api_key", "literal key left out: set OPENAI_API_KEY")]
    params = f"model: openai/x, api_base: 'http://box/v1', api_key: sk-canary, {PRICED}"
    _, left_out, _ = made(entry(params), tmp_path)
    assert left_out == [("model_list[0].litellm_params.api_key", "literal key left out: set SERVER_BOX_API_KEY")]


def test_two_keys_of_one_provider_are_two_providers(tmp_path: Path) -> None:
    text = f"""
model_list:
  - {{model_name: a, litellm_params: {{model: groq/x, api_key: os.environ/GROQ_API_KEY_RED, {PRICED}}}}}
  - {{model_name: b, litellm_params: {{model: groq/x, api_key: os.environ/GROQ_API_KEY_BLUE, {PRICED}}}}}
  - {{model_name: c, litellm_params: {{model: groq/x, {PRICED}}}}}
"""
    document, _, _ = made(text, tmp_path)
    groq = next(provider for provider in SEED_PROVIDERS if provider.slug == "groq")
    assert document["providers"] == {
        f"groq-{colour}": {
            "base_url": groq.base_url, "api_key_env": f"GROQ_API_KEY_{colour.upper()}", "quirks": sorted(groq.quirks),
        }
        for colour in ("red", "blue")
    }  # fmt: skip
    assert document["aliases"] == {"a": "groq-red/x", "b": "groq-blue/x", "c": "groq/x"}


def test_a_model_of_the_catalog_needs_a_name_alone(tmp_path: Path) -> None:
    text = """
model_list:
  - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o}}
  - {model_name: openai/gpt-4.1, litellm_params: {model: openai/gpt-4.1}}
  - {model_name: mini, litellm_params: {model: gpt-4o-mini}}
  - {model_name: pinned, litellm_params: {model: anthropic/claude-sonnet-4-5-20250929}}
"""
    document, left_out, _ = made(text, tmp_path)
    assert document == {"aliases": {"mini": "gpt-4o-mini", "pinned": "claude-sonnet-4-5-20250929"}}
    assert left_out == []


def test_a_target_that_is_a_name_itself_is_said_with_its_provider(tmp_path: Path) -> None:
    text = f"""
model_list:
  - {{model_name: gpt-4o, litellm_params: {{model: openai/x, api_base: 'http://box/v1', {PRICED}}}}}
  - {{model_name: prod, litellm_params: {{model: openai/gpt-4o}}}}
"""
    document, _, _ = made(text, tmp_path)
    assert document["aliases"] == {"gpt-4o": "server-box/x", "prod": "openai/gpt-4o"}


def test_an_own_price_of_a_known_model_is_a_row_of_its_own(tmp_path: Path) -> None:
    document, _, _ = made(entry(f"model: anthropic/claude-opus-4-7, {PRICED}"), tmp_path)
    assert document["models"] == {
        "anthropic/claude-opus-4-7": {
            "provider": "anthropic",
            "upstream_model": "claude-opus-4-7",
            "context_window": 200_000,
            "max_output_tokens": 64_000,
            "input_usd_per_mtok": "1.00",
            "output_usd_per_mtok": "2.00",
        }
    }
    assert document["aliases"] == {"mine": "anthropic/claude-opus-4-7"}


def test_the_catalogs_price_holds_at_another_address_of_the_same_provider(tmp_path: Path) -> None:
    document, left_out, toml = made(entry("model: azure/o4-mini, api_base: 'https://r1.openai.azure.com'"), tmp_path)
    row = document["models"]["azure-r1/o4-mini"]
    assert (row["brand"], row["input_usd_per_mtok"], row["output_usd_per_mtok"]) == ("openai", "1.10", "4.40")
    assert "that of azure/o4-mini in the catalog" in toml
    assert left_out == [
        ("model_list[0]", f"the catalog's price line {line}@200000 of azure/o4-mini has no member here")
        for line in ("input", "output")
    ]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("model_list: 1", ("model_list", "is no list")),
        ("model_list: [1]", ("model_list[0]", "an entry is no mapping")),
        ("model_list: [{model_name: a}]", ("model_list[0]", "litellm_params is no mapping")),
        ("router_settings: [1]", ("router_settings", "is no mapping")),
        ("router_settings: {model_group_alias: [1]}", ("router_settings.model_group_alias", "is no mapping")),
        ("router_settings: {model_group_alias: {a: [1]}}", ("router_settings.model_group_alias.a", "cannot be an alias")),
        ("router_settings: {model_group_alias: {ainfera-auto: gpt-4o}}",
         ("router_settings.model_group_alias.ainfera-auto", "cannot be an alias")),
        ("invented: 1", ("invented", "an unknown part")),
        (entry("model: unheard-of"), ("model_list[0]", "it names no provider, and the catalog does not know the model")),
        (entry("model: openai/gpt-4o", name="'a\\nb'"), None),
        (entry("model: openai/gpt-4o", name='"a\\nb"'), ("model_list[0]", "model_name is not printable text")),
        (entry("model: gemini/x, api_base: 'http://h'"),
         ("model_list[0]", "the address speaks Gemini's own dialect, and gemini is called in its OpenAI form here")),
        (entry("model: hosted_vllm/x"), ("model_list[0]", "api_base is missing: it would have come from the environment")),
        (entry("model: openai/x, api_base: h"), ("model_list[0]", "api_base is no http:// or https:// URL")),
        (entry("model: openai/gpt-4o, api_key: os.environ/AINFERA_INTERNAL_KEY"),
         ("model_list[0].litellm_params.api_key", "its variable is not one that can be named in api_key_env")),
        (entry('model: openai/gpt-4o, "odd\\nname": 1'),
         ("model_list[0].litellm_params.odd?name", "has no counterpart here")),
    ],
)  # fmt: skip
def test_each_part_without_a_counterpart_is_named(text: str, left: tuple[str, str] | None, tmp_path: Path) -> None:
    _, left_out, toml = made(text, tmp_path)
    assert left_out == ([] if left is None else [left])
    assert all(line.startswith(("#", "[", '"')) or " = " in line or not line for line in toml.splitlines())


def test_an_empty_configuration_makes_an_empty_file(tmp_path: Path) -> None:
    document, left_out, _ = made("model_list: []\nlitellm_settings:\n", tmp_path)
    assert (document, left_out) == ({}, [])
