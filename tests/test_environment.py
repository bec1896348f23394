"""The environment: hashed requirements, nothing executable on the import path, few direct dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ["run.txt", "dev.txt"]


def requirements(text: str) -> dict[str, list[str]]:
    """Pinned requirement to its hashes."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        stripped = line.strip().rstrip("\\").strip()
        if stripped.startswith("--hash="):
            found[name].append(stripped)
        elif stripped and not stripped.startswith("#"):
            name = stripped
            found[name] = []
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    found = requirements((ROOT / "requirements" / lock).read_text())
    assert len(found) > 20
    for name, hashes in found.items():
        assert "==" in name and hashes, name
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text and "index-url" not in text


def test_run_and_dev_locks_agree() -> None:
    run, dev = (requirements((ROOT / "requirements" / lock).read_text()) for lock in LOCKS)
    assert {name: sorted(hashes) for name, hashes in run.items()} == {name: sorted(dev[name]) for name in run}


def test_a_flipped_hash_fails(tmp_path: Path) -> None:
    found = requirements((ROOT / "requirements" / "run.txt").read_text())
    name = next(name for name in found if name.startswith("annotated-types=="))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-cache-dir"]
    sound, flipped = tmp_path / "sound.txt", tmp_path / "flipped.txt"
    sound.write_text(" ".join([name, *found[name]]) + "\n")
    wrong = [h[:-1] + ("0" if h[-1] != "0" else "1") for h in found[name]]
    flipped.write_text(" ".join([name, *wrong]) + "\n")
    good = subprocess.run([*pip, "-d", str(tmp_path / "a"), "-r", str(sound)], capture_output=True, text=True)
    bad = subprocess.run([*pip, "-d", str(tmp_path / "b"), "-r", str(flipped)], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0
    assert "DO NOT MATCH THE HASHES" in bad.stderr


def test_no_executable_pth_in_the_environment() -> None:
    site = Path(sysconfig.get_paths()["purelib"])
    for file in site.glob("*.pth"):
        for line in file.read_text().splitlines():
            assert not re.match(r"import[ \t]", line), f"{file.name}: {line[:60]}"


def test_few_direct_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) < 20
