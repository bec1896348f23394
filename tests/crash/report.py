"""What the crash tests did, as a table: `python -m tests.crash.report FILE` puts it into `docs/reliability.md`.

Tests add lines to the file that ``CRASH_REPORT`` names; without it they keep nothing. A line is written when everything
that its test checks has held, so each line says: this often, and nothing was lost or doubled.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/reliability.md"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->\n"


def note(fault: str, engine: str, *, times: int, calls: int = 0, more: str = "") -> None:
    """``fault`` was met ``times`` times on ``engine`` while the provider saw ``calls`` requests."""
    path = os.environ.get("CRASH_REPORT")
    if path:
        line = {"fault": fault, "engine": engine, "times": times, "calls": calls, "more": more}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def table(lines: list[str]) -> str:
    """The newest line of each fault and engine as a row."""
    newest = {(one["fault"], one["engine"]): one for one in map(json.loads, lines)}
    rows = ["| Fault | Engine | Times | Provider calls | Lost | Doubled | |", "|---|---|---|---|---|---|---|"]
    for (fault, engine), one in sorted(newest.items()):
        calls = f"{one['calls']:,}" if one["calls"] else ""
        rows.append(f"| {fault} | {engine} | {one['times']:,} | {calls} | 0 | 0 | {one['more']} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    made = table(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    DOCUMENT.write_text(head + BEGIN + "\n" + made + "\n" + END + rest.partition(END)[2], encoding="utf-8")
