"""The file a running gateway leaves: read while its writer lives, passed over and swept when it is gone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from ainfera_gateway.catalog.overlay import with_overlay
from ainfera_gateway.catalog.seed import seed_catalog
from ainfera_gateway.cli import options
from ainfera_gateway.cli.banner import MODELS_SHOWN_MAX, reach_of, shown_models
from ainfera_gateway.cli.running import RunningFile, running_gateways
from ainfera_gateway.settings import Settings, load


def write(data_dir: Path, started_us: int = 1, **environment: str) -> RunningFile:
    file = RunningFile(data_dir)
    settings = load({"AINFERA_DATA_DIR": str(data_dir), **environment})
    url = f"http://127.0.0.1:{settings.port}"
    file.write(settings, url=url, version="1", providers=frozenset({"local", "openai"}), started_us=started_us)
    return file


def test_every_setting_that_is_no_secret_comes_back(tmp_path: Path) -> None:
    own = load({"AINFERA_DATA_DIR": str(tmp_path), "AINFERA_INTERNAL_KEY": "own-key"})
    file = write(
        tmp_path, AINFERA_PORT="8123", AINFERA_TOPUP="operator", AINFERA_CALL_TIMEOUT_S="7.5",
        AINFERA_SPEND_KILLSWITCH_USD="12.5", AINFERA_AUTO_MIGRATE="1", AINFERA_INTERNAL_KEY="its-key",
    )  # fmt: skip
    (gateway,) = running_gateways(tmp_path)
    file.remove()
    assert gateway.has_internal_key
    assert gateway.providers == {"local", "openai"}
    given = gateway.in_force(own)
    changed = {field.name for field in fields(Settings) if getattr(given, field.name) != getattr(own, field.name)}
    assert changed == {"port", "topup", "call_timeout_s", "killswitch_picousd", "auto_migrate", "database_url"}
    assert (given.port, given.call_timeout_s, given.killswitch_picousd) == (8123, 7.5, 12_500_000_000_000)
    assert given.database == own.database


def test_providers_and_models_of_a_configuration_file_come_back(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[providers.mine]\nbase_url = "http://127.0.0.1:9/v1"\nquirks = ["known_fields_only"]\n'
        '[models."mine/small"]\nprovider = "mine"\ninput_usd_per_mtok = "1"\noutput_usd_per_mtok = "2"\n'
        '[aliases]\nquick = "mine/small"\n'
    )
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    file = write(data_dir, AINFERA_CONFIG=str(config))
    (gateway,) = running_gateways(data_dir)
    file.remove()
    given = gateway.in_force(load({"AINFERA_DATA_DIR": str(data_dir)}))
    assert given.overlay == load({"AINFERA_CONFIG": str(config)}).overlay
    catalog = with_overlay(seed_catalog(), given.overlay)
    reach = reach_of(catalog, frozenset({"mine", "mistral"}), {"mine/small"})
    assert reach.models == ("mine/small", "mistral-large-3"), "own models beside those that the router can choose"


def test_no_secret_is_written(tmp_path: Path) -> None:
    url = "postgresql://me:canary-password@db.example/x"
    file = write(
        tmp_path, AINFERA_DATABASE_URL=url, AINFERA_INTERNAL_KEY="canary-internal", AINFERA_DATA_KEY="canary-data"
    )
    (path,) = tmp_path.iterdir()
    text = path.read_text("utf-8")
    (gateway,) = running_gateways(tmp_path)
    file.remove()
    assert "db.example" in text
    assert "canary" not in text
    assert gateway.database_has_password
    assert gateway.in_force(load({"AINFERA_DATABASE_URL": url})).database == url


def test_several_are_told_apart_and_the_newest_comes_first(tmp_path: Path) -> None:
    older = write(tmp_path, 1, AINFERA_PORT="8001")
    newer = write(tmp_path, 2, AINFERA_PORT="8002", AINFERA_DATABASE_URL=f"sqlite:///{tmp_path}/demo.db")
    assert [gateway.url[-4:] for gateway in running_gateways(tmp_path)] == ["8002", "8001"]
    newer.remove()
    assert [gateway.url[-4:] for gateway in running_gateways(tmp_path)] == ["8001"]
    older.remove()
    older.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_left_is_passed_over_and_swept(tmp_path: Path) -> None:
    # Its process number is alive, ours: only the lock tells.
    left = tmp_path / "serving-left.json"
    alive = write(tmp_path)
    (path,) = tmp_path.glob("serving-*.json")
    left.write_text(path.read_text("utf-8"), "utf-8")
    alive.remove()
    assert running_gateways(tmp_path) == []
    again = write(tmp_path)
    assert not left.exists()
    assert len(running_gateways(tmp_path)) == 1
    again.remove()


@pytest.mark.parametrize(
    "change", [lambda _: "{", lambda _: "[]", lambda text: json.dumps(json.loads(text) | {"x": 1})]
)
def test_a_file_of_another_form_is_passed_over(change: Callable[[str], str], tmp_path: Path) -> None:
    file = write(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    assert running_gateways(tmp_path) == []
    file.remove()


def test_a_long_list_of_models_is_cut_where_a_person_reads_it() -> None:
    few = tuple(f"model-{number}" for number in range(MODELS_SHOWN_MAX))
    assert shown_models(few) == ", ".join(few)
    assert shown_models((*few, "one", "two")) == f"{', '.join(few)} and 2 more: GET /v1/models"
    assert shown_models(()) == ""


def test_the_command_is_named_as_it_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "my env" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "ainfera-gateway").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert options.own_command() == f"'{scripts}/ainfera-gateway'"
    monkeypatch.chdir(tmp_path)
    assert options.own_command() == "'my env/bin/ainfera-gateway'"
    monkeypatch.setenv("PATH", str(scripts))
    assert options.own_command() == "ainfera-gateway"
