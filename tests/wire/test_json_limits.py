from __future__ import annotations

import pytest

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire import json_limits
from ainfera_gateway.wire.json_limits import check_depth, check_text


def nested(levels: int) -> bytes:
    return (
        b'{"a":' * (levels - levels // 2) + b"[" * (levels // 2) + b"]" * (levels // 2) + b"}" * (levels - levels // 2)
    )


@pytest.mark.parametrize("levels", [1, 2, 63, 64])
def test_depth_up_to_the_bound_passes(levels: int) -> None:
    check_depth(nested(levels))


@pytest.mark.parametrize("levels", [65, 66, 500, 100_000])
def test_depth_past_the_bound_is_refused(levels: int) -> None:
    with pytest.raises(ParseError, match="deeper than 64"):
        check_depth(nested(levels))


@pytest.mark.parametrize(
    "body",
    [
        b'["' + b"[" * 200 + b'"]',
        b'["\\"' + b"[" * 200 + b'"]',
        b'["\\\\\\"' + b"{" * 200 + b'", "' + b"{" * 200 + b'"]',
        b"[" + b"[]," * 300 + b"[]]",
        b'{"k\\"[": "\\\\", "' + b"[" * 100 + b'": 1}',
        b'["[""[""[", ' + b'"{",' * 100 + b"1]",
    ],
)
def test_brackets_in_strings_and_siblings_are_not_depth(body: bytes) -> None:
    check_depth(body)


def test_depth_hidden_behind_an_escaped_backslash_counts() -> None:
    with pytest.raises(ParseError, match="deeper than 64"):
        check_depth(b'["\\\\",' + b"[" * 64 + b"]" * 64 + b"]")


def test_a_flood_of_containers_is_refused() -> None:
    with pytest.raises(ParseError, match="objects and arrays"):
        check_depth(b"[" + b"[]," * json_limits.CONTAINERS_MAX + b"[]]")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (rb'{"a":{"b":["x","\ud800"]}}', "a.b[1]"),
        (rb'{"a":"\udc00\ud83d"}', "a"),
        (rb'{"a":"\ud83d\ud83d\ude00"}', "a"),
        (rb'{"a":"\ud83d\ude00\ude00"}', "a"),
        (rb'{"a":"\uD83Dx\uDE00"}', "a"),
        (rb'{"a":"\ud83d\\ude00"}', "a"),
        (rb'{"a":"\ud83d\\\ude00"}', "a"),
        (rb'{"m":[{"t":"\u0000"}]}', "m[0].t"),
        (b'{"m":[{"t":"a\x00b"}]}', "m[0].t"),
        (rb'{"o":{"k\u0000":1}}', "o"),
        (rb'{"k\ud800":1}', None),
        (b'\x00{"a":1}', None),
        (rb'{"a":"\ud800"', None),
        (b'{"a":["x","\xff"]}', "a[1]"),
        (b'{"a":"\xed\xa0\x80"}', "a"),
        (b'{"a":"\xc3', None),
        (b"\xef\xbb\xbf{}", None),
        ('{"a":1}'.encode("utf-16"), None),
    ],
)
def test_text_no_store_can_keep_is_refused_by_field(body: bytes, field: str | None) -> None:
    with pytest.raises(ParseError) as refused:
        check_text(body)
    assert refused.value.field == field
    if field:
        assert field in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a":"\ud83d\ude00 \uD83D\uDE00\ud83d\ude00"}',
        rb'{"a":"\\ud800 \\u0000 \\\\ud800"}',
        rb'{"a":"\u00e9\n\t\"\\"}',
        '{"a":"é 🚀 \u2028"}'.encode(),
        rb'{"a":"\u0001\ud7ff\ue000\uffff"}',
        rb'{"a":"u0000 ud800"}',
    ],
)
def test_readable_text_passes(body: bytes) -> None:
    check_text(body)


def test_a_body_too_large_to_walk_is_still_refused() -> None:
    with pytest.raises(ParseError, match="NUL"):
        check_text(b'{"a":[' + b"0," * 200_000 + rb'"\u0000"]}')
