"""Spend policies: what one call, one day and one month of an agent may cost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, cast, get_args

from msgspec import Struct

from ainfera_gateway.canonical.request import Preset
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.money import AmountError, format_usd, parse_usd

CapReason = Literal["per_call_cap_exceeded", "daily_cap_exceeded", "monthly_cap_exceeded"]
DrainProofStatus = Literal["protected", "unprotected"]

PRESETS: Final[frozenset[str]] = frozenset(get_args(Preset))
ALLOWED_BRANDS_MAX = 64
BRAND_CHARS_MAX = 64

_BOUNDS_USD: Final[Mapping[str, tuple[str, str]]] = {
    "per_call_cap_usd": ("0.001", "100"),
    "daily_cap_usd": ("0.01", "10000"),
    # A month of the highest daily cap: more could never be reached.
    "monthly_cap_usd": ("0.01", "310000"),
}
_FIELDS: Final = frozenset({*_BOUNDS_USD, "allowed_brands", "preset"})


class SpendPolicy(Struct, frozen=True, kw_only=True):
    """Caps in pico-USD, None where there is no cap. ``allowed_brands`` None allows every brand the verdicts allow."""

    per_call_cap_picousd: int | None = None
    daily_cap_picousd: int | None = None
    monthly_cap_picousd: int | None = None
    allowed_brands: tuple[str, ...] | None = None
    preset: Preset | None = None


def parse_spend_policy(body: Mapping[str, Any], base: SpendPolicy | None = None) -> SpendPolicy:
    """The policy of a request body over ``base``: a member that is absent keeps its value, a null clears it.

    Raises ``GatewayError`` 422 ``validation_error`` that names the member.
    """
    for name in body:
        if name not in _FIELDS:
            raise _refused(str(name), "This is not a member of a spend policy.")
    held = base or SpendPolicy()
    brands = _brands(body["allowed_brands"]) if "allowed_brands" in body else held.allowed_brands
    return SpendPolicy(
        per_call_cap_picousd=_cap(body, "per_call_cap_usd", held.per_call_cap_picousd),
        daily_cap_picousd=_cap(body, "daily_cap_usd", held.daily_cap_picousd),
        monthly_cap_picousd=_cap(body, "monthly_cap_usd", held.monthly_cap_picousd),
        allowed_brands=brands,
        preset=_preset(body["preset"]) if "preset" in body else held.preset,
    )


def spend_policy_document(policy: SpendPolicy) -> dict[str, Any]:
    """The JSON form callers see; a cap that is not set is null."""
    brands = policy.allowed_brands
    return {
        "per_call_cap_usd": _shown(policy.per_call_cap_picousd),
        "daily_cap_usd": _shown(policy.daily_cap_picousd),
        "monthly_cap_usd": _shown(policy.monthly_cap_picousd),
        "allowed_brands": None if brands is None else list(brands),
        "preset": policy.preset,
    }


def drain_proof_status(policy: SpendPolicy) -> DrainProofStatus:
    """``protected`` when a per-call and a daily cap are set."""
    both = policy.per_call_cap_picousd is not None and policy.daily_cap_picousd is not None
    return "protected" if both else "unprotected"


def cap_violation(
    policy: SpendPolicy, projected_picousd: int, day_picousd: int, month_picousd: int
) -> CapReason | None:
    """The first cap that a call would break, None when it breaks none; a cap that is met exactly holds.

    ``day_picousd`` and ``month_picousd`` are what was spent in the UTC day and month and what is held open now.
    """
    if policy.per_call_cap_picousd is not None and projected_picousd > policy.per_call_cap_picousd:
        return "per_call_cap_exceeded"
    if policy.daily_cap_picousd is not None and day_picousd + projected_picousd > policy.daily_cap_picousd:
        return "daily_cap_exceeded"
    if policy.monthly_cap_picousd is not None and month_picousd + projected_picousd > policy.monthly_cap_picousd:
        return "monthly_cap_exceeded"
    return None


def _shown(cap_picousd: int | None) -> str | None:
    return None if cap_picousd is None else format_usd(cap_picousd)


def _cap(body: Mapping[str, Any], field: str, held: int | None) -> int | None:
    if field not in body:
        return held
    raw = body[field]
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float, Decimal)):
        raise _refused(field, "An amount is a decimal string or a number.")
    try:
        # A JSON number that some parser made a float is read by its shortest text, the one the caller wrote.
        amount = parse_usd(str(raw) if isinstance(raw, float) else raw)
    except AmountError as exc:
        raise _refused(field, f"This is not an amount: {exc}.") from exc
    lowest, highest = _BOUNDS_USD[field]
    if not parse_usd(lowest) <= amount <= parse_usd(highest):
        raise _refused(field, f"Between {lowest} and {highest} USD.")
    return amount


def _brands(raw: object) -> tuple[str, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, (list, tuple)) or len(raw) > ALLOWED_BRANDS_MAX:
        raise _refused("allowed_brands", f"A list of at most {ALLOWED_BRANDS_MAX} brands.")
    for index, brand in enumerate(raw):
        if not isinstance(brand, str) or not 0 < len(brand) <= BRAND_CHARS_MAX or not brand.isprintable():
            raise _refused(f"allowed_brands[{index}]", f"A brand is text of 1 to {BRAND_CHARS_MAX} characters.")
    return tuple(sorted(set(raw)))


def _preset(raw: object) -> Preset | None:
    if raw is None:
        return None
    if not isinstance(raw, str) or raw not in PRESETS:
        raise _refused("preset", f"One of {', '.join(sorted(PRESETS))}.")
    return cast("Preset", raw)


def _refused(field: str, message: str) -> GatewayError:
    return GatewayError(422, "validation_error", f"{field}: {message}", field=field)
