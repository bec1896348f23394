"""Golden cases of the Anthropic codec: what it reads and writes, byte for byte."""

from __future__ import annotations

import pytest

from tests.wire.anthropic_cases import FOLDER, cases, load, outcome

FAMILIES = sorted(path.name for path in FOLDER.iterdir())
ALL = [(family, name) for family in FAMILIES for name in cases(family)]


def test_there_are_as_many_cases_as_promised() -> None:
    assert len(ALL) >= 40
    assert {"request", "conversation", "build", "stream_read", "stream_relayed", "stream_written"} <= set(FAMILIES)


@pytest.mark.parametrize(("family", "name"), ALL, ids=[f"{family}-{name}" for family, name in ALL])
def test_a_case(family: str, name: str) -> None:
    sections = load(family, name)
    made = outcome(family, sections)
    assert made
    for section, expected in made.items():
        assert sections[section].decode("utf-8", "replace") == expected.decode("utf-8", "replace")
        assert sections[section] == expected
