"""Starts the candidates, runs every probe and prints one table; about a minute."""

from __future__ import annotations

import asyncio

import uvloop

from bench.spike_server.load import load
from bench.spike_server.probes import Rows, bad_heads, disconnect, drain, memory, slow_head, streaming
from bench.spike_server.target import CANDIDATES, Target


async def probe_all() -> dict[str, Rows]:
    table: dict[str, Rows] = {name: {} for name in CANDIDATES}
    targets = [await Target(name).start() for name in CANDIDATES]
    try:
        for probe in (memory, streaming, disconnect, bad_heads):
            for target in targets:
                table[target.name] |= await probe(target)
        for target, rows in zip(targets, await asyncio.gather(*map(slow_head, targets)), strict=True):
            table[target.name] |= rows
        for name, rows in (await load(targets)).items():
            table[name] |= rows
    finally:
        await asyncio.gather(*(target.stop() for target in targets))
    for name, rows in zip(CANDIDATES, await asyncio.gather(*map(drain, CANDIDATES)), strict=True):
        table[name] |= rows
    return table


def main() -> None:
    table = uvloop.run(probe_all())
    lines = [["", *CANDIDATES]]
    lines += [[row, *(table[name].get(row, "") for name in CANDIDATES)] for row in table[CANDIDATES[0]]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
