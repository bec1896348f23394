"""The bodies that the control plane takes, as the types that parse them. Money becomes pico-USD."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ainfera_gateway.agents.cards import JWS_CHARS_MAX
from ainfera_gateway.agents.handles import handle_fault, owner_handle_fault
from ainfera_gateway.control.routing_policy import ALIASES_MAX, TARGET_CHARS_MAX
from ainfera_gateway.money import AmountError, parse_usd

METADATA_BYTES_MAX = 8 * 1024
_USD_DIGITS_MAX = 28

_exact = msgspec.json.Encoder(decimal_format="number")


def _usd(low: str, high: str) -> BeforeValidator:
    """An amount between two bounds, given as decimal text or as a JSON number, read exactly."""
    low_picousd, high_picousd = parse_usd(low), parse_usd(high)

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise ValueError(f"must be an amount in USD such as {low}")  # noqa: TRY004 - pydantic names the field
        if sum(char.isdigit() for char in str(value)) > _USD_DIGITS_MAX:
            raise ValueError("has too many digits")
        try:
            picousd = parse_usd(value)
        except AmountError as exc:
            raise ValueError(str(exc)) from None
        if not low_picousd <= picousd <= high_picousd:
            raise ValueError(f"must lie between {low} and {high}")
        return picousd

    return BeforeValidator(read, json_schema_input_type=str | float)


def without_fault(fault: Callable[[str], str | None]) -> Callable[[str], str]:
    """A validator of the rule ``fault``, which gives a reason or ``None``."""

    def check(value: str) -> str:
        reason = fault(value)
        if reason is not None:
            raise ValueError(reason)
        return value

    return check


def _printable(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be printable text")
    return value


def _small_object(value: dict[str, Any]) -> str:
    encoded = _exact.encode(value)
    if len(encoded) > METADATA_BYTES_MAX:
        raise ValueError(f"is larger than {METADATA_BYTES_MAX} bytes")
    return encoded.decode("utf-8")


PerCallCap = Annotated[int, _usd("0.001", "100")]
DailyCap = Annotated[int, _usd("0.01", "10000")]
MonthlyCap = Annotated[int, _usd("0.01", "300000")]
TopUpAmount = Annotated[int, _usd("0.01", "500")]
Threshold = Annotated[int, _usd("0.000001", "1000000")]

Handle = Annotated[
    str,
    AfterValidator(without_fault(handle_fault)),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9-]{3,40}$"}),
]
OwnerHandle = Annotated[
    str,
    AfterValidator(without_fault(owner_handle_fault)),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9-]{1,40}$"}),
]
AgentReference = Annotated[str, Field(min_length=3, max_length=40)]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
Brand = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Preset = Literal["balanced", "latency_first", "cost_first", "quality_first", "compliance_first", "strict_no_fallback"]


class _Body(BaseModel):
    # An unknown member is refused: a cap that was misspelled must not look as if it had been set.
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignUpBody(_Body):
    """``POST /v1/agents/signup``. ``metadata`` becomes JSON text."""

    agent_handle: Handle
    owner_handle: OwnerHandle | None = None
    owner_source: Literal["anonymous", "github_user"] | None = None
    owner_contact: Annotated[str, Field(min_length=1, max_length=254), AfterValidator(_printable)] | None = None
    per_call_cap_usd: PerCallCap | None = None
    daily_cap_usd: DailyCap | None = None
    wallet_address: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")] | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_small_object)] | None = None


class RegisterBody(_Body):
    """``POST /v1/agents/register``."""

    tenant_id: Annotated[str, Field(min_length=1, max_length=64)]
    name: Name


class KeyBody(_Body):
    """``POST /v1/keys``: bound to ``agent_id`` or, without it, to none."""

    scope: Literal["owner", "inference"] = "inference"
    agent_id: AgentReference | None = None
    name: Name | None = None


class CardBody(_Body):
    """``POST /v1/agents/cards/verify``."""

    jws: Annotated[str, Field(min_length=1, max_length=JWS_CHARS_MAX)]


class PolicyBody(_Body):
    """``PATCH`` changes what is given, ``POST`` replaces; ``null`` clears."""

    per_call_cap_usd: PerCallCap | None = None
    daily_cap_usd: DailyCap | None = None
    monthly_cap_usd: MonthlyCap | None = None
    allowed_brands: Annotated[list[Brand], Field(max_length=64)] | None = None
    preset: Preset | None = None

    def changes(self, *, replace: bool) -> dict[str, Any]:
        """The columns to set: those that were given, or all."""
        given = set(type(self).model_fields) if replace else self.model_fields_set
        columns: dict[str, Any] = {}
        for name in sorted(given):
            value = getattr(self, name)
            columns[name.removesuffix("_usd") + "_picousd" if name.endswith("_cap_usd") else name] = (
                tuple(value) if isinstance(value, list) else value
            )
        return columns


class TopUpBody(_Body):
    """``POST /v1/wallets/topup``."""

    agent_id: AgentReference
    amount_usd: TopUpAmount


class RoutingPolicyBody(_Body):
    """``PUT /v1/routing-policy``: the whole document; what is left out is empty."""

    model_aliases: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=TARGET_CHARS_MAX)]], Field(max_length=ALIASES_MAX)
    ] = Field(default_factory=dict)


class KillSwitchBody(_Body):
    """``PUT /admin/killswitch``: engaged by hand or released, a new threshold, or both."""

    engaged: Annotated[bool, Field(strict=True)] | None = None
    threshold_usd: Threshold | None = None


class VerdictBody(_Body):
    """``POST /admin/verdicts``. What the members may hold is checked by ``policy.verdicts``."""

    brand: str
    verdict: str
    decided_by: str
    condition: dict[str, Any] | None = None
    evidence_url: str | None = None


class ExplainBody(_Body):
    """``POST /admin/verdicts/explain``: a brand, and the ``routing_hint.context`` of a request."""

    brand: str
    context: dict[str, Any] = {}
