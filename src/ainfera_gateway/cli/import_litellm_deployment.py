"""One entry of LiteLLM's ``model_list``, read: where the model is, what it is called there, what it costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ainfera_gateway.catalog.model import Catalog
from ainfera_gateway.catalog.price import usd_per_million
from ainfera_gateway.cli.import_litellm_facts import (
    CAPABILITIES,
    FAMILIES,
    INFO,
    LIMITS,
    MODES,
    NO_COUNTERPART,
    OLLAMA_BASE,
    PARAMS,
    PLACEHOLDERS,
    PRICES,
    SERVERS,
)
from ainfera_gateway.cli.import_report import Report, one_line
from ainfera_gateway.money import AmountError, parse_usd
from ainfera_gateway.routing.aliases import pinned_name

_FROM_ENVIRONMENT: Final = "os.environ/"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UPSTREAM: Final = re.compile(r"[!-~]{1,200}")
_KINDS: Final = {ours: theirs for theirs, ours in FAMILIES.items()}
_MAX_TOKENS: Final = "max_tokens"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is reached. ``family`` is a provider of ours, empty for a server of one's own.

    ``base`` is an address, ``base_env`` the variable that holds one; both None for the provider's own. ``key_env`` is
    the variable of the key where one was named; ``keyless`` says that none is wanted.
    """

    kind: str
    family: str
    base: str | None = None
    base_env: str | None = None
    key_env: str | None = None
    keyless: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is the provider's own address."""
        return self.base is None and self.base_env is None


@dataclass(frozen=True, slots=True)
class Deployment:
    """An entry that has a counterpart. ``prices`` are USD a million tokens by member; empty when none were said.

    ``literal_key`` says that the key itself stands in the file; it goes no further than this.
    """

    path: str
    name: str
    place: Place
    upstream: str
    prices: Mapping[str, str]
    members: Mapping[str, Any]
    base_model: str | None
    literal_key: bool


class EntryError(ValueError):
    """The entry has no counterpart; the message says why."""


def read_deployment(entry: object, path: str, catalog: Catalog, report: Report) -> Deployment | None:
    """The entry at ``path``, or None when it is left out; ``report`` hears of all that is not carried."""
    try:
        return _read(entry, path, catalog, report)
    except EntryError as exc:
        report.leave(path, str(exc))
        return None


def _read(entry: object, path: str, catalog: Catalog, report: Report) -> Deployment:
    top = _mapping(entry, "an entry")
    name = _text(top.pop("model_name", None), "model_name")
    params = _mapping(top.pop("litellm_params", None), "litellm_params")
    info = _mapping(top.pop("model_info", None) or {}, "model_info")
    model = _text(params.pop("model", None), "litellm_params.model")
    if "*" in name or "*" in model:
        raise EntryError(
            "a wildcard needs no row: every model of GET /v1/models is called by its slug once the key is set"
        )
    mode = info.pop("mode", None) or "chat"
    if mode not in MODES:
        raise EntryError("its mode has no route here")
    kind, upstream = _kind(model, params.pop("custom_llm_provider", None), catalog)
    if not _UPSTREAM.fullmatch(upstream):
        raise EntryError("the model's name at its provider is not ASCII without spaces")
    literal_key = _is_literal(params.get("api_key"))
    place = _place(kind, params, path, report)
    members = _limits(params, info, path, report) | _capabilities(info, mode, path, report)
    prices = _prices(params, info, path, report)
    base_model = info.pop("base_model", None)
    report.leave_members(path, top, {}, NO_COUNTERPART)
    report.leave_members(f"{path}.litellm_params", params, PARAMS, NO_COUNTERPART)
    report.leave_members(f"{path}.model_info", info, INFO, NO_COUNTERPART)
    known_base = base_model if isinstance(base_model, str) and _UPSTREAM.fullmatch(base_model) else None
    return Deployment(path, name, place, upstream, prices, members, known_base, literal_key)


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EntryError(f"{what} is no mapping")
    return dict(value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise EntryError(f"{what} is no text")
    if not value.isprintable() or value != value.strip():
        raise EntryError(f"{what} is not printable text")
    return value


def _kind(model: str, custom: object, catalog: Catalog) -> tuple[str, str]:
    """Its name of the provider, and what the model is called there."""
    prefix, slash, rest = model.partition("/")
    if isinstance(custom, str):
        kind, upstream = custom, rest if slash and prefix == custom else model
    elif slash:
        kind, upstream = prefix, rest
    else:
        found = pinned_name(model, catalog.models, catalog.names)
        provider = "" if found is None else catalog.models[found.slug].provider
        if provider not in _KINDS:
            raise EntryError("it names no provider, and the catalog does not know the model")
        return _KINDS[provider], model
    if kind not in FAMILIES and kind not in SERVERS:
        raise EntryError(f"there is no provider {one_line(kind)} here")
    return kind, upstream


def _place(kind: str, params: dict[str, Any], path: str, report: Report) -> Place:
    base, base_env = _base(kind, params, path, report)
    key_env, keyless = _key(kind, params, path, report)
    family = FAMILIES.get(kind, "")
    moved = base is not None or base_env is not None
    if family == "gemini" and moved:
        raise EntryError("the address speaks Gemini's own dialect, and gemini is called in its OpenAI form here")
    if family == "openai" and moved:
        # What stands behind openai/ with an address of its own is a server that speaks the dialect, not OpenAI.
        return Place(kind, "", base, base_env, key_env, keyless)
    if not family and not moved:
        raise EntryError("api_base is missing: it would have come from the environment")
    return Place(kind, family, base, base_env, key_env, keyless and not family)


def _base(kind: str, params: dict[str, Any], path: str, report: Report) -> tuple[str | None, str | None]:
    found = params.pop("api_base", None)
    other = params.pop("base_url", None)
    if found is not None and other is not None:
        report.leave(f"{path}.litellm_params.base_url", "api_base says where it is")
    text = found if found is not None else other
    if text is None:
        return (f"{OLLAMA_BASE}/v1", None) if kind.startswith("ollama") else (None, None)
    if isinstance(text, str) and text.startswith(_FROM_ENVIRONMENT):
        return None, text.removeprefix(_FROM_ENVIRONMENT)
    base = _address(text)
    if kind.startswith("ollama"):
        return f"{base.removesuffix('/v1')}/v1", None
    if kind == "anthropic":
        return f"{base.removesuffix('/messages').removesuffix('/v1')}/v1", None
    if kind == "azure":
        return f"{base.removesuffix('/openai/v1').removesuffix('/openai')}/openai/v1", None
    return (None, None) if kind == "openai" and base == "https://api.openai.com/v1" else (base, None)


def _address(text: object) -> str:
    try:
        url = urlsplit(text if isinstance(text, str) else "")
        sound = url.scheme in ("http", "https") and bool(url.hostname) and str(text).isprintable()
        _ = url.port
    except ValueError:
        sound = False
    if not sound:
        raise EntryError("api_base is no http:// or https:// URL")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise EntryError("api_base holds a user, password or query, and an address must not")
    return url.geturl().rstrip("/")


def _key(kind: str, params: dict[str, Any], path: str, report: Report) -> tuple[str | None, bool]:
    """The variable of the key, None where none was named; and whether no key is wanted."""
    if "api_key" not in params:
        return None, kind in SERVERS
    value = params.pop("api_key")
    if isinstance(value, str) and value.startswith(_FROM_ENVIRONMENT):
        name = value.removeprefix(_FROM_ENVIRONMENT)
        if _VARIABLE.fullmatch(name) and not name.upper().startswith("AINFERA_"):
            return name, False
        report.leave(f"{path}.litellm_params.api_key", "its variable is not one that can be named in api_key_env")
        return None, False
    return None, not _is_literal(value)


def _is_literal(value: object) -> bool:
    text = "" if value is None else str(value)
    return text.lower() not in PLACEHOLDERS and not text.startswith(_FROM_ENVIRONMENT)


def _prices(params: dict[str, Any], info: dict[str, Any], path: str, report: Report) -> dict[str, str]:
    """USD a million tokens by our member, exact; empty unless both plain prices were said and can be billed."""
    found: dict[str, str] = {}
    for theirs, ours in PRICES.items():
        for where, members in (("litellm_params", params), ("model_info", info)):
            value = members.pop(theirs, None)
            if value is None:
                continue
            place = f"{path}.{where}.{theirs}"
            if ours in found:
                report.leave(place, "litellm_params says it too")
            elif (usd := _per_million(value)) is None:
                report.leave(place, "is no price of a whole number of pico-USD a token")
            else:
                found[ours] = usd
    if {"input_usd_per_mtok", "output_usd_per_mtok"} <= set(found):
        return found
    for theirs, ours in PRICES.items():
        if ours in found:
            report.leave(f"{path}.{theirs}", "a price needs both input_cost_per_token and output_cost_per_token")
    return {}


def _per_million(value: object) -> str | None:
    try:
        picousd = parse_usd(str(value))
    except AmountError:
        return None
    return usd_per_million(picousd) if picousd >= 0 else None


def _limits(params: dict[str, Any], info: dict[str, Any], path: str, report: Report) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if "max_output_tokens" not in info and _MAX_TOKENS in info:
        info["max_output_tokens"] = info.pop(_MAX_TOKENS)
    for theirs, ours in LIMITS.items():
        for where, found in (("model_info", info), ("litellm_params", params)):
            value = found.pop(theirs, None)
            if value is None:
                continue
            if ours in members or isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
                report.leave(f"{path}.{where}.{theirs}", "is said twice, or no number of tokens")
            else:
                members[ours] = value
    if members.get("max_output_tokens", 0) > members.get("context_window", 10**9):
        report.leave(f"{path}.model_info.max_output_tokens", "is more than max_input_tokens")
        del members["max_output_tokens"]
    return members


def _capabilities(info: dict[str, Any], mode: str, path: str, report: Report) -> dict[str, Any]:
    """Written only where tools are spoken of: a list that is not whole would refuse what the model can do."""
    if mode == "embedding":
        return {"capabilities": ["embeddings"]}
    said = {ours: info.pop(theirs) is True for theirs, ours in CAPABILITIES.items() if theirs in info}
    if not said:
        return {}
    if "tools" not in said:
        report.leave(f"{path}.model_info", "what it supports is carried only where supports_function_calling is said")
        return {}
    return {"capabilities": [ours for ours, has in said.items() if has]}
