"""The route table. Auth is a column of it, so a route cannot exist without one; public routes are an explicit list.

The door matches and authenticates from this table before any handler, body or database is touched. The control
plane's own routes are held against it by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Auth(StrEnum):
    """Who may pass. ``OPTIONAL`` routes are public, but a valid key shows more; ``SIGNUP`` depends on the settings."""

    PUBLIC = "public"
    OPTIONAL = "optional"
    SIGNUP = "signup"
    BEARER = "bearer"
    OWNER = "owner"
    OWNER_OR_INTERNAL = "owner_or_internal"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Route:
    """One path template with its methods, who may pass, where it goes and the dialect its errors speak."""

    methods: frozenset[str]
    template: str
    auth: Auth
    handler: str = "control"
    dialect: str = "native"


def _route(methods: str, template: str, auth: Auth, handler: str = "control", dialect: str = "native") -> Route:
    return Route(frozenset(methods.split()), template, auth, handler, dialect)


_PUBLIC_ROUTES = (
    _route("GET HEAD", "/", Auth.PUBLIC, "root"),
    _route("GET HEAD", "/health", Auth.PUBLIC, "health"),
    _route("GET HEAD", "/v1/health", Auth.PUBLIC, "health"),
    _route("GET HEAD", "/healthz", Auth.PUBLIC, "health"),
    _route("GET HEAD", "/readyz", Auth.PUBLIC, "readyz"),
    _route("GET", "/openapi.json", Auth.PUBLIC),
    _route("GET", "/docs", Auth.PUBLIC),
    _route("GET", "/.well-known/agent-card.json", Auth.PUBLIC),
    _route("GET", "/.well-known/ainfera-public-key.json", Auth.PUBLIC),
    _route("GET", "/.well-known/mcp.json", Auth.PUBLIC),
    _route("GET", "/llms.txt", Auth.PUBLIC),
    _route("GET", "/api/audit-ticker", Auth.PUBLIC),
    _route("GET", "/v1/models", Auth.PUBLIC),
    _route("GET", "/v1/models/{slug:path}", Auth.PUBLIC),
    _route("GET", "/openai/v1/models", Auth.PUBLIC),
    _route("GET", "/openai/v1/models/{slug:path}", Auth.PUBLIC),
    _route("GET", "/anthropic/v1/models", Auth.PUBLIC),
    _route("GET", "/anthropic/v1/models/{slug:path}", Auth.PUBLIC),
    _route("GET", "/v1/providers", Auth.PUBLIC),
    _route("GET", "/v1/audit/public", Auth.PUBLIC),
    _route("GET", "/v1/audit/height", Auth.PUBLIC),
    _route("GET", "/log/checkpoint", Auth.PUBLIC),
    _route("GET", "/log/tile/{level}/{tile:path}", Auth.PUBLIC),
    _route("POST", "/v1/agents/signup", Auth.SIGNUP),
)

_INFERENCE_ROUTES = (
    _route("POST", "/v1/inference", Auth.BEARER, "inference", "native"),
    _route("POST", "/v1/chat/completions", Auth.BEARER, "chat", "openai"),
    _route("POST", "/openai/v1/chat/completions", Auth.BEARER, "chat", "openai"),
    _route("POST", "/v1/messages", Auth.BEARER, "messages", "anthropic"),
    _route("POST", "/anthropic/v1/messages", Auth.BEARER, "messages", "anthropic"),
    _route("POST", "/v1/embeddings", Auth.BEARER, "embeddings", "openai"),
    _route("POST", "/openai/v1/embeddings", Auth.BEARER, "embeddings", "openai"),
    _route("POST", "/v1/messages/count_tokens", Auth.BEARER, "count_tokens", "anthropic"),
    _route("POST", "/anthropic/v1/messages/count_tokens", Auth.BEARER, "count_tokens", "anthropic"),
)

_CONTROL_ROUTES = (
    _route("GET", "/metrics", Auth.INTERNAL, "metrics"),
    _route("POST", "/v1/agents/register", Auth.OWNER),
    _route("GET", "/v1/agents", Auth.BEARER),
    _route("GET", "/v1/agents/{agent_id}", Auth.BEARER),
    _route("POST", "/v1/agents/{agent_id}/suspend", Auth.OWNER),
    _route("POST", "/v1/agents/{agent_id}/activate", Auth.OWNER),
    _route("GET POST", "/v1/agents/{agent_id}/card", Auth.BEARER),
    _route("POST", "/v1/agents/cards/verify", Auth.BEARER),
    _route("PATCH POST", "/v1/agents/{agent_id}/spend-policy", Auth.OWNER),
    _route("GET", "/v1/agents/{agent_id}/audit-chain", Auth.OPTIONAL),
    _route("GET", "/v1/agents/{agent_id}/audit-chain/{seq}", Auth.OPTIONAL),
    _route("POST", "/v1/keys", Auth.OWNER),
    _route("GET", "/v1/keys", Auth.OWNER),
    _route("DELETE", "/v1/keys/{key_id}", Auth.OWNER),
    _route("GET", "/v1/wallets/{agent_id}", Auth.BEARER),
    _route("POST", "/v1/wallets/topup", Auth.OWNER_OR_INTERNAL),
    _route("GET", "/v1/ledger/{agent_id}", Auth.BEARER),
    _route("GET", "/v1/inferences", Auth.BEARER),
    _route("GET", "/v1/inferences/{inference_id}", Auth.BEARER),
    _route("GET", "/v1/inferences/{inference_id}/decision", Auth.BEARER),
    _route("GET", "/v1/receipts/{receipt_id}", Auth.BEARER),
    _route("GET", "/v1/usage", Auth.BEARER),
    _route("GET", "/v1/routing-policy", Auth.BEARER),
    _route("PUT", "/v1/routing-policy", Auth.OWNER),
    _route("GET", "/v1/audit/{agent_id}", Auth.OPTIONAL),
    _route("GET", "/v1/audit/{agent_id}/verify", Auth.OPTIONAL),
    _route("GET", "/v1/audit/{agent_id}/annex-iv", Auth.OPTIONAL),
    _route("GET", "/v1/audit/{agent_id}/proof", Auth.OPTIONAL),
    _route("GET PUT", "/admin/killswitch", Auth.INTERNAL),
    _route("GET POST", "/admin/verdicts", Auth.INTERNAL),
    _route("POST", "/admin/verdicts/explain", Auth.INTERNAL),
)

ROUTES: tuple[Route, ...] = (*_PUBLIC_ROUTES, *_INFERENCE_ROUTES, *_CONTROL_ROUTES)


class RouteTable:
    """Finds the routes of a path: exact ones first, then templates in the order of the table."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._exact: dict[str, list[Route]] = {}
        self._templates: list[tuple[tuple[str, ...], bool, Route]] = []
        for route in routes:
            if "{" not in route.template:
                self._exact.setdefault(route.template, []).append(route)
                continue
            parts = tuple(route.template.split("/"))
            self._templates.append((parts, parts[-1].endswith(":path}"), route))

    def match(self, path: str) -> list[Route]:
        """Every route whose template fits ``path``, whatever its method; empty means 404."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        segments = path.split("/")
        return [route for parts, rest, route in self._templates if _fits(parts, rest, segments)]


def _fits(parts: tuple[str, ...], rest: bool, segments: list[str]) -> bool:
    if len(segments) < len(parts) or (len(segments) > len(parts) and not rest):
        return False
    return all(
        (bool(segment) if part.startswith("{") else part == segment)
        for part, segment in zip(parts, segments, strict=False)
    )
