"""The control plane as one ASGI app (FastAPI), and the OpenAPI document of the whole gateway.

Authentication is the door's, from its route table; here only tenancy is checked, and what depends on settings.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from ainfera_gateway.api import (
    control_routes_agents,
    control_routes_audit,
    control_routes_log,
    control_routes_money,
    control_routes_tenant,
    control_routes_verdicts,
    discovery,
)
from ainfera_gateway.api.asgi import App, CallerGoneError, Message, Receive, Scope, Send
from ainfera_gateway.api.context import context_of
from ainfera_gateway.api.control_body import invalid_fields, message
from ainfera_gateway.api.docs_page import docs_page
from ainfera_gateway.api.openapi_inference import inference_paths, inference_schemas
from ainfera_gateway.api.render import rendered, unexpected
from ainfera_gateway.api.routes import ROUTES, Auth
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.reads_audit import VerifiedHeads
from ainfera_gateway.control.signup import SignUpLimits
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.version import __version__

TITLE = "Ainfera API"
DESCRIPTION = (
    "ainfera-inference is the model to ask for: the gateway picks a provider's model for each call, pays for it from "
    "the agent's wallet, and leaves a proof that anyone can verify."
)

_log = logging.getLogger("ainfera.control")


def build(control: Control) -> FastAPI:
    """The app behind the door's handler ``control``."""
    app = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.control = control
    app.state.heads = VerifiedHeads()
    app.state.signup_limits = SignUpLimits(control.clock)
    rooms = (
        control_routes_agents,
        control_routes_tenant,
        control_routes_money,
        control_routes_audit,
        control_routes_log,
        control_routes_verdicts,
        discovery,
    )
    for room in rooms:
        app.include_router(room.router)
    _add_errors(app)
    app.add_middleware(_Surprises)
    _add_documents(app)
    return app


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: the hot routes first, then the control plane."""
    document = get_openapi(title=TITLE, version=__version__, description=DESCRIPTION, routes=app.routes)
    # The hot routes are served elsewhere; they come first, since they are what callers come for.
    document["paths"] = {**inference_paths(), **document["paths"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            # What a wrong request is answered with is ours, not the framework's shape.
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _ERROR_RESPONSE
            operation["security"] = _security(path, method)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Error": _ERROR_SCHEMA, **inference_schemas()}
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "internal": {"type": "apiKey", "in": "header", "name": "X-Ainfera-Internal-Key"},
    }
    return document


def _security(path: str, method: str) -> list[dict[str, list[str]]]:
    """Who may pass, from the one table that says so."""
    template = _PATH_CONVERTER.sub("{slug:path}", path) if path.startswith("/v1/models/") else path
    for route in ROUTES:
        if route.template == template and method.upper() in route.methods:
            return _SECURITY[route.auth]
    return []


_PATH_CONVERTER = re.compile(r"\{slug\}")
_BEARER: dict[str, list[str]] = {"bearer": []}
_INTERNAL: dict[str, list[str]] = {"internal": []}
_SECURITY: dict[Auth, list[dict[str, list[str]]]] = {
    Auth.PUBLIC: [],
    Auth.OPTIONAL: [{}, _BEARER],
    Auth.SIGNUP: [{}, _INTERNAL],
    Auth.BEARER: [_BEARER],
    Auth.OWNER: [_BEARER],
    Auth.OWNER_OR_INTERNAL: [_BEARER, _INTERNAL],
    Auth.INTERNAL: [_INTERNAL],
}

_ERROR_RESPONSE = {
    "description": "An error in the native envelope; inference routes speak their dialect's own",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["code", "error", "message", "detail", "request_id"],
    "properties": {
        "code": {"type": "string"},
        "error": {"type": "string"},
        "message": {"type": "string"},
        "detail": {"type": "object"},
        "request_id": {"type": "string", "description": "The trace id, 32 hex characters"},
    },
}


def _add_documents(app: FastAPI) -> None:
    document = openapi_document(app)
    page = docs_page(document)

    def openapi() -> dict[str, Any]:
        return document

    async def docs() -> Response:
        return Response(page, media_type="text/html; charset=utf-8")

    app.add_api_route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)


def _add_errors(app: FastAPI) -> None:
    def gateway_error(request: Request, error: Exception) -> Response:
        return _refusal(request, error) if isinstance(error, GatewayError) else _unexpected(request, error)

    def wrong_parameter(request: Request, error: Exception) -> Response:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        # The place without its first word (query, path); the value itself is never shown.
        fields = [(".".join(map(str, problem["loc"][1:])) or "query", message(problem)) for problem in problems]
        return _refusal(request, invalid_fields(fields or [("query", "is not valid")]))

    def framework_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return _refusal(request, not_found())
        if status == 405:
            return _refusal(request, GatewayError(405, "method_not_allowed", "This path has no such method."))
        return _unexpected(request, error)

    app.add_exception_handler(GatewayError, gateway_error)
    app.add_exception_handler(RequestValidationError, wrong_parameter)
    app.add_exception_handler(HTTPException, framework_error)


class _Surprises:
    """Answers what no handler expected with JSON. The framework's own last resort is plain text and raises again."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except CallerGoneError:
            raise
        except Exception as exc:
            if started or scope["type"] != "http":
                raise
            await _unexpected(Request(scope), exc)(scope, receive, send)


def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request failed", exc_info=error, extra={"event": "request_failed"})
    return _refusal(request, unexpected(error))


def _refusal(request: Request, error: GatewayError) -> Response:
    context = context_of(request.scope)
    body = rendered(error, "native", context.trace_id)
    return Response(body, error.status, error.headers, "application/json")
