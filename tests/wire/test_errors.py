from __future__ import annotations

import json

import pytest

from ainfera_gateway.wire.native_error import native_error_body
from ainfera_gateway.wire.openai_chat.errors import error_body
from ainfera_gateway.wire.openai_chat.provider_error import ProviderError, read_provider_error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "insufficient_quota"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (409, "invalid_request_error"),
        (413, "invalid_request_error"),
        (415, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
    ],
)
def test_types_by_status(status: int, kind: str) -> None:
    body = json.loads(error_body(status, "c", "m", "messages[0]", {"reason": "r", "code": "other", "type": "other"}))
    assert body == {"error": {"message": "m", "type": kind, "param": "messages[0]", "code": "c", "reason": "r"}}


def test_the_native_envelope() -> None:
    body = native_error_body(
        "model_unavailable",
        "no such model",
        request_id="t",
        details={"model": "x", "code": "other"},
        top={"model": "x", "provider": None, "message": "other"},
    )
    assert json.loads(body) == {
        "code": "model_unavailable",
        "error": "model_unavailable",
        "message": "no such model",
        "detail": {"code": "model_unavailable", "model": "x"},
        "request_id": "t",
        "model": "x",
        "provider": None,
    }


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}', "m", "c"),
        (b'{"error":{"message":"m","type":"t","code":null}}', "m", "t"),
        (b'[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]', "m", "INVALID_ARGUMENT"),
        (b'{"code":"c","error":"m"}', "m", "c"),
        (b'{"object":"error","message":"m","type":"t","code":1500}', "m", "t"),
        (b'{"error":{"code":503,"message":"m"}}', "m", "503"),
        (b'{"detail":"m"}', "m", None),
        (b'{"detail":[{"loc":["body","n"],"msg":"m"}]}', "m", None),
        (b'{"message":{"detail":[{"msg":"m"}]}}', "m", None),
        (
            b'{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}',
            "m",
            "overloaded_error",
        ),
        (
            b'{"message":"m","type":"invalid_request_error","param":"x","code":"wrong_api_format"}',
            "m",
            "wrong_api_format",
        ),
        (b'{"object":"Error","detail":[{"msg":"m"}],"message":[{"msg":"m"}],"type":"t","code":3001}', "m", "t"),
        (
            b'{"error":{"message":"out","code":400,"metadata":{"raw":"{\\"error\\":{\\"message\\":\\"m\\"}}"}}}',
            "m",
            "400",
        ),
        (b'{"error":{"message":"out","code":429,"metadata":{"raw":"m, try later"}}}', "m, try later", "429"),
        (b'{"error":{"message":"out","code":502,"metadata":{"raw":{"error":{"message":"m","code":"c"}}}}}', "m", "c"),
        (b'{"error":{"message":"m","code":502,"metadata":{"raw":"","provider_name":"p"}}}', "m", "502"),
        (b'{"error":{"message":"m","code":502,"metadata":{"raw":"{}"}}}', "m", "502"),
        (b'"m"', "m", None),
        (b"upstream connect error\n", "upstream connect error", None),
        (
            b"<html><head><style>p{}</style></head><body><h1>502</h1> Bad&amp;Gateway</body></html>",
            "502 Bad&Gateway",
            None,
        ),
        (b"", "the provider sent no explanation", None),
        (b" \n", "the provider sent no explanation", None),
        (b"<html></html>", "the provider sent no explanation", None),
    ],
)
def test_a_providers_error_in_any_form(body: bytes, message: str, code: str | None) -> None:
    assert read_provider_error(body) == ProviderError(message, code)


@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b'{"error":"\\ud800"}', b"[" * 100_000, b"<" * 100_000, b"null", b"[]", b"{}", b"7"]
)
def test_whatever_comes_gives_text_that_can_be_written_again(body: bytes) -> None:
    error = read_provider_error(body)
    assert error.message
    assert len(error.message) <= 500
    json.loads(error_body(502, error.code or "provider_error", error.message))


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456_-7890",
        "sk-abcd****************wxyz",
        "Bearer abc.def-ghi_jkl",
        "authorization: QWxhZGRpbjpvcGVu",
        "Incorrect API key provided: abcdefgh",
        "api_key=0123456789abcdef",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "AIzaSyA-1234567890_bcdefghijklmnopqrst",
        "sk-ant-api03-abcDEF123456_-7890",
        "Authorization: Bearer opaque.token",
        "authorization=Basic b3BhcXVl",
        "x-api-key: opaque-value",
        '{"api-key": "opaque-value"}',
        "gsk_ABCDEFGHIJ1234567890",
        "hf_abcdefghijklmnop",
        "xai-abcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4",
        "ainfera_abcdefghijklmnopqrstuvwxyz0123456789",
    ],
)
def test_secrets_do_not_pass(secret: str) -> None:
    value = secret.rsplit(maxsplit=1)[-1].rsplit("=", maxsplit=1)[-1].strip('"}')
    for body in (json.dumps({"error": {"message": f"bad ({secret}), sorry", "code": secret}}), f"<p>{secret}</p>"):
        error = read_provider_error(body.encode())
        assert value not in error.message
        assert value not in (error.code or "")
        assert "[removed]" in error.message


def test_words_that_only_look_like_secrets_stay_and_long_messages_are_cut() -> None:
    plain = (
        "token limit: 4096, risk-assessment of sk-learn; the model gpt-5 (request 0199f6b0-0000-7000-8000-000000000001)"
    )
    assert read_provider_error(json.dumps({"error": plain}).encode()).message == plain
    assert read_provider_error(b"x y " * 400).message == ("x y " * 400)[:499] + "…"
