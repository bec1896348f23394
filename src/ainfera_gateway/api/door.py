"""The door: outermost. Traces, counts, limits, matches and authenticates from headers, before body, database and work.

A missing or malformed credential touches neither pool nor SQL nor body; a well-formed unknown key costs at most one
indexed read, limited per address.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping

from ainfera_gateway.agents.caller import Caller
from ainfera_gateway.agents.keys import hash_key, well_formed
from ainfera_gateway.api.asgi import App, CallerGoneError, Message, Receive, Scope, Send, answer, header, too_large
from ainfera_gateway.api.context import RequestContext
from ainfera_gateway.api.render import rendered, unexpected
from ainfera_gateway.api.routes import Auth, Route, RouteTable
from ainfera_gateway.api.trace_context import trace_context
from ainfera_gateway.clock import Clock
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.inference.facts import Facts
from ainfera_gateway.limits import Buckets
from ainfera_gateway.metrics.series import Series
from ainfera_gateway.settings import BODY_BYTES_MAX, Settings

_UNKNOWN_KEYS_PER_MINUTE = 30
_WORKED_MAX = 100_000
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_log = logging.getLogger("ainfera.door")


class Door:
    """An ASGI app around all others. ``handlers`` are the apps behind the names of the route table."""

    def __init__(
        self,
        *,
        table: RouteTable,
        handlers: Mapping[str, App],
        facts: Facts,
        settings: Settings,
        series: Series,
        clock: Clock,
    ) -> None:
        self._table = table
        self._handlers = handlers
        self._facts = facts
        self._settings = settings
        self._series = series
        self._clock = clock
        self._unknown_keys = Buckets(clock, _UNKNOWN_KEYS_PER_MINUTE)
        self._worked: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started_s = self._clock.monotonic_s()
        trace = trace_context(header(scope, b"traceparent"), header(scope, b"x-ainfera-trace-id"))
        client = scope.get("client")
        context = RequestContext(trace.trace_id, trace.span_id, client[0] if client else "", "unmatched", "native")
        context.headers = {"x-ainfera-trace-id": trace.trace_id, "traceresponse": trace.traceresponse}
        scope["ainfera"] = context
        outgoing = _Outgoing(send, context)
        route: Route | None = None
        try:
            route = self._matched(scope, context)
            _check_body(scope)
            await self._authenticate(scope, context, route)
            await self._handlers[route.handler](scope, _bounded(receive), outgoing)
        except GatewayError as error:
            await self._refuse(outgoing, context, error)
        except CallerGoneError:
            outgoing.status = outgoing.status or 499
        except Exception as exc:  # noqa: BLE001 - the border of the house: logged, and answered without detail
            _log.exception("request failed", extra={"event": "request_failed", "trace_id": trace.trace_id})
            failed = unexpected(exc)
            await self._refuse(outgoing, context, failed)
        finally:
            template = route.template if route is not None else None
            duration_s = self._clock.monotonic_s() - started_s
            self._series.note_request(scope["method"], template, outgoing.status or 499, duration_s)

    def _matched(self, scope: Scope, context: RequestContext) -> Route:
        path: str = scope["path"]
        fitting = self._table.match(path)
        if not fitting:
            raise not_found()
        method: str = scope["method"]
        for route in fitting:
            if method in route.methods:
                context.route, context.dialect = route.template, route.dialect
                return route
        context.dialect = fitting[0].dialect
        allowed = ", ".join(sorted(set().union(*(route.methods for route in fitting))))
        raise GatewayError(405, "method_not_allowed", f"This path answers to {allowed}.", headers={"allow": allowed})

    async def _authenticate(self, scope: Scope, context: RequestContext, route: Route) -> None:
        auth = route.auth
        if auth is Auth.PUBLIC:
            return
        context.headers["cache-control"] = "no-store"
        context.internal = self._is_internal(scope)
        if auth is Auth.INTERNAL:
            if not context.internal:
                raise _not_the_operator(shown=_credential(scope) is not None)
            return
        if auth in (Auth.SIGNUP, Auth.OWNER_OR_INTERNAL) and (auth is Auth.SIGNUP or context.internal):
            return
        secret = _credential(scope)
        if auth is Auth.OPTIONAL:
            # A key that does not count shows no more than no key does.
            context.caller = await self._caller(secret, context.address) if secret and well_formed(secret) else None
            return
        if secret is None or not well_formed(secret):
            raise _unauthorized(shown=secret is not None)
        context.caller = await self._caller(secret, context.address)
        if context.caller is None:
            raise _unauthorized(shown=True)
        if auth in (Auth.OWNER, Auth.OWNER_OR_INTERNAL) and context.caller.scope != "owner":
            raise GatewayError(403, "forbidden", "This key's scope is inference; an owner's key may do this.")

    async def _caller(self, secret: str, address: str) -> Caller | None:
        key_hash = hash_key(secret)
        known, caller = self._facts.known_key(key_hash)
        if known:
            return caller
        # A key that has worked here before is looked up whatever others at its address do.
        if key_hash not in self._worked and (wait_s := self._unknown_keys.wait_s(address)) > 0:
            raise GatewayError(
                429, "rate_limited", "Too many unknown keys from this address.",
                headers={"retry-after": str(int(wait_s) + 1)},
            )  # fmt: skip
        caller = await self._facts.key(key_hash)
        if caller is None:
            self._unknown_keys.take(address)
            self._worked.discard(key_hash)
        elif len(self._worked) < _WORKED_MAX:
            self._worked.add(key_hash)
        return caller

    def _is_internal(self, scope: Scope) -> bool:
        expected = self._settings.internal_key
        shown = header(scope, b"x-ainfera-internal-key") or _bearer(scope)
        if not expected or shown is None:
            return False
        return hmac.compare_digest(shown.encode("latin-1"), expected.encode())

    @staticmethod
    async def _refuse(outgoing: _Outgoing, context: RequestContext, error: GatewayError) -> None:
        if outgoing.status is not None:
            # The head has left: all that can be told is that the answer is not whole.
            raise ConnectionResetError("the answer broke off")
        await answer(outgoing, error.status, rendered(error, context.dialect, context.trace_id), error.headers)


class _Outgoing:
    """Adds the context's headers to the head of the answer and remembers its status."""

    def __init__(self, send: Send, context: RequestContext) -> None:
        self._send = send
        self._context = context
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name for name, _ in message["headers"]}
            added = [
                (name.encode(), value.encode("latin-1"))
                for name, value in self._context.headers.items()
                if name.encode() not in names
            ]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)


def _bounded(receive: Receive) -> Receive:
    """A body without a declared length is cut off at the limit too."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES_MAX:
            raise too_large(BODY_BYTES_MAX)
        return message

    return bounded


def _check_body(scope: Scope) -> None:
    """Size and type of a body, from its headers."""
    if scope["method"] not in _WITH_BODY:
        return
    length = header(scope, b"content-length")
    if length is not None and (not length.isdigit() or int(length) > BODY_BYTES_MAX):
        raise too_large(BODY_BYTES_MAX)
    chunked = header(scope, b"transfer-encoding") is not None
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if (chunked or (length is not None and length != "0")) and kind != "application/json":
        raise GatewayError(415, "unsupported_media_type", "Send the body as application/json.")
    if header(scope, b"content-encoding") not in (None, "identity"):
        raise GatewayError(415, "unsupported_media_type", "Send the body without content encoding.")


def _bearer(scope: Scope) -> str | None:
    value = header(scope, b"authorization")
    if value is None or value[:7].lower() != "bearer ":
        return None
    return value[7:].strip() or None


def _credential(scope: Scope) -> str | None:
    """The key shown, in either header; a well-formed one wins over one that cannot be ours."""
    shown = [value for value in (_bearer(scope), header(scope, b"x-api-key")) if value]
    return next((value for value in shown if well_formed(value)), shown[0] if shown else None)


def _not_the_operator(*, shown: bool) -> GatewayError:
    return GatewayError(
        401, "invalid_api_key" if shown else "missing_api_key",
        "This route takes the operator's key (AINFERA_INTERNAL_KEY) and no agent's: "
        "X-Ainfera-Internal-Key: <key> or Authorization: Bearer <key>.",
        headers={} if shown else {"www-authenticate": "Bearer"},
    )  # fmt: skip


def _unauthorized(*, shown: bool) -> GatewayError:
    if shown:
        return GatewayError(
            401, "invalid_api_key", "This key is not valid here; check that it is whole and not revoked."
        )
    return GatewayError(
        401, "missing_api_key", "Show a key: Authorization: Bearer <key> or x-api-key: <key>.",
        headers={"www-authenticate": "Bearer"},
    )  # fmt: skip
