"""What an import leaves out, and the TOML it writes. Every text of the foreign file is made safe for one line first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_SHOWN_CHARS_MAX = 120


@dataclass(slots=True)
class Report:
    """The parts that were left out, as (path, reason), in the order they were met."""

    left_out: list[tuple[str, str]] = field(default_factory=list)

    def leave(self, path: str, reason: str) -> None:
        """A value is never given: it may be a secret."""
        self.left_out.append((one_line(path), reason))

    def leave_members(self, path: str, members: Iterable[str], reasons: Mapping[str, str], otherwise: str) -> None:
        """Every one of ``members`` below ``path``, each with its own reason or the one for all others."""
        for member in members:
            self.leave(f"{path}.{member}" if path else member, reasons.get(member, otherwise))


def one_line(text: str) -> str:
    """Text that is safe in a comment or on a terminal."""
    kept = "".join(char if char.isprintable() else "?" for char in text)
    return kept if len(kept) <= _SHOWN_CHARS_MAX else kept[: _SHOWN_CHARS_MAX - 1] + "…"


def quoted(text: str) -> str:
    """A TOML basic string. The text is printable."""
    return json.dumps(text, ensure_ascii=False)


def table(name: str, members: Mapping[str, Any], comments: Iterable[str], *, commented: bool = False) -> str:
    """One table with its comments before it; ``commented`` makes the whole of it a comment, to be filled in."""
    lines = [f"[{name}]"]
    lines += [f"{member} = {_value(value)}" for member, value in members.items()]
    body = [f"# {line}" for line in lines] if commented else lines
    return "\n".join([*(f"# {one_line(comment)}" for comment in comments), *body])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(quoted(one) for one in value)}]"
    return quoted(str(value))
