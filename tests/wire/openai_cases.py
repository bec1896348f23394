"""The golden cases of the OpenAI dialect: named, with named sections, as plain text that can be read.

A case begins with ``=== name``, a section with ``--- name``. A section ends before the line of the next one; the line
breaks at its end do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.passage import Closing, Terms

_FOLDER = Path(__file__).parent / "golden" / "openai"


@dataclass(frozen=True, slots=True)
class Case:
    """One case; ``sections`` by name."""

    name: str
    sections: dict[str, str]

    def data(self, section: str) -> bytes:
        """The bytes of a section."""
        return self.sections[section].encode()

    def stream(self, section: str) -> bytes:
        """The bytes of a section that is a stream of events, the last blank line included."""
        text = self.sections[section]
        return f"{text}\n\n".encode() if text else b""

    def terms(self) -> Terms:
        """The terms of the section ``terms``, words of the form ``name=value``."""
        words = dict(word.split("=", 1) for word in self.sections.get("terms", "").split())
        return Terms(
            wire="openai_chat",
            provider=words.get("provider", "openai"),
            slug="slug-1",
            upstream_model=words.get("model", "maker-model"),
            max_tokens=64,
            max_tokens_field=words.get("limit", "max_tokens"),
            knows_usage_option=words.get("usage", "yes") == "yes",
            drop_fields=frozenset(filter(None, words.get("drop", "").split(","))),
            quirks=frozenset(filter(None, words.get("quirks", "").split(","))),
            inference_id="0199f6b0-0000-7000-8000-000000000001",
            created_s=1763930000,
        )


def cases(name: str) -> list[Case]:
    """The cases of one file, in order."""
    found: list[Case] = []
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (_FOLDER / f"{name}.cases").read_text(encoding="utf-8").split("\n"):
        if line.startswith("=== "):
            sections = {}
            found.append(Case(line[4:], {}))
            lines = []
        elif line.startswith("--- "):
            lines = sections.setdefault(line[4:], [])
            found[-1].sections[line[4:]] = ""
        else:
            lines.append(line)
            if sections:
                last = list(sections)[-1]
                found[-1].sections[last] = "\n".join(sections[last]).strip("\n")
    return found


def closing(usage: Usage) -> Closing:
    """A settled call."""
    return Closing(
        agent_id="a-1",
        inference_id="i-1",
        receipt_id="r-1",
        audit_url="https://gateway.example/v1/audit/a-1/verify",
        provider="openai",
        model="slug-1",
        cost_usd="0.000665",
        usage=usage,
    )
