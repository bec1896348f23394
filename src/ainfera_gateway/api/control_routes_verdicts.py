"""The operator's verdicts on brands."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from ainfera_gateway.api.control_body import body_of, documented, invalid_fields
from ainfera_gateway.api.control_common import HereDep, answer, require_internal
from ainfera_gateway.api.control_types import ExplainBody, VerdictBody
from ainfera_gateway.control.verdicts import add_verdict, explain_verdict, list_verdicts
from ainfera_gateway.policy.conditions import ConditionError
from ainfera_gateway.policy.verdicts import BRAND_CHARS_MAX, VerdictError, check_new

router = APIRouter()

VerdictDep = Annotated[VerdictBody, Depends(body_of(VerdictBody))]
ExplainDep = Annotated[ExplainBody, Depends(body_of(ExplainBody))]
BrandQuery = Annotated[str | None, Query(max_length=BRAND_CHARS_MAX)]


@router.get("/admin/verdicts", tags=["operator"])
def get_verdicts(here: HereDep, brand: BrandQuery = None) -> Response:
    """Verdicts, the newest first, all that were ever given; `in_force` marks the one that counts for its brand."""
    require_internal(here)
    return answer(list_verdicts(here.control, brand))


@router.post("/admin/verdicts", tags=["operator"], openapi_extra=documented(VerdictBody))
def post_verdict(here: HereDep, body: VerdictDep) -> Response:
    """Give a verdict on a brand: `PASS`, `FAIL`, or `CONDITIONAL` with a condition. It replaces the one before it for
    all calls within a second; the row before it stays."""
    require_internal(here)
    said: dict[str, Any] = body.model_dump(exclude_none=True)
    try:
        new = check_new(said)
    except VerdictError as exc:
        raise invalid_fields([(exc.field, str(exc).partition(": ")[2])]) from exc
    except ConditionError as exc:
        raise invalid_fields([(f"condition{exc.path.removeprefix('$')}", exc.problem)]) from exc
    return answer(add_verdict(here.control, new))


@router.post("/admin/verdicts/explain", tags=["operator"], openapi_extra=documented(ExplainBody))
def post_explain(here: HereDep, body: ExplainDep) -> Response:
    """What the verdict in force says of a request with that context, without any call."""
    require_internal(here)
    return answer(explain_verdict(here.control, body.brand, body.context))
