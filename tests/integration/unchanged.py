"""A refusal as its caller sees it, and the proof that it changed nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx

from tests.gateway_process import GatewayProcess
from tests.integration.books import Books
from tests.integration.calls import OPENAI
from tests.simulator.process import Simulator

TYPES = {401: "authentication_error", 402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}


@contextlib.contextmanager
def unchanged(gateway: GatewayProcess, simulator: Simulator) -> Iterator[None]:
    """No table has gained or lost a row, no wallet has moved, and nothing has reached the provider."""
    books = Books(gateway.database)
    wallets = "SELECT * FROM wallets ORDER BY agent_id"
    before = (books.counts(), books.rows(wallets), simulator.count())
    yield
    assert (books.counts(), books.rows(wallets), simulator.count()) == before


def check_native(response: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    """The native envelope: the code three times, a message, the trace, and the field that is at fault."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert {"code", "error", "message", "detail", "request_id"} <= set(document)
    assert (document["code"], document["error"], document["detail"]["code"]) == (code, code, code)
    assert document["request_id"] == response.headers["x-ainfera-trace-id"]
    assert document["message"]
    if field is not None:
        assert document["detail"]["fields"][0]["field"] == field, document


def check_openai(response: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    """The error object of the OpenAI dialect, nothing beside it, and the trace in the header."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert error["code"] == code
    assert error["type"] == TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]
    assert len(response.headers["x-ainfera-trace-id"]) == 32
    assert error["param"] == field, error


def check_refusal(response: httpx.Response, path: str, status: int, code: str, field: str | None = None) -> None:
    """A refusal in the shape that its path speaks."""
    (check_openai if path.endswith(OPENAI) else check_native)(response, status, code, field)
