"""What a caller may say to the gateway beside the fields of its dialect; the same in every dialect."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from ainfera_gateway import money
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import Caps, ContextScalar, ContextValue, Preset, RoutingHint
from ainfera_gateway.wire.validation import decode

GATEWAY_FIELDS = frozenset({"agent_id", "routing_hint", "task_type", "caps"})
BUDGET_USD_MAX = 1_000_000
CONTEXT_FIELDS_MAX = 64
CONTEXT_LIST_MAX = 64
CONTEXT_TEXT_CHARS_MAX = 1024
TAGS_MAX = 32
_DAY_MS = 86_400_000

LatencyMs = Annotated[int, Meta(ge=1, le=_DAY_MS)]
Tag = Annotated[str, Meta(min_length=1, max_length=128)]
Tags = Annotated[list[Tag], Meta(max_length=TAGS_MAX)]


class HintFields(Struct, frozen=True, forbid_unknown_fields=True):
    """``routing_hint`` as sent. An unknown member is refused: a misspelt cap must not be ignored in silence."""

    min_quality: Decimal | None = None
    budget_cap_usd: Decimal | None = None
    latency_cap_ms: LatencyMs | None = None
    agentic_floor: Decimal | None = None
    preset: Preset | None = None
    routing_preference: Annotated[str, Meta(max_length=64)] | None = None
    context: Raw = Raw(b"null")


class CapFields(Struct, frozen=True, forbid_unknown_fields=True):
    """``caps`` as sent; ``budget`` in USD."""

    budget: Decimal | None = None
    latency_ms: LatencyMs | None = None


class MetadataFields(Struct, frozen=True):
    """The one member of ``metadata`` that is for the gateway."""

    tags: Tags | Tag | None = None


_context_decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def read_hint(fields: HintFields | None) -> RoutingHint:
    """The hint in the house's units; ``ParseError`` names the member that is out of bounds."""
    if fields is None:
        return RoutingHint()
    return RoutingHint(
        min_quality=_within(fields.min_quality, 1, "routing_hint.min_quality"),
        budget_cap_picousd=_budget(fields.budget_cap_usd, "routing_hint.budget_cap_usd"),
        latency_cap_ms=fields.latency_cap_ms,
        agentic_floor=_within(fields.agentic_floor, 100, "routing_hint.agentic_floor"),
        preset=fields.preset,
        routing_preference=fields.routing_preference,
        context=_context(bytes(fields.context)),
    )


def read_caps(fields: CapFields | None) -> Caps:
    """The caps in the house's units."""
    if fields is None:
        return Caps()
    return Caps(budget_picousd=_budget(fields.budget, "caps.budget"), latency_ms=fields.latency_ms)


def read_tags(fields: MetadataFields | None) -> tuple[str, ...]:
    """The tags in their order, each once; one bare string is one tag."""
    if fields is None or fields.tags is None:
        return ()
    tags = [fields.tags] if isinstance(fields.tags, str) else fields.tags
    return tuple(dict.fromkeys(tags))


def _within(value: Decimal | None, top: int, field: str) -> Decimal | None:
    if value is not None and not (value.is_finite() and 0 <= value <= top):
        raise ParseError(f"{field} must be a number from 0 to {top}", field)
    return value


def _budget(amount: Decimal | None, field: str) -> int | None:
    if amount is None:
        return None
    try:
        picousd = money.parse_usd(amount)
    except money.AmountError as exc:
        raise ParseError(f"{field}: {exc}", field) from None
    if not 0 <= picousd <= BUDGET_USD_MAX * money.PICO_PER_USD:
        raise ParseError(f"{field} must be an amount from 0 to {BUDGET_USD_MAX} USD", field)
    return picousd


def _context(sent: bytes) -> dict[str, ContextValue]:
    if sent == b"null":
        return {}
    path = "routing_hint.context"
    context = decode(_context_decoder, sent, path=path)
    if len(context) > CONTEXT_FIELDS_MAX:
        raise ParseError(f"{path} must have at most {CONTEXT_FIELDS_MAX} fields", path)
    return {name: _context_value(value, f"{path}.{name}") for name, value in context.items()}


def _context_value(value: Any, field: str) -> ContextValue:
    if isinstance(value, list):
        if len(value) > CONTEXT_LIST_MAX:
            raise ParseError(f"{field} must have at most {CONTEXT_LIST_MAX} items", field)
        return tuple(_context_scalar(item, f"{field}[{index}]") for index, item in enumerate(value))
    return _context_scalar(value, field)


def _context_scalar(value: Any, field: str) -> ContextScalar:
    if isinstance(value, str) and len(value) > CONTEXT_TEXT_CHARS_MAX:
        raise ParseError(f"{field} must be at most {CONTEXT_TEXT_CHARS_MAX} characters", field)
    if value is None or isinstance(value, str | int | Decimal):
        return value
    raise ParseError(f"{field} must be a scalar or a list of scalars", field)
