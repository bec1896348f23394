"""``python -m bench`` runs every bench and prints its table; a name runs one, ``--list`` lists them."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

PREFIXES = ("spike_", "bench_")


def names() -> list[str]:
    """The benches: modules and packages of this folder by their prefix, each runnable with ``-m``."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in found if module.name.startswith(PREFIXES))


def main(argv: list[str]) -> int:
    """Run what ``argv`` names (all without a name), each in a process of its own; returns the first failure's code."""
    if argv == ["--list"]:
        print("\n".join(names()))
        return 0
    known = names()
    if argv and argv[0] not in known:
        print(f"no bench {argv[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name, options in [(argv[0], argv[1:])] if argv else [(name, []) for name in known]:
        print(f"== {name}", flush=True)
        if code := subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
