"""The crash tests are tested: a bug of the kind they are for, put into a copy of the sources, must make one of them fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.test_kill import SEED

ROOT = Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests/crash/seeded"
HUNK = re.compile(r"^@@ .*\n", re.MULTILINE)
CAUGHT_BY = {
    "settlement-in-two-commits": "tests/crash/test_kill.py -k sqlite",
    "transfer-before-outcome": "tests/crash/test_failpoints.py -k sqlite",
    "settlement-dies-with-the-request": "tests/unit/test_run_cancel.py -k test_a_run_cancelled",
    "nothing-tells-a-second-settlement": "tests/storage/test_calls.py -k two_settle_at_once",
    "recovery-without-lease": "tests/storage/test_leases.py -k living_process_keeps",
    "spool-without-fsync": "tests/storage/test_late.py -k on_the_disk_before",
    "settlement-given-up": "tests/crash/test_outage.py -k stopped_at_once",
    "unheard-reservation-forgotten": "tests/crash/test_ambiguity.py",
}
# Enough for the slice to catch them, and no more.
LESS = {"CRASH_ROUNDS": "4", "CRASH_OUTAGES": "1", "CRASH_CUTS": "12", "CRASH_FAULTS": "4"}
TRIES = 4
"""Where the moment decides, one run of the slice may miss what the next one meets."""


def apply(patch: str, folder: Path) -> None:
    """Apply a unified diff. What a hunk replaces must stand in its file, and only once, wherever that is."""
    for part in re.split(r"^--- a/.*\n", patch, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        file = folder / name.removeprefix("+++ b/")
        text = file.read_text()
        for hunk in HUNK.split(body)[1:]:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            assert text.count(old) == 1, f"{name} has changed: {old}"
            text = text.replace(old, "".join(line[1:] for line in lines if line[0] in " +"))
        file.write_text(text)


def test_every_patch_has_its_test() -> None:
    assert {path.stem for path in PATCHES.iterdir()} == CAUGHT_BY.keys()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(CAUGHT_BY))
def test_a_seeded_bug_is_caught(name: str, tmp_path: Path) -> None:
    package = tmp_path / "src/ainfera_gateway"
    shutil.copytree(ROOT / "src/ainfera_gateway", package, ignore=shutil.ignore_patterns("__pycache__"))
    apply((PATCHES / f"{name}.patch").read_text(), package)
    inherited = {
        key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"
    }  # a server's of this session
    environment = {**inherited, **LESS, "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", *CAUGHT_BY[name].split()]
    for number in range(TRIES):
        seeded = {**environment, "CRASH_SEED": str(SEED + number)}
        done = subprocess.run(command, cwd=ROOT, env=seeded, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            break
    # 1: tests ran and one failed. Anything else is no proof: no test found, an error of the command.
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    assert " failed" in done.stdout, done.stdout[-3000:]
