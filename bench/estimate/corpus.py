"""The corpus: kinds of text, their share of what agents send, and samples that are the same in every run.

Sizes are spread evenly over magnitudes from 20 bytes to 50 kB. ``stdlib`` and ``readme`` are read from the Python that
runs this and from what is installed beside it, and are kept nowhere: these two alone differ between machines.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from random import Random

from bench.estimate import samples
from bench.estimate.samples import Maker, script

BYTES_MIN, BYTES_MAX = 20, 50_000
_SEED = 20_260_401
_STDLIB = ("argparse", "ast", "asyncio/streams", "csv", "dataclasses", "decimal", "email/message", "functools", "heapq",
           "http/client", "inspect", "json/decoder", "logging/__init__", "pathlib", "pydoc_data/topics", "random",
           "socketserver", "statistics", "subprocess", "textwrap", "this", "turtle", "typing", "unittest/mock", "uuid")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """``kind`` and ``text``; ``share`` is the weight of its kind in a mean over everything."""

    kind: str
    text: str
    share: float


def stdlib(rng: Random, size: int) -> str:
    """A piece of a module of the standard library: code and words that people wrote."""
    text = _module(rng.choice(_STDLIB))
    start = rng.randrange(max(1, len(text) - size))
    return text[start : start + size]


def readme(rng: Random, size: int) -> str:
    """A piece of what an installed package says of itself."""
    text = _descriptions()
    start = rng.randrange(max(1, len(text) - size))
    return text[start : start + size]


KINDS: dict[str, tuple[Maker, float]] = {
    "prose": (samples.prose, 14),
    "chat": (samples.chat, 12),
    "python": (samples.python, 6),
    "stdlib": (stdlib, 8),
    "readme": (readme, 6),
    "braces": (samples.braces, 8),
    "sql": (samples.sql, 2),
    "markdown": (samples.markdown, 5),
    "tool_schemas": (samples.tool_schemas, 10),
    "json_minified": (samples.json_minified, 5),
    "json_pretty": (samples.json_pretty, 4),
    "json_escaped": (samples.json_escaped, 2),
    "log": (samples.log, 3),
    "table": (samples.table, 3),
    "latin": (samples.latin, 4),
    "mixed": (samples.mixed, 2),
    "urls": (samples.urls, 0.5),
    "uuids": (samples.uuids, 0.25),
    "base64": (samples.base64_text, 0.25),
    "hexadecimal": (samples.hexadecimal, 0.25),
    "digits": (samples.digits, 0.25),
    "camel": (samples.camel, 0.5),
    "long_words": (samples.long_words, 0.1),
    "repeated": (samples.repeated, 0.1),
    "blank": (samples.blank, 0.5),
    "marks": (samples.marks, 0.1),
    "emoji": (samples.emoji, 0.25),
    "maths": (samples.maths, 0.25),
    "noise": (samples.noise, 0.02),
    "chinese": (script("chinese"), 1.2),
    "japanese": (script("japanese"), 0.8),
    "korean": (script("korean"), 0.5),
    "russian": (script("russian"), 0.6),
    "arabic": (script("arabic"), 0.3),
    "hindi": (script("hindi"), 0.2),
    "thai": (script("thai"), 0.15),
    "greek": (script("greek"), 0.1),
    "hebrew": (script("hebrew"), 0.1),
    "other_script": (samples.other_script, 0.05),
}
"""The maker of each kind, and its share of the traffic in parts of about a hundred: an assumption, stated as one."""


def corpus(per_kind: int) -> Iterator[Sample]:
    """``per_kind`` samples of each kind."""
    for kind, (make, share) in KINDS.items():
        rng = Random(f"{_SEED} {kind}")
        for _ in range(per_kind):
            size = int(BYTES_MIN * (BYTES_MAX / BYTES_MIN) ** rng.random())
            text = make(rng, size).encode()[: max(size, BYTES_MIN)].decode(errors="ignore")
            yield Sample(kind, text, share)


@cache
def _descriptions() -> str:
    found = sorted(distributions(), key=lambda one: one.metadata["Name"].lower())
    return "\n".join(one.metadata["Description"] or "" for one in found)


@cache
def _module(name: str) -> str:
    return (Path(sysconfig.get_paths()["stdlib"]) / f"{name}.py").read_text("utf-8")
