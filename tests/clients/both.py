"""One client at two ends: the strict simulator itself and the gateway before it. What differs between them is a defect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pydantic

from tests.gateway_process import FAMILY_PATHS, GatewayProcess
from tests.simulator.process import Seen, Simulator

# What names one answer or one server, and so differs between two of the same.
_NAMES: Final = frozenset(
    {"id", "model", "created", "created_at", "ainfera", "system_fingerprint", "tool_call_id", "tool_use_id"}
)


@dataclass(frozen=True)
class End:
    """Where a client is pointed: base URLs and the key. ``gateway`` is None at the simulator itself."""

    root: str
    key: str
    gateway: GatewayProcess | None = None

    @property
    def name(self) -> str:
        return "direct" if self.gateway is None else "gateway"

    @property
    def anthropic(self) -> str:
        """Base URL for an Anthropic client."""
        return f"{self.root}/anthropic"

    def openai(self, provider: str = "openai") -> str:
        """Base URL for an OpenAI client that means this provider; the gateway has one for all of them."""
        return f"{self.root}/openai/v1" if self.gateway else self.root + FAMILY_PATHS[provider.upper()]

    def model(self, slug: str, upstream: str | None = None) -> str:
        """The name of a model at this end."""
        return slug if self.gateway or upstream is None else upstream


def two_ends(gateway: GatewayProcess, simulator: Simulator, handle: str) -> tuple[End, End]:
    """The simulator and the gateway, the latter with an agent of wide caps and a full wallet."""
    agent = gateway.signup(handle, per_call_cap_usd="100", daily_cap_usd="10000")
    with gateway.client(agent["api_key"]) as client:
        body = {"agent_id": agent["agent_id"], "amount_usd": "500"}
        assert client.post("/v1/wallets/topup", json=body).status_code == 201
    return End(simulator.root_url, "sk-not-a-key-0123456789"), End(gateway.url, agent["api_key"], gateway)


def shown(value: Any) -> Any:
    """What a client shows of an answer, with the types' names and without what names the one answer.

    An empty ``usage`` counts as none: the gateway always asks OpenAI's kind of stream for its usage, and the provider
    then writes it into each chunk as null.
    """
    if isinstance(value, pydantic.BaseModel):
        members = {name: getattr(value, name) for name in value.model_fields_set}
        return {"type of": type(value).__name__, **shown(members | (value.model_extra or {}))}
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if name not in _NAMES}
        return {name: shown(inner) for name, inner in kept.items() if (name, inner) != ("usage", None)}
    if isinstance(value, list | tuple):
        return [shown(inner) for inner in value]
    return value


@dataclass
class Watch:
    """What reached the provider since the watch began. The log is read from where the last look ended."""

    simulator: Simulator

    def __post_init__(self) -> None:
        self._seen = self.simulator.count()

    def new(self) -> list[Seen]:
        """Requests since the last look, in their order; all of them have ended."""
        assert self.simulator.wait_idle()
        found = self.simulator.seen()[self._seen :]
        self._seen += len(found)
        return found

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the requests since the last look."""
        return [json.loads(seen.begin["body"]) for seen in self.new()]

    def only(self) -> Seen:
        """The one request since the last look."""
        (found,) = self.new()
        return found


def dropped(headers: Any) -> set[str]:
    """The fields that ``x-ainfera-dropped-fields`` names."""
    listed: str = headers.get("x-ainfera-dropped-fields", "")
    return {name.strip() for name in listed.split(",") if name.strip()}


def lines(data: bytes) -> Iterator[dict[str, Any]]:
    """The JSON of each ``data:`` line of an event stream, without ``[DONE]``."""
    for line in data.split(b"\n"):
        if line.startswith(b"data:") and line.strip() != b"data: [DONE]":
            yield json.loads(line[5:])
