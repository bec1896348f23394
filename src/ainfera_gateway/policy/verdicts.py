"""Verdicts on brands. A pass is an explicit row: what nobody judged is not routed to.

Rows are append-only and numbered from 1 within their brand; only a brand's newest row counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast

from msgspec import Struct

from ainfera_gateway.policy.conditions import Condition, ConditionError, check_condition, condition_text, evaluate

VerdictWord = Literal["PASS", "CONDITIONAL", "FAIL"]
VERDICT_WORDS: frozenset[str] = frozenset({"PASS", "CONDITIONAL", "FAIL"})
BRAND_CHARS_MAX = 64
DECIDED_BY_CHARS_MAX = 200
EVIDENCE_URL_CHARS_MAX = 2000


class VerdictError(ValueError):
    """A verdict that cannot be stored. ``field`` names the offending member."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class Verdict(Struct, frozen=True, kw_only=True):
    """One row of ``brand_verdicts``; ``decided_at_us`` is microseconds since the epoch.

    ``condition`` is the checked condition of a CONDITIONAL row. None there means that the stored text could not be
    read, and such a row allows nothing.
    """

    id: str
    brand: str
    verdict: VerdictWord
    condition: Condition | None
    decided_by: str
    decided_at_us: int
    evidence_url: str | None
    version: int


class Ruling(NamedTuple):
    """Whether a brand may serve a request, why, and the version of the row that said so (None without a row)."""

    allowed: bool
    reason: str
    version: int | None


class NewVerdict(Struct, frozen=True):
    """A checked verdict, ready to store: ``condition`` is its canonical text."""

    brand: str
    verdict: VerdictWord
    condition: str | None
    decided_by: str
    evidence_url: str | None


def check_new(body: Mapping[str, Any]) -> NewVerdict:
    """Check an operator's verdict: ``brand, verdict, condition?, decided_by, evidence_url?``.

    Raises ``VerdictError`` or, for its condition, ``ConditionError``; both name the place.
    """
    for name in body:
        if name not in {"brand", "verdict", "condition", "decided_by", "evidence_url"}:
            raise VerdictError(str(name), "not a member of a verdict")
    brand = _text(body, "brand", BRAND_CHARS_MAX)
    if brand is None or not all(c.isascii() and (c.islower() or c.isdigit() or c in "-_.") for c in brand):
        raise VerdictError("brand", "lower-case letters, digits and -_. only")
    word = body.get("verdict")
    if not isinstance(word, str) or word not in VERDICT_WORDS:
        raise VerdictError("verdict", "PASS, CONDITIONAL or FAIL")
    decided_by = _text(body, "decided_by", DECIDED_BY_CHARS_MAX)
    if decided_by is None:
        raise VerdictError("decided_by", "who decided is needed")
    raw = body.get("condition")
    if (raw is not None) != (word == "CONDITIONAL"):
        raise VerdictError("condition", "a CONDITIONAL verdict has one, the others have none")
    if raw is not None and not isinstance(raw, (str, Mapping)):
        raise VerdictError("condition", "an object")
    return NewVerdict(
        brand=brand,
        verdict=cast("VerdictWord", word),
        condition=None if raw is None else condition_text(check_condition(raw)),
        decided_by=decided_by,
        evidence_url=_text(body, "evidence_url", EVIDENCE_URL_CHARS_MAX),
    )


def _text(body: Mapping[str, Any], field: str, chars_max: int) -> str | None:
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= chars_max or not value.isprintable():
        raise VerdictError(field, f"text of 1 to {chars_max} printable characters")
    return value


def verdict_of_row(row: Mapping[str, Any]) -> Verdict:
    """A stored row as a value; a condition that cannot be read any more becomes None and so allows nothing."""
    condition: Condition | None = None
    if row["condition"] is not None:
        try:
            condition = check_condition(row["condition"])
        except ConditionError:
            condition = None
    return Verdict(
        id=row["id"],
        brand=row["brand"],
        verdict=row["verdict"],
        condition=condition,
        decided_by=row["decided_by"],
        decided_at_us=row["decided_at_us"],
        evidence_url=row["evidence_url"],
        version=row["version"],
    )


def newest(rows: Iterable[Verdict]) -> dict[str, Verdict]:
    """The row of the highest version for each brand, whatever the order of ``rows``."""
    latest: dict[str, Verdict] = {}
    for row in rows:
        held = latest.get(row.brand)
        if held is None or row.version > held.version:
            latest[row.brand] = row
    return latest


def allowed(brand: str, verdicts: Mapping[str, Verdict], context: Mapping[str, Any]) -> Ruling:
    """Whether a brand may be routed to; ``verdicts`` as ``newest`` gives them."""
    row = verdicts.get(brand)
    return Ruling(False, "no verdict", None) if row is None else _judge(row, context)


def pin_allowed(brand: str, verdicts: Mapping[str, Verdict], context: Mapping[str, Any]) -> Ruling:
    """Whether a model of the brand may be pinned: as ``allowed``, but a brand without any row may be."""
    row = verdicts.get(brand)
    return Ruling(True, "no verdict, pinned by name", None) if row is None else _judge(row, context)


def _judge(row: Verdict, context: Mapping[str, Any]) -> Ruling:
    if row.verdict == "PASS":
        return Ruling(True, "PASS", row.version)
    if row.verdict == "CONDITIONAL":
        if row.condition is None:
            return Ruling(False, "CONDITIONAL: its condition cannot be read", row.version)
        met, reason = evaluate(row.condition, context)
        return Ruling(met, f"CONDITIONAL: {reason}", row.version)
    return Ruling(False, "FAIL", row.version)


def rulings(
    brands: Iterable[str],
    verdicts: Mapping[str, Verdict],
    context: Mapping[str, Any],
    *,
    allowed_brands: Collection[str] | None = None,
    pinned: bool = False,
) -> dict[str, Ruling]:
    """A ruling for each brand, the form the decision takes.

    ``allowed_brands`` is the spend policy's list: it can only take a brand away. None means no such list.
    """
    judge = pin_allowed if pinned else allowed
    found: dict[str, Ruling] = {}
    for brand in brands:
        if brand in found:
            continue
        ruling = judge(brand, verdicts, context)
        if allowed_brands is not None and brand not in allowed_brands:
            ruling = Ruling(False, "not among the spend policy's allowed brands", ruling.version)
        found[brand] = ruling
    return found
