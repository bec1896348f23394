"""What the generations of Claude models take, by the name of a model.

Up to 4.5 they think only within a budget of tokens and know no effort; 4.6 takes both forms; from 4.7 on they think
only adaptively and refuse temperature, top_p and top_k. A name that says no generation counts as a new one.
"""

from __future__ import annotations

import re

from msgspec import Struct

_NUMBERED = re.compile(r"claude-(?:opus|sonnet|haiku)-(\d+)(?:[-.](\d{1,2}))?(?!\d)")
_OLDER = re.compile(r"claude-(?:\d|instant|v\d)")


class Abilities(Struct, frozen=True):
    """``budget``: thinking within ``budget_tokens``. ``adaptive``: adaptive thinking and effort. ``sampling``: as named."""

    budget: bool
    adaptive: bool
    sampling: bool


def abilities(model: str) -> Abilities:
    """What ``model`` takes."""
    numbered = _NUMBERED.search(model)
    if numbered is None:
        older = _OLDER.search(model) is not None
        return Abilities(budget=older, adaptive=not older, sampling=older)
    version = (int(numbered[1]), int(numbered[2] or 0))
    return Abilities(budget=version <= (4, 6), adaptive=version >= (4, 6), sampling=version <= (4, 6))
