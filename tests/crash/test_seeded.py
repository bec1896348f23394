"""The crash tests are tested: a bug of the kind they are for, put into a copy of the sources, must make one of them fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests/crash/seeded"
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
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
LESS = {"CRASH_ROUNDS": "4", "CRASH_OUTAGES": "1", "CRASH_CUTS": "8", "CRASH_FAULTS": "4"}


def apply(patch: str, folder: Path) -> None:
    """Apply a unified diff whose context must fit exactly."""
    for part in re.split(r"^--- a/.*\n", patch, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        file = folder / name.removeprefix("+++ b/")
        old, new, at = file.read_text().splitlines(keepends=True), [], 0
        for line in body.splitlines(keepends=True):
            if hunk := HUNK.match(line):
                start = int(hunk[1]) - 1
                new += old[at:start]
                at = start
                continue
            if line[0] in " -":
                assert old[at] == line[1:], f"{name} has changed: {line}"
                at += 1
            if line[0] in " +":
                new.append(line[1:])
        file.write_text("".join(new + old[at:]))


def test_every_patch_has_its_test() -> None:
    assert {path.stem for path in PATCHES.iterdir()} == CAUGHT_BY.keys()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(CAUGHT_BY))
def test_a_seeded_bug_is_caught(name: str, tmp_path: Path) -> None:
    package = tmp_path / "src/ainfera_gateway"
    shutil.copytree(ROOT / "src/ainfera_gateway", package, ignore=shutil.ignore_patterns("__pycache__"))
    apply((PATCHES / f"{name}.patch").read_text(), package)
    environment = {**os.environ, **LESS, "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", *CAUGHT_BY[name].split()]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    # 1: tests ran and one failed. Anything else is no proof: no test found, an error of the command.
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    assert " failed" in done.stdout, done.stdout[-3000:]
