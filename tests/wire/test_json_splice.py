from __future__ import annotations

import json

import pytest

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.json_splice import (
    MEMBERS_MAX,
    DuplicateMemberError,
    members,
    members_with_repeats,
    splice,
    with_usage_asked,
    without_tags,
)

BODY = b' {"a" : 1 ,\r\n\t"b\\u0063":[1, {"a":2} ]  , "c":"x\\"}," , "d":{} } '


def test_offsets_are_exact() -> None:
    found = members(BODY)
    assert [member.key for member in found] == ["a", "bc", "c", "d"]
    values = [BODY[member.value_start : member.value_end] for member in found]
    assert values == [b"1", b'[1, {"a":2} ]', b'"x\\"},"', b"{}"]
    assert BODY[found[1].key_start :].startswith(b'"b\\u0063":')
    assert members_with_repeats(BODY) == found


@pytest.mark.parametrize("empty", [b"{}", b" { \n} "])
def test_an_empty_object_has_no_members(empty: bytes) -> None:
    assert members(empty) == members_with_repeats(empty) == []
    assert json.loads(splice(empty, [], {}, {"a": b"1"})) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":1,"a":12}', "a"),
        (b'{"a":12,"a":1}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"x":"1,","a":"y","x":"1"}', "x"),
        (b'{"a":{"b":1},"b":2,"a":{"b":1}}', "a"),
    ],
)
def test_a_repeated_name_is_refused_and_named(body: bytes, name: str) -> None:
    with pytest.raises(DuplicateMemberError) as refused:
        members(body)
    assert refused.value.field == name
    assert sum(member.key == name for member in members_with_repeats(body)) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[1]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":1} {}', "trailing"),
        (b'{"a":1,}', "trailing comma"),
        (b'{"a":tru}', "invalid character"),
        (b'{"a":01}', "invalid number"),
        (b'{"a":1', "truncated"),
        (b'{"a":"\n"}', "invalid character"),
        (b"{a:1}", "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
    ],
)
def test_what_is_not_one_object_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(ParseError, match=says):
        members(body)


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_none_are_refused_by_field(word: bytes) -> None:
    with pytest.raises(ParseError) as refused:
        members(b'{"a":{"b":[0,' + word + b"]}}")
    assert refused.value.field == "a.b[1]"


def test_nesting_past_the_decoder_is_an_error_like_others() -> None:
    with pytest.raises(ParseError, match="too deep"):
        members(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    with pytest.raises(ParseError, match="not a JSON object"):
        members_with_repeats(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_the_number_of_members_is_bounded() -> None:
    many = b"{" + b",".join(b'"%d":0' % number for number in range(MEMBERS_MAX + 1)) + b"}"
    with pytest.raises(ParseError, match="more than 1024 members"):
        members(many)
    assert len(members(many.replace(b'"0":0,', b""))) == MEMBERS_MAX


@pytest.mark.parametrize(
    ("replace", "append", "expected"),
    [
        ({}, {}, BODY),
        ({"a": b'"n"'}, {}, BODY.replace(b"1 ,\r", b'"n" ,\r')),
        ({"a": None}, {}, b' {"b\\u0063":[1, {"a":2} ]  , "c":"x\\"}," , "d":{} } '),
        ({"bc": None}, {}, b' {"a" : 1  , "c":"x\\"}," , "d":{} } '),
        ({"d": None}, {}, b' {"a" : 1 ,\r\n\t"b\\u0063":[1, {"a":2} ]  , "c":"x\\"}," } '),
        ({"a": None, "bc": None}, {}, b' {"c":"x\\"}," , "d":{} } '),
        ({"a": None, "bc": None, "c": None, "d": None}, {}, b" { } "),
        ({"a": None, "bc": None, "c": None, "d": None}, {"n": b"1"}, b' {"n":1 } '),
        ({"d": None}, {"d": b"2", "é": b"3"}, BODY.replace(b'"d":{}', b"@").replace(b" , @", ',"d":2,"é":3'.encode())),
        ({"gone": None}, {}, BODY),
    ],
)
def test_splice_changes_what_it_was_told_and_nothing_else(
    replace: dict[str, bytes | None], append: dict[str, bytes], expected: bytes
) -> None:
    assert splice(BODY, members(BODY), replace, append) == expected


def test_splice_refuses_to_guess() -> None:
    with pytest.raises(KeyError):
        splice(BODY, members(BODY), {"nowhere": b"1"})
    with pytest.raises(ValueError, match="there already"):
        splice(BODY, members(BODY), {}, {"a": b"1"})
    with pytest.raises(ValueError, match="there already"):
        splice(BODY, members(BODY), {"a": b"2"}, {"a": b"1"})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"null", b'{"include_usage":true}'),
        (b"{}", b'{"include_usage":true}'),
        (b'{ "include_usage" : false, "x":1}', b'{ "include_usage" : true, "x":1}'),
        (b'{"x": {"include_usage":false} }', b'{"x": {"include_usage":false},"include_usage":true }'),
    ],
)
def test_usage_is_asked_for_and_the_rest_kept(sent: bytes, expected: bytes) -> None:
    assert with_usage_asked(sent) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b'{"tags":["a"]}', None),
        (b'{ "\\u0074ags" : [] }', None),
        (b'{"tags":["a"], "k": 1}', b'{"k": 1}'),
        (b'{"k": 1 ,"tags":["a"] }', b'{"k": 1 }'),
        (b'{"k":{"tags":1}}', b'{"k":{"tags":1}}'),
        (b"{}", b"{}"),
        (b"null", b"null"),
    ],
)
def test_tags_go_and_the_metadata_of_others_stays(sent: bytes, expected: bytes | None) -> None:
    assert without_tags(sent) == expected


def test_what_a_provider_repeats_is_listed_twice_at_its_byte_offsets() -> None:
    body = '{"é":"🚀","model" : "a","x":"\\ud800","model":"b"}'.encode()
    with pytest.raises(ParseError):
        members(body)
    found = members_with_repeats(body)
    assert [body[member.value_start : member.value_end] for member in found if member.key == "model"] == [
        b'"a"',
        b'"b"',
    ]
    assert splice(body, found, {"model": b'"m"'}) == body.replace(b'"a"', b'"m"').replace(b'"b"', b'"m"')


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"a":1}x', b'{"a" 1}', b'{"a":1;}', b"{1:2}", b'{"a":1,}', b'{"\xff":1}']
)
def test_what_is_no_object_of_a_provider_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError, match="not a JSON object"):
        members_with_repeats(body)
