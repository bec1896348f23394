"""Settings: every one read from each place, in rising precedence; every wrong or unknown one named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ainfera_gateway.settings import READERS, Settings, SettingsError, load

GOOD: dict[str, tuple[str, Any]] = {
    "AINFERA_HOST": ("0.0.0.0", "0.0.0.0"),
    "AINFERA_PORT": ("8123", 8123),
    "AINFERA_DATA_DIR": ("elsewhere", Path("elsewhere")),
    "AINFERA_DATABASE_URL": ("postgresql://localhost/x", "postgresql://localhost/x"),
    "AINFERA_AUTO_MIGRATE": ("yes", True),
    "AINFERA_WORKERS": ("1", 1),
    "AINFERA_INTERNAL_KEY": ("internal", "internal"),
    "AINFERA_DATA_KEY": ("data", "data"),
    "AINFERA_PUBLIC_URL": ("https://gateway.example", "https://gateway.example"),
    "AINFERA_SIGNUP": ("off", "off"),
    "AINFERA_SIGNUP_GRANT_USD": ("0.000001", 1_000_000),
    "AINFERA_TOPUP": ("operator", "operator"),
    "AINFERA_MCP_URL": ("https://mcp.example", "https://mcp.example"),
    "AINFERA_DID_HOST": ("id.example", "id.example"),
    "AINFERA_SPEND_KILLSWITCH_USD": ("12.5", 12_500_000_000_000),
    "AINFERA_SPEND_KILLSWITCH_ENABLED": ("0", False),
    "AINFERA_KILLSWITCH_PINNED": ("off", False),
    "AINFERA_DISCONNECT_DRAIN_S": ("0.5", 0.5),
    "AINFERA_DRAIN_S": ("5", 5.0),
    "AINFERA_KEEP_OUTCOMES_DAYS": ("90", 90),
    "AINFERA_LOG_LEVEL": ("debug", "DEBUG"),
    "AINFERA_RATE_LIMIT_RPM": ("600", 600),
    "AINFERA_ATTEMPT_TIMEOUT_S": ("7", 7.0),
    "AINFERA_CALL_TIMEOUT_S": ("9", 9.0),
    "AINFERA_LOCAL_MODEL": ("model.gguf", "model.gguf"),
}

WRONG: dict[str, tuple[str, ...]] = {
    "AINFERA_PORT": ("-1", "65536", "http", "", "80.5", "1e3"),
    "AINFERA_DATABASE_URL": (
        "mysql://localhost/x", "sqlite://x", "", "/var/x.db", "postgresql://h:port/x", "postgresql://h:99999/x",
        "postgresql://[h/x",
    ),
    "AINFERA_AUTO_MIGRATE": ("maybe", "", "2"),
    "AINFERA_WORKERS": ("0", "65", "-1", "two"),
    "AINFERA_PUBLIC_URL": ("gateway.example", "ftp://gateway.example"),
    "AINFERA_MCP_URL": ("mcp.example",),
    "AINFERA_SIGNUP": ("closed", "", "OPEN"),
    "AINFERA_SIGNUP_GRANT_USD": ("free", "", "NaN", "inf", "1e30", "0.0000000000001", "-1"),
    "AINFERA_TOPUP": ("everybody", ""),
    "AINFERA_SPEND_KILLSWITCH_USD": ("0", "-5", "0.0", "much", "NaN"),
    "AINFERA_SPEND_KILLSWITCH_ENABLED": ("on off", ""),
    "AINFERA_KILLSWITCH_PINNED": ("sometimes",),
    "AINFERA_DISCONNECT_DRAIN_S": ("-0.1", "61", "nan", "inf", "soon"),
    "AINFERA_DRAIN_S": ("-1", "3601", "nan", "long"),
    "AINFERA_KEEP_OUTCOMES_DAYS": ("-1", "36501", "1.5", "ever"),
    "AINFERA_LOG_LEVEL": ("LOUD", ""),
    "AINFERA_RATE_LIMIT_RPM": ("0", "-1", "10000001", "1.5"),
    "AINFERA_ATTEMPT_TIMEOUT_S": ("0", "3601", "nan"),
    "AINFERA_CALL_TIMEOUT_S": ("0", "7201", "inf"),
}  # fmt: skip


def toml_file(directory: Path, text: str) -> str:
    path = directory / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_table_of_good_values_knows_every_setting() -> None:
    assert set(GOOD) == set(READERS)


def test_nothing_set_gives_the_defaults() -> None:
    assert load({}) == Settings()


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_setting_is_read_from_the_environment(name: str) -> None:
    text, value = GOOD[name]
    assert getattr(load({name: text}), READERS[name][0]) == value


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_setting_is_read_from_the_file(name: str, tmp_path: Path) -> None:
    text, value = GOOD[name]
    path = toml_file(tmp_path, f'{name.removeprefix("AINFERA_").lower()} = "{text}"\n')
    assert getattr(load({"AINFERA_CONFIG": path}), READERS[name][0]) == value


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_setting_is_read_from_a_flag(name: str) -> None:
    text, value = GOOD[name]
    assert getattr(load({}, {name.removeprefix("AINFERA_").lower(): text}), READERS[name][0]) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_setting_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load({name: text})


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_setting_in_the_file_is_named(name: str, tmp_path: Path) -> None:
    path = toml_file(tmp_path, f'{name} = "{WRONG[name][0]}"\n')
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load({"AINFERA_CONFIG": path})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("AINFERA_PROT", "; did you mean AINFERA_PORT?"),
        ("AINFERA_port", "; did you mean AINFERA_PORT?"),
        ("AINFERA_RATE_LIMIT", "; did you mean AINFERA_RATE_LIMIT_RPM?"),
        ("AINFERA_DATABASE", "; did you mean AINFERA_DATABASE_URL?"),
        ("AINFERA_", ""),
        ("AINFERA_ZEBRA_QUAGGA", ""),
    ],
)
def test_an_unknown_setting_is_named_with_the_nearest_known_one(name: str, hint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load({name: "1"})
    assert str(raised.value) == f"{name}: unknown setting{hint}"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_setting_is_said_in_our_own_words(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load({name: text})
    for leak in ("invalid literal", "could not convert", "Errno", "Traceback"):
        assert leak not in str(raised.value)


def test_an_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^AINFERA_PROT: unknown setting; did you mean AINFERA_PORT\?$"):
        load({"AINFERA_CONFIG": toml_file(tmp_path, "prot = 1\n")})


def test_an_unknown_flag_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^AINFERA_PROT: unknown setting; did you mean AINFERA_PORT\?$"):
        load({}, {"prot": "1"})


@pytest.mark.parametrize("text", ["port = \n", "[server]\nport = 1\n", "ports = [1]\n"])
def test_a_file_of_the_wrong_form_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^AINFERA_CONFIG: "):
        load({"AINFERA_CONFIG": toml_file(tmp_path, text)})


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load({"AINFERA_CONFIG": str(tmp_path / "nowhere.toml")})
    assert str(raised.value) == f"AINFERA_CONFIG: there is no file at {tmp_path / 'nowhere.toml'}"


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^AINFERA_CONFIG: .* cannot be read as a file: ") as raised:
        load({"AINFERA_CONFIG": str(tmp_path)})
    assert "Errno" not in str(raised.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe\x00port = 1")
    with pytest.raises(SettingsError, match=r"^AINFERA_CONFIG: .* is not UTF-8 text$"):
        load({"AINFERA_CONFIG": str(path)})


def test_file_then_environment_then_flags(tmp_path: Path) -> None:
    path = toml_file(tmp_path, "port = 1001\nrate_limit_rpm = 7\nauto_migrate = true\n")
    assert load({"AINFERA_CONFIG": path}).port == 1001
    environment = {"AINFERA_CONFIG": path, "AINFERA_PORT": "1002"}
    assert load(environment).port == 1002
    settings = load(environment, {"port": "1003", "host": None})
    assert (settings.port, settings.rate_limit_rpm, settings.auto_migrate) == (1003, 7, True)
    assert settings.host == "127.0.0.1"


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load({"AINFERA_PORT": "1002"}, {"port": None}).port == 1002


def test_names_that_are_not_ours_are_left_alone() -> None:
    others = {"AINFERA_API_KEY": "key-of-the-published-sdk", "OPENAI_API_KEY": "x", "PATH": "/bin"}
    assert load(others) == Settings()


def test_secrets_never_show_in_a_repr() -> None:
    shown = repr(load({"AINFERA_INTERNAL_KEY": "very-internal", "AINFERA_DATA_KEY": "very-data"}))
    assert "very-" not in shown


def test_a_wrong_secret_value_is_not_echoed_by_the_error() -> None:
    for url in ("mysql://user:hunter2@host/x", "postgresql://user:hunter2@host:port/x"):
        with pytest.raises(SettingsError) as raised:
            load({"AINFERA_DATABASE_URL": url})
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True),
                        ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("gateway.example", False)],
)  # fmt: skip
def test_signup_and_topup_are_open_on_loopback_alone(host: str, local: bool) -> None:
    settings = load({"AINFERA_HOST": host})
    assert settings.on_loopback is local
    assert settings.signup_mode == ("open" if local else "internal")
    assert settings.topup_mode == ("self" if local else "operator")
    forced = load({"AINFERA_HOST": host, "AINFERA_SIGNUP": "off", "AINFERA_TOPUP": "self"})
    assert (forced.signup_mode, forced.topup_mode) == ("off", "self")


def test_several_workers_need_a_database_that_serves_several_and_no_model_of_their_own() -> None:
    several = {"AINFERA_WORKERS": "2", "AINFERA_DATABASE_URL": "postgresql://h/x"}
    assert load(several).workers == 2
    with pytest.raises(SettingsError, match=r"^AINFERA_WORKERS: SQLite serves one process.*AINFERA_DATABASE_URL"):
        load({"AINFERA_WORKERS": "2"})
    with pytest.raises(SettingsError, match=r"^AINFERA_WORKERS: a local model"):
        load({**several, "AINFERA_LOCAL_MODEL": "smollm2"})


def test_the_database_stands_in_the_data_directory_unless_said(tmp_path: Path) -> None:
    assert load({"AINFERA_DATA_DIR": str(tmp_path)}).database == f"sqlite:///{tmp_path}/ainfera.db"
    assert load({"AINFERA_DATABASE_URL": "postgresql://h/x"}).database == "postgresql://h/x"


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load({}).port = 1  # type: ignore[misc]
