"""Further names of models: explicit snapshots, a maker's other spellings, and names with a date behind them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

_DATE: Final = re.compile(
    r"-20\d{2}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))"
)
_DATE_CHARS: Final = (9, 11)


class Named(Struct, frozen=True):
    """The model that a name means, and what it is called upstream (``upstream`` plus the date, for a dated name)."""

    slug: str
    upstream: str


class Names(Struct, frozen=True):
    """Names that are no slugs. ``exact`` are taken whole; behind those of ``dated`` a date may follow."""

    exact: Mapping[str, Named]
    dated: Mapping[str, Named]

    def find(self, name: str) -> Named | None:
        """The model that ``name`` means, None for an unknown one. ``-20251001`` and ``-2025-10-01`` are dates."""
        found = self.exact.get(name)
        if found is not None:
            return found
        for chars in _DATE_CHARS:
            date = name[-chars:]
            base = self.dated.get(name[:-chars])
            if base is not None and _DATE.fullmatch(date):
                return Named(base.slug, base.upstream + date)
        return None


NO_NAMES: Final = Names({}, {})
