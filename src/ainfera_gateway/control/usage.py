"""What a tenant's calls used and cost, summed in the database.

The sums are over the rows that end calls, and each such row was written with the debit of its call: the cost of a
range equals the debits of the ledger in it. One statement gives the rows and the total, so both are of one moment.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, Row, Select, case, func, literal, null, select, true, union_all
from sqlalchemy.engine import Connection

from ainfera_gateway.clock import iso, utc_day
from ainfera_gateway.control.list_inferences import CallFilter, within
from ainfera_gateway.control.tags import opened_tags
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.tables import agents, routing_outcomes
from ainfera_gateway.storage.tenant_scope import tenant_reads

Group = Literal["agent", "model", "day", "tag"]
GROUPS: tuple[Group, ...] = ("agent", "model", "day", "tag")
ROWS_MAX = 10_000

_DAY_US = 86_400_000_000
_PART = 1_000_000
"""Money is summed in two parts: the sum of a large tenant in pico-USD may need more than 64 bits."""

_COLUMNS: Mapping[Group, tuple[str, ...]] = {
    "agent": ("agent_id", "agent_handle"),
    "model": ("model",),
    "day": ("day",),
    "tag": ("tag",),
}
_COUNTS = ("calls", "succeeded", "failed", "cancelled", "rejected")
_TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
_MONEY = {"cost_usd": "cost_picousd", "baseline_cost_usd": "baseline_picousd", "saved_usd": "saved_picousd"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer: ``rows`` carry the columns of ``group_by`` before the figures; ``total`` counts each call once."""

    group_by: tuple[Group, ...]
    since_us: int | None
    until_us: int | None
    rows: list[dict[str, Any]]
    total: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """``{group_by, since, until, rows, total}``."""
        return {
            "group_by": list(self.group_by),
            "since": None if self.since_us is None else iso(self.since_us),
            "until": None if self.until_us is None else iso(self.until_us),
            "rows": self.rows,
            "total": self.total,
        }

    def csv_text(self) -> str:
        """The rows with a header, as RFC 4180 has it; text that a spreadsheet would run begins with an apostrophe."""
        names = [*columns_of(self.group_by), *_COUNTS, *_TOKENS, *_MONEY]
        labels = set(columns_of(self.group_by))
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerow(names)
        for row in self.rows:
            writer.writerow([_cell(row[name]) if name in labels else row[name] for name in names])
        return out.getvalue()


def columns_of(group_by: Sequence[Group]) -> list[str]:
    """The columns that tell the rows apart, in the order that was asked for."""
    return [name for group in group_by for name in _COLUMNS[group]]


def usage(
    reader: Engine,
    tenant_id: str,
    *,
    group_by: tuple[Group, ...],
    agent_id: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
) -> Usage:
    """The figures of the calls that ended from ``since_us`` on and before ``until_us``.

    Without a group there is one row, the total. A call with several tags counts in the row of each, a call with none
    in the row whose tag is null. Raises 422 when there would be more than ``ROWS_MAX`` rows.
    """
    wanted = CallFilter(agent_id=agent_id, since_us=since_us, until_us=until_us)
    labels = columns_of(group_by)
    with tenant_reads(reader, tenant_id) as connection:
        total = _sums(_calls(connection, tenant_id, wanted, ()), [])
        statement: Any = total
        if labels:
            calls = _calls(connection, tenant_id, wanted, group_by)
            grouped = _sums(calls, labels).limit(ROWS_MAX + 1).subquery("grouped")
            statement = union_all(
                select(literal(0).label("is_total"), *grouped.c),
                select(literal(1), *(null() for _ in labels), *total.subquery("total").c),
            )
        found = connection.execute(statement).all()
    if len(found) > ROWS_MAX + 1:
        message = f"group_by: more than {ROWS_MAX} rows; ask for fewer groups or a shorter time"
        raise GatewayError(422, "validation_error", message, field="group_by")
    rows = [_row(row, labels) for row in found if labels and not row.is_total]
    (whole,) = [_row(row, []) for row in found if not labels or row.is_total]
    rows.sort(key=lambda row: [(row[name] is None, row[name] or "") for name in labels])
    return Usage(group_by, since_us, until_us, rows if labels else [whole], whole)


def _calls(connection: Connection, tenant_id: str, wanted: CallFilter, group_by: tuple[Group, ...]) -> Any:
    """One row a call (with ``tag``: one a tag of a call), its figures beside the columns that group it."""
    table = routing_outcomes.c
    source: Any = routing_outcomes
    labels: list[ColumnElement[Any]] = []
    for group in group_by:
        if group == "agent":
            source = source.join(agents, agents.c.id == table.agent_id)
            labels += [table.agent_id.label("agent_id"), agents.c.handle.label("agent_handle")]
        elif group == "model":
            labels.append(table.model.label("model"))
        elif group == "day":
            labels.append((table.created_us - table.created_us % _DAY_US).label("day"))
        else:
            tags = opened_tags(connection, table.tags)
            source = source.outerjoin(tags, true())
            labels.append(tags.c.value.label("tag"))
    figures = [table[name] for name in ("outcome_status", *_TOKENS, "cost_picousd", "baseline_picousd")]
    saved = (table.baseline_picousd - table.cost_picousd).label("saved_picousd")
    return select(*labels, *figures, saved).select_from(source).where(*within(tenant_id, wanted)).subquery("calls")


def _sums(calls: Any, labels: list[str]) -> Select[Any]:
    status = calls.c.outcome_status
    rejected = status.startswith("rejected_", autoescape=True)
    kinds = {
        "succeeded": status == "succeeded",
        "cancelled": status == "client_cancelled",
        "rejected": rejected,
    }
    columns = [calls.c[name] for name in labels]
    figures = [func.count().label("calls")]
    figures += [_sum(case((condition, 1), else_=0)).label(name) for name, condition in kinds.items()]
    figures += [_sum(calls.c[name]).label(name) for name in _TOKENS]
    for name in _MONEY.values():
        figures += [
            _sum(calls.c[name] // _PART).label(f"{name}_high"),
            _sum(calls.c[name] % _PART).label(f"{name}_low"),
        ]
    return select(*columns, *figures).group_by(*columns)


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


def _row(row: Row[Any], labels: list[str]) -> dict[str, Any]:
    # PostgreSQL sums 64-bit integers into decimals, which are whole.
    ended = {name: int(getattr(row, name)) for name in ("succeeded", "cancelled", "rejected")}
    counts = {**ended, "calls": int(row.calls), "failed": int(row.calls) - sum(ended.values())}
    money = {
        name: format_usd(int(getattr(row, f"{part}_high")) * _PART + int(getattr(row, f"{part}_low")))
        for name, part in _MONEY.items()
    }
    shown = {name: getattr(row, name) for name in labels}
    if "day" in shown:
        shown["day"] = utc_day(shown["day"])
    figures = {name: int(getattr(row, name)) for name in _TOKENS}
    return {**shown, **{name: counts[name] for name in _COUNTS}, **figures, **money}


def _cell(value: str | None) -> str:
    if value is None:
        return ""
    return f"'{value}" if value.startswith(_FORMULA) else value
