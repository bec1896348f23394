"""Measure the estimates and write the figures into docs/estimates.md."""

from __future__ import annotations

from pathlib import Path

from bench.estimate.corpus import corpus
from bench.estimate.measure import measure
from bench.estimate.report import tables
from bench.estimate.tokenizers import tokenizers

ROOT = Path(__file__).parent.parent.parent
PER_KIND = 150
_BEGIN, _END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def main() -> None:
    made = tables(measure(corpus(PER_KIND), tokenizers(ROOT / ".cache")))
    page = ROOT / "docs" / "estimates.md"
    before, _, rest = page.read_text("utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{made}\n{_END}{after}", "utf-8")
    print(made)


main()
