"""The query strings that the control plane takes, as the types that parse them.

An unknown parameter is refused: a filter that was misspelled must not look as if it had been applied.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ainfera_gateway.agents.handles import handle_fault
from ainfera_gateway.api.control_body import invalid_fields
from ainfera_gateway.api.control_types import without_fault
from ainfera_gateway.canonical.dialect import Dialect
from ainfera_gateway.control import list_inferences, register
from ainfera_gateway.control.list_inferences import CallFilter
from ainfera_gateway.control.usage import GROUPS, Group
from ainfera_gateway.ids import is_id
from ainfera_gateway.inference.lifecycle import Outcome

_MOMENT_CHARS_MAX = 40
_UNIX = re.compile(r"[0-9]{9,11}(\.[0-9]{1,6})?")
"""UNIX seconds since 1973: fewer digits are a date without hyphens, more are milliseconds."""
_PLUS_AS_SPACE = re.compile(r"(:[0-9.]+) ([0-9]{2}:?[0-9]{2})$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(value: object) -> int:
    """Microseconds since the epoch; a time without an offset is UTC."""
    text = value if isinstance(value, str) else ""
    if _UNIX.fullmatch(text):
        return int(Decimal(text) * 1_000_000)
    try:
        if len(text) > _MOMENT_CHARS_MAX:
            raise ValueError
        # A plus sign that was not escaped arrives as a space.
        moment = datetime.fromisoformat(_PLUS_AS_SPACE.sub(r"\1+\2", text))
    except ValueError:
        raise ValueError("must be an ISO 8601 time such as 2026-11-01T00:00:00Z, or UNIX seconds") from None
    since_epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds


def _groups(value: object) -> tuple[str, ...]:
    """``agent,day`` or the parameter several times."""
    parts = value if isinstance(value, list | tuple) else [value]
    names = [name.strip() for part in parts for name in str(part).split(",") if name.strip()]
    if not set(names) <= set(GROUPS) or len(set(names)) != len(names):
        raise ValueError(f"takes each of {', '.join(GROUPS)} at most once, with commas between them")
    return tuple(names)


def _id(value: str) -> str:
    if not is_id(value):
        raise ValueError("must be an id, as answers show it")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable text")
    return value


Moment = Annotated[int, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Since = Annotated[Moment | None, Field(description="Ended at this time or later; ISO 8601 or UNIX seconds")]
Until = Annotated[Moment | None, Field(description="Ended before this time; ISO 8601 or UNIX seconds")]
Id = Annotated[str, AfterValidator(_id), WithJsonSchema({"type": "string", "format": "uuid"})]
Word = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Agent = Annotated[Annotated[str, Field(max_length=64)] | None, Field(description="Only this agent's")]
HandleWanted = Annotated[str, AfterValidator(without_fault(handle_fault))]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def check(self, request: Request) -> None:
        """What a type cannot say of itself. Raises 422: a parameter that stands twice, a time that ends early."""
        for name in type(self).model_fields:
            if name != "group_by" and len(request.query_params.getlist(name)) > 1:
                raise invalid_fields([(name, "stands twice")])
        since, until = getattr(self, "since", None), getattr(self, "until", None)
        if since is not None and until is not None and until <= since:
            raise invalid_fields([("until", "must be after since")])


class AgentsQuery(_Query):
    """``GET /v1/agents``."""

    limit: Annotated[int, Field(ge=1, le=register.AGENTS_LISTED_MAX)] = 100
    after: Annotated[Id | None, Field(description="The last id of the page before")] = None
    status: Literal["active", "suspended"] | None = None
    handle: HandleWanted | None = None


class CallsQuery(_Query):
    """``GET /v1/inferences``."""

    limit: Annotated[int, Field(ge=1, le=list_inferences.PAGE_MAX)] = 50
    before: Annotated[Id | None, Field(description="Calls that ended before this one: next_before of a page")] = None
    after: Annotated[Id | None, Field(description="Calls that ended after this one: next_after of a page")] = None
    agent_id: Agent = None
    model: Annotated[Word | None, Field(description="The slug that served")] = None
    provider: Word | None = None
    outcome_status: Outcome | None = None
    dialect: Dialect | None = None
    tag: Word | None = None
    trace_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    streamed: bool | None = None
    since: Since = None
    until: Until = None

    def check(self, request: Request) -> None:
        super().check(request)
        if self.before is not None and self.after is not None:
            raise invalid_fields([("after", "give before or after, not both")])

    def wanted(self, agent_id: str | None) -> CallFilter:
        """The filter, with the agent that ``agent_id`` of the query meant."""
        return CallFilter(
            agent_id=agent_id,
            model=self.model,
            provider=self.provider,
            outcome_status=None if self.outcome_status is None else str(self.outcome_status),
            dialect=self.dialect,
            tag=self.tag,
            trace_id=self.trace_id,
            streamed=self.streamed,
            since_us=self.since,
            until_us=self.until,
        )


class UsageQuery(_Query):
    """``GET /v1/usage``."""

    group_by: Annotated[
        tuple[Group, ...],
        BeforeValidator(_groups),
        Field(description="Any of agent, model, day, tag, with commas between them"),
        WithJsonSchema({"type": "string"}),
    ] = ()
    format: Literal["json", "csv"] = "json"
    since: Since = None
    until: Until = None
    agent_id: Agent = None
