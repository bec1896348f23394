"""The figures as tables, for the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bench.estimate.measure import BANDS, Measured, mean_ratio, output_bias, quantile, share_below, template


def tables(measured: Sequence[Measured]) -> str:
    """Markdown: by tokenizer, by kind, by size."""
    names = list(measured[0].true)
    total = sum(one.size for one in measured)
    lines = [f"{len(measured):,} samples, {total / 1e6:.0f} MB.", "", *_by_tokenizer(measured, names), ""]
    lines += [*_by_kind(measured, names), "", *_by_size(measured, names)]
    return "\n".join(lines) + "\n"


def _by_tokenizer(measured: Sequence[Measured], names: list[str]) -> list[str]:
    lines = [
        "| Tokenizer | never below | of samples as they are | mean ratio | p50 | p99 | output |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        ratios = [one.ratio(name) for one in measured]
        plain = fmean(not one.below(name) for one in measured)
        lines.append(
            f"| `{name}` | {_percent(1 - share_below(measured, name))} | {_percent(plain)} | {mean_ratio(measured, [name]):.2f} "
            f"| {quantile(ratios, 0.5):.2f} | {quantile(ratios, 0.99):.2f} | {output_bias(measured, name):.2f} |"
        )
    below = 1 - fmean(share_below(measured, name) for name in names)
    plain = fmean(not one.below(name) for one in measured for name in names)
    lines.append(f"| all | {_percent(below)} | {_percent(plain)} | {mean_ratio(measured, names):.2f} | | | |")
    return lines


def _by_kind(measured: Sequence[Measured], names: list[str]) -> list[str]:
    head = "| Kind | share | below | mean ratio | p99 | " + " | ".join(f"`{name}`" for name in names) + " |"
    lines = [head, "|---|--:|--:|--:|--:|" + "--:|" * len(names)]
    for kind in dict.fromkeys(one.kind for one in measured):
        some = [one for one in measured if one.kind == kind]
        ratios = [one.ratio(name) for one in some for name in names]
        below = sum(any(one.below(name) for name in names) for one in some)
        each = " | ".join(f"{fmean(one.ratio(name) for one in some):.2f}" for name in names)
        lines.append(
            f"| {kind} | {some[0].share:g} | {below} of {len(some)} | {fmean(ratios):.2f} | {quantile(ratios, 0.99):.2f} | {each} |"
        )
    return lines


def _by_size(measured: Sequence[Measured], names: list[str]) -> list[str]:
    """Whole requests, allowances included: they weigh on short ones."""
    lines = ["| Text of a request | mean ratio of the whole request |", "|---|--:|"]
    for band, sizes in BANDS.items():
        some = [one for one in measured if one.size in sizes]
        parts = [(one.share, fmean(one.request / (one.true[name] + template(name)) for name in names)) for one in some]
        lines.append(f"| {band} | {sum(s * r for s, r in parts) / sum(s for s, _ in parts):.2f} |")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
