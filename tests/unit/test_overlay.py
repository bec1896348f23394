"""The operator's own providers, models and aliases: read from TOML, checked with their full names, laid over the catalog."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from ainfera_gateway.catalog.model import Catalog, catalog_of
from ainfera_gateway.catalog.names import Named, Names
from ainfera_gateway.catalog.overlay import CONTEXT_UNSAID, OUTPUT_UNSAID, key_variables, with_overlay
from ainfera_gateway.catalog.price import Prices, Tier
from ainfera_gateway.catalog.seed import ANCHORS, SEED_PROVIDERS
from ainfera_gateway.config_tables import NO_OVERLAY, Overlay
from ainfera_gateway.routing.gateway_aliases import gateway_aliases
from ainfera_gateway.settings import Settings, SettingsError, load

TIERED = Prices(1_000_000, 2_000_000, tiers=(Tier(200_000, Prices(3_000_000, 4_000_000)),))
CANARY = "sk-canary-0123456789"
CATALOG = catalog_of(
    [replace(model, prices=TIERED) if model.slug == "grok-4" else model for model in ANCHORS],
    SEED_PROVIDERS,
    Names({"gpt-5.5-snapshot": Named("gpt-5-5", "gpt-5.5-snapshot")}, {"grok-4": Named("grok-4", "grok-4")}),
    valid_until_us=77,
)
MODEL = """
[models."house/llama"]
provider = "house"
input_usd_per_mtok = "0.15"
output_usd_per_mtok = 0.6
"""
PROVIDER = """
[providers.house]
base_url = "http://127.0.0.1:9/v1/"
"""


def overlay_of(directory: Path, text: str) -> Overlay:
    path = directory / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return load({"AINFERA_CONFIG": str(path)}).overlay


def laid(directory: Path, text: str, catalog: Catalog = CATALOG) -> Catalog:
    overlay = overlay_of(directory, text)
    made = with_overlay(catalog, overlay)
    gateway_aliases(overlay, made)
    return made


def test_without_tables_nothing_changes(tmp_path: Path) -> None:
    assert overlay_of(tmp_path, "port = 1\n") == NO_OVERLAY == Settings().overlay
    assert with_overlay(CATALOG, NO_OVERLAY) is CATALOG


def test_flat_settings_and_tables_stand_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f"port = 1001\ncall_timeout_s = 2.5\n{PROVIDER}")
    settings = load({"AINFERA_CONFIG": str(path)})
    assert (settings.port, settings.call_timeout_s) == (1001, 2.5)
    assert [own.slug for own in settings.overlay.providers] == ["house"]


def test_a_new_provider_is_a_table_row(tmp_path: Path) -> None:
    provider = laid(tmp_path, PROVIDER).providers["house"]
    assert (provider.display_name, provider.base_url) == ("house", "http://127.0.0.1:9/v1")
    assert (provider.api_key_env, provider.base_url_env) == ("HOUSE_API_KEY", "HOUSE_BASE_URL")
    assert (provider.wire, provider.credential, provider.max_tokens_field) == ("openai_chat", "bearer", "max_tokens")
    assert (provider.key_required, provider.knows_usage_option, provider.enabled) == (True, True, True)
    assert provider.quirks == frozenset()


def test_every_member_of_a_provider_arrives(tmp_path: Path) -> None:
    text = """
[providers.my-house-2]
base_url = "https://llm.example/v1"
display_name = "My house"
api_key_env = "HOUSE_TOKEN"
wire = "anthropic_messages"
credential = "x-api-key"
quirks = ["nine_char_tool_ids"]
max_tokens_field = "max_completion_tokens"
knows_usage_option = false
key_required = false
enabled = false
"""
    made = laid(tmp_path, text).providers["my-house-2"]
    assert made.base_url_env == "MY_HOUSE_2_BASE_URL"
    assert (made.display_name, made.api_key_env, made.wire, made.credential, made.quirks, made.max_tokens_field) == (
        "My house", "HOUSE_TOKEN", "anthropic_messages", "x-api-key", frozenset({"nine_char_tool_ids"}),
        "max_completion_tokens",
    )  # fmt: skip
    assert (made.knows_usage_option, made.key_required, made.enabled) == (False, False, False)


def test_a_known_provider_keeps_what_is_not_said(tmp_path: Path) -> None:
    made = laid(tmp_path, '[providers.mistral]\nbase_url = "https://eu.example/v1"\n')
    before = CATALOG.providers["mistral"]
    assert made.providers["mistral"] == replace(before, base_url="https://eu.example/v1")
    assert {**made.providers, "mistral": before} == CATALOG.providers


def test_a_provider_without_a_key_says_none(tmp_path: Path) -> None:
    made = laid(tmp_path, f'{PROVIDER}credential = "none"\n').providers["house"]
    assert (made.api_key_env, made.key_required) == ("", False)


def test_the_variables_of_keys_are_known(tmp_path: Path) -> None:
    text = f'{PROVIDER}\n[providers.openai]\napi_key_env = "TEAM_KEY"\n'
    assert key_variables(overlay_of(tmp_path, text)) == ("HOUSE_API_KEY", "TEAM_KEY")


def test_a_new_model_has_its_price_and_modest_limits(tmp_path: Path) -> None:
    made = laid(tmp_path, PROVIDER + MODEL)
    model = made.models["house/llama"]
    assert model.prices == Prices(150_000, 600_000)
    assert (model.provider, model.upstream_model, model.display_name, model.brand) == (
        "house", "house/llama", "house/llama", "house",
    )  # fmt: skip
    assert (model.context_window, model.max_output_tokens) == (CONTEXT_UNSAID, OUTPUT_UNSAID)
    assert (model.capabilities, model.capabilities_known, model.prior, model.enabled) == (
        frozenset(),
        False,
        None,
        True,
    )
    assert made.version != CATALOG.version
    assert (made.names, made.valid_until_us) == (CATALOG.names, 77)


def test_every_member_of_a_model_arrives(tmp_path: Path) -> None:
    text = f"""{PROVIDER}
[models.llama]
provider = "house"
upstream_model = "meta/llama"
display_name = "Llama"
brand = "meta"
context_window = 8192
max_output_tokens = 1024
capabilities = ["tools", "vision"]
input_usd_per_mtok = "0"
output_usd_per_mtok = 3
cached_input_usd_per_mtok = 0.000001
cache_write_usd_per_mtok = "1.25"
prior = 0.75
prior_source = "our own evaluation"
wire = "openai_responses"
enabled = false
"""
    model = laid(tmp_path, text).models["llama"]
    assert model.prices == Prices(0, 3_000_000, cached_input_picousd=1, cache_write_picousd=1_250_000)
    assert (model.upstream_model, model.display_name, model.brand, model.wire, model.enabled) == (
        "meta/llama", "Llama", "meta", "openai_responses", False,
    )  # fmt: skip
    assert (model.context_window, model.max_output_tokens) == (8192, 1024)
    assert (model.capabilities, model.capabilities_known) == (frozenset({"tools", "vision"}), True)
    assert (model.prior, model.prior_source) == (Decimal("0.75"), "our own evaluation")


def test_a_price_is_the_number_that_was_written(tmp_path: Path) -> None:
    # As a binary fraction 0.1 + 0.2 has no end; as TOML text 0.3 is exact.
    text = PROVIDER + MODEL.replace('"0.15"', "0.3").replace("0.6", "0.000003")
    assert laid(tmp_path, text).models["house/llama"].prices == Prices(300_000, 3)


def test_a_model_of_the_catalog_keeps_what_is_not_said(tmp_path: Path) -> None:
    made = laid(tmp_path, '[models.grok-4]\nprovider = "xai"\nprior = "0.5"\nprior_source = "ours"\n')
    before = CATALOG.models["grok-4"]
    assert made.models["grok-4"] == replace(before, prior=Decimal("0.5"), prior_source="ours", aa_index_source=None)
    assert made.models["grok-4"].prices.tiers
    assert made.names == CATALOG.names


def test_a_price_replaces_the_whole_price_of_the_catalog(tmp_path: Path) -> None:
    text = '[models.grok-4]\nprovider = "xai"\ninput_usd_per_mtok = 7\noutput_usd_per_mtok = 8\n'
    assert laid(tmp_path, text).models["grok-4"].prices == Prices(7_000_000, 8_000_000)


def test_a_slug_served_elsewhere_is_a_new_model_and_loses_its_further_names(tmp_path: Path) -> None:
    text = PROVIDER + MODEL.replace("house/llama", "gpt-5-5")
    made = laid(tmp_path, text)
    model = made.models["gpt-5-5"]
    assert (model.provider, model.upstream_model, model.prior) == ("house", "gpt-5-5", None)
    assert made.names.find("gpt-5.5-snapshot") is None
    assert made.names.find("grok-4-20250709") == Named("grok-4", "grok-4-20250709")


def test_aliases_lead_to_the_router_to_models_and_to_further_names(tmp_path: Path) -> None:
    text = f"""{PROVIDER}{MODEL}
[aliases]
"gpt-4o" = "ainfera-inference"
"gpt-5-5" = "house/llama"
snapshot = "gpt-5.5-snapshot"
"""
    overlay = overlay_of(tmp_path, text)
    assert gateway_aliases(overlay, with_overlay(CATALOG, overlay)) == {
        "gpt-4o": "ainfera-inference",
        "gpt-5-5": "house/llama",
        "snapshot": "gpt-5.5-snapshot",
    }


HOUSE = PROVIDER + MODEL
WRONG = [
    (f"{PROVIDER}base_ulr = 1", "providers.house.base_ulr: unknown member; did you mean base_url?"),
    (f'{PROVIDER}api_key = "{CANARY}"', "providers.house.api_key: a key never stands in the file"),
    (f'{PROVIDER}token = "{CANARY}"', "providers.house.token: a key never stands in the file"),
    (f'{PROVIDER}api_key_env = "{CANARY}"', "providers.house.api_key_env: must be the name of an environment variable"),
    (f'{PROVIDER}api_key_env = "AINFERA_INTERNAL_KEY"', "providers.house.api_key_env: variables that begin with AINFERA_"),
    (f'[providers.x]\nbase_url = "https://u:{CANARY}@h/v1"', "providers.x.base_url: must hold no user, password"),
    (f'[providers.x]\nbase_url = "https://h/v1?key={CANARY}"', "providers.x.base_url: must hold no user, password"),
    ('[providers.x]\nbase_url = "h/v1"', "providers.x.base_url: must be an http:// or https:// URL"),
    ('[providers.x]\nbase_url = "http://h:port/v1"', "providers.x.base_url: must be an http:// or https:// URL"),
    ('[providers.x]\nbase_url = ""', "providers.x.base_url: must be text"),
    ("[providers.x]\nbase_url = 1", "providers.x.base_url: must be text"),
    ('[providers.x]\ndisplay_name = "two\\nlines"', "providers.x.display_name: must be printable text"),
    ('[providers.x]\nwire = "openai"', "providers.x.wire: must be one of openai_chat, anthropic_messages"),
    ('[providers.x]\ncredential = "basic"', "providers.x.credential: must be one of bearer, x-api-key, api-key, none"),
    ('[providers.x]\ncredential = "none"\napi_key_env = "A"', "providers.x.api_key_env: says that there is a key"),
    ('[providers.x]\nquirks = ["odd"]', "providers.x.quirks: must be one of "),
    ('[providers.x]\nquirks = "odd"', "providers.x.quirks: must be a list of texts"),
    ('[providers.x]\nmax_tokens_field = "limit"', "providers.x.max_tokens_field: must be one of max_tokens"),
    ('[providers.x]\nenabled = "yes"', "providers.x.enabled: must be true or false"),
    ("[providers.X]", "providers.X: a name is lower-case letters"),
    ("[providers.ainfera-x]", "providers.ainfera-x: a name is lower-case letters"),
    ("[providers.a_b]", "providers.a_b: a name is lower-case letters"),
    ('[providers."a.b"]', 'providers."a.b": a name is lower-case letters'),
    ("[providers.a.b]", 'providers.a.b: unknown member; a name with a dot in it needs quotes: [providers."a.b"]'),
    ("providers = 1", "providers: must be a table"),
    ("[providers]\nx = 1", "providers.x: must be a table of its own: [providers.x]"),
    (f'{HOUSE}price = "1"', 'models."house/llama".price: unknown member'),
    (f'{HOUSE}api_key = "{CANARY}"', 'models."house/llama".api_key: a key never stands in the file'),
    ('[models.x]\nupstream_model = "y"', "models.x.provider: is missing: say who serves the model"),
    ('[models.x]\nprovider = "house"', "models.x.provider: there is no provider of that name; known are anthropic"),
    (f'{PROVIDER}[models.x]\nprovider = "house"', "models.x.input_usd_per_mtok: is missing"),
    (f'{PROVIDER}[models.x]\nprovider = "house"\ninput_usd_per_mtok = 1', "models.x.output_usd_per_mtok: is missing"),
    ('[models.grok-4]\nprovider = "xai"\ncached_input_usd_per_mtok = 1', "models.grok-4.input_usd_per_mtok: is missing"),
    (HOUSE.replace('"0.15"', '"-1"'), 'models."house/llama".input_usd_per_mtok: must be USD per million tokens'),
    (HOUSE.replace('"0.15"', '"0.0000001"'), 'models."house/llama".input_usd_per_mtok: must be USD per million'),
    (HOUSE.replace('"0.15"', '""'), 'models."house/llama".input_usd_per_mtok: must be USD per million tokens'),
    (HOUSE.replace('"0.15"', "nan"), 'models."house/llama".input_usd_per_mtok: must be USD per million tokens'),
    (HOUSE.replace('"0.15"', "inf"), 'models."house/llama".input_usd_per_mtok: must be USD per million tokens'),
    (HOUSE.replace('"0.15"', "true"), 'models."house/llama".input_usd_per_mtok: must be a decimal'),
    (HOUSE.replace('"0.15"', "[1]"), 'models."house/llama".input_usd_per_mtok: must be a decimal'),
    (f'{HOUSE}prior = "0.5"', 'models."house/llama".prior_source: is missing: a prior needs its source'),
    (f'{HOUSE}prior_source = "ours"', 'models."house/llama".prior: is missing'),
    (f'{HOUSE}prior = 1.1\nprior_source = "ours"', 'models."house/llama".prior: must be a decimal from 0 to 1'),
    (f'{HOUSE}prior = "x"\nprior_source = "ours"', 'models."house/llama".prior: must be a decimal from 0 to 1'),
    (f'{HOUSE}prior = nan\nprior_source = "ours"', 'models."house/llama".prior: must be a decimal from 0 to 1'),
    (f'{HOUSE}capabilities = ["flight"]', 'models."house/llama".capabilities: must be one of audio, '),
    (f'{HOUSE}wire = "soap"', 'models."house/llama".wire: must be one of openai_chat'),
    (f"{HOUSE}context_window = 0", 'models."house/llama".context_window: must be a whole number from 1'),
    (f"{HOUSE}context_window = 1.5", 'models."house/llama".context_window: must be a whole number from 1'),
    (f"{HOUSE}context_window = true", 'models."house/llama".context_window: must be a whole number from 1'),
    (f"{HOUSE}max_output_tokens = 40000", 'models."house/llama".max_output_tokens: is more than context_window, 32768'),
    (HOUSE.replace("house/llama", "a b"), 'models."a b": a name is 1 to 256 characters of ASCII without spaces'),
    (HOUSE.replace("house/llama", "ainfera-inference"), "models.ainfera-inference: this name always means the router"),
    ('[models.gpt-4.1]\nprovider = "openai"', "models.gpt-4.1: unknown member; a name with a dot in it needs quotes: [m"),
    ('[aliases]\nx = "nowhere"', "aliases.x: must lead to ainfera-inference or to a model of the catalog"),
    ('[aliases]\nx = "y"\ny = "grok-4"', "aliases.x: an alias cannot lead to an alias"),
    ('[aliases]\nainfera-inference = "grok-4"', "aliases.ainfera-inference: this name always means the router"),
    ('[aliases]\n"openai/ainfera-auto" = "grok-4"', 'aliases."openai/ainfera-auto": this name always means the router'),
    ('[aliases]\nx = "ainfera-auto"', "aliases.x: say ainfera-inference for the router"),
    ('[aliases]\n"" = "grok-4"', 'aliases."": must be text'),
    ('[aliases]\n" x" = "grok-4"', 'aliases." x": must be printable text without a space at its ends'),
    (f'[aliases]\n{"x" * 129} = "grok-4"', f"aliases.{'x' * 129}: a name has at most 128 characters"),
    ("[aliases]\nx = 1", "aliases.x: must be text"),
    ("aliases = []", "aliases: must be a table"),
    ("[server]\nport = 1", "server: unknown section"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[f"{number}" for number in range(len(WRONG))])
def test_what_is_wrong_is_named_in_full_and_never_repeated(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        laid(tmp_path, text)
    assert str(raised.value).startswith(f"AINFERA_CONFIG: {said}")
    assert "\n" not in str(raised.value)
    assert CANARY not in str(raised.value)


def test_a_name_that_would_break_a_line_is_shown_safely(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r'models\."a\?b"\.provider: is missing'):
        laid(tmp_path, '[models."a\\nb"]\n')


def test_settings_with_tables_are_frozen_and_compare_by_value(tmp_path: Path) -> None:
    first, second = (overlay_of(tmp_path, HOUSE) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(AttributeError):
        first.models = ()  # type: ignore[misc]
