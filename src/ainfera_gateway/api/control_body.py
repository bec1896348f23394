"""Bodies of the control plane: read strictly, numbers exactly, every fault named by its field, values never echoed."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from ainfera_gateway.api.asgi import read_body
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.wire.json_limits import check_depth, check_text, find_not_finite

BODY_BYTES_MAX = 256 * 1024
"""The largest body that a control-plane route reads; inference bodies have their own limit."""

DEPTH_MAX = 16
_FIELDS_NAMED_MAX = 20
_INTEGER_CHARS_MAX = 40
_FIELD_CHARS_MAX = 120
_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]+")

ModelT = TypeVar("ModelT", bound=BaseModel)


def invalid_fields(fields: list[tuple[str, str]]) -> GatewayError:
    """422 ``validation_error``: ``detail.fields`` lists ``{field, message}``; the message names the first."""
    shown = [{"field": _safe(field), "message": message} for field, message in fields[:_FIELDS_NAMED_MAX]]
    first = shown[0]
    return GatewayError(422, "validation_error", f"{first['field']}: {first['message']}", detail={"fields": shown})


def body_of(model: type[ModelT]) -> Callable[[Request], Awaitable[ModelT]]:
    """A dependency that reads and checks the body of a request as ``model``. Raises 413 and 422."""

    async def read(request: Request) -> ModelT:
        return parse_body(await read_body(request.receive, BODY_BYTES_MAX), model)

    return read


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """What a route says of its body in the OpenAPI document: the schema of the type that parses it."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def parse_body(raw: bytes, model: type[ModelT]) -> ModelT:
    """The checked body. Raises 422 ``validation_error``."""
    document = _parse(raw)
    if not isinstance(document, dict):
        raise invalid_fields([("body", "must be a JSON object")])
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_context=False, include_input=False)
        raise invalid_fields([(_path(error["loc"]), message(error)) for error in errors]) from None


def _parse(raw: bytes) -> Any:
    if not raw.strip():
        raise invalid_fields([("body", "a JSON object is required")])
    try:
        check_depth(raw, DEPTH_MAX)
        check_text(raw)
        return json.loads(
            raw.decode("utf-8"),
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except _NotFiniteError:
        field = find_not_finite(raw.decode("utf-8")) or "body"
        raise invalid_fields([(field, "NaN and Infinity are no JSON numbers")]) from None
    except ParseError as exc:
        raise invalid_fields([(exc.field or "body", exc.message)]) from exc
    except _NamedError as exc:
        raise invalid_fields([(exc.field, exc.message)]) from exc
    except (ValueError, RecursionError) as exc:
        raise invalid_fields([("body", "is not valid JSON")]) from exc


class _NotFiniteError(Exception):
    """``NaN`` or ``Infinity`` stands where JSON has numbers."""


class _NamedError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise _NamedError(name, "stands twice in one object")
        made[name] = value
    return made


def _refuse_constant(_token: str) -> NoReturn:
    raise _NotFiniteError


def _integer(digits: str) -> int | Decimal:
    """Python refuses to read very long integers; as a decimal such a one is refused by the field it stands in."""
    return int(digits) if len(digits) <= _INTEGER_CHARS_MAX else Decimal(digits)


def _path(loc: tuple[int | str, ...]) -> str:
    made = ""
    for part in loc:
        made += f"[{part}]" if isinstance(part, int) else f".{part}" if made else part
    return made or "body"


def message(error: Mapping[str, Any]) -> str:
    """What is wrong, without the value: pydantic's text speaks of types and bounds only, a validator's own text
    follows its prefix."""
    if error["type"] == "extra_forbidden":
        return "is not known here"
    return str(error["msg"]).removeprefix("Value error, ")


def _safe(field: str) -> str:
    """A field's name as it may be shown: a member name that a caller invented is shown only when it is plain."""
    return field if len(field) <= _FIELD_CHARS_MAX and _NAME.fullmatch(field) else "body"
