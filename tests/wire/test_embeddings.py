from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from openai import omit
from openai.lib._parsing._embeddings import parse_embedding_response
from openai.types import CreateEmbeddingResponse, Embedding

from ainfera_gateway.canonical.conversation import UnsupportedError
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.request import Caps, RoutingHint
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.frame import Frame
from ainfera_gateway.wire.openai_embeddings.passage import EmbeddingsPassage
from ainfera_gateway.wire.openai_embeddings.request import parse
from ainfera_gateway.wire.openai_embeddings.vectors import packed
from ainfera_gateway.wire.parsed import Weight
from ainfera_gateway.wire.passage import Closing, Terms
from tests.wire.golden_files import golden

TERMS = Terms(wire="openai_chat", provider="openai", slug="embed-small", upstream_model="up-embed", max_tokens=0)
FLOATS_ONLY = msgspec.structs.replace(TERMS, quirks=frozenset({"floats_only"}))
STRICT = msgspec.structs.replace(TERMS, provider="mistral", quirks=frozenset({"known_fields_only"}))
CLOSING = Closing(
    agent_id="a-1",
    inference_id="i-1",
    receipt_id="r-1",
    audit_url="https://gateway.example/v1/audit/a-1/verify",
    provider="openai",
    model="embed-small",
    cost_usd="0.000002",
    usage=Usage(5, 0),
)


def body(**members: Any) -> bytes:
    return json.dumps({"model": "m", "input": "a"} | members).encode()


def passage(terms: Terms = TERMS, **members: Any) -> EmbeddingsPassage:
    return EmbeddingsPassage(parse(body(**members)), terms)


@pytest.mark.parametrize(
    ("name", "terms", "dropped"),
    [
        ("text", TERMS, ()),
        ("sdk_default", TERMS, ()),
        ("tokens", TERMS, ()),
        ("token_lists", TERMS, ()),
        ("all_members", TERMS, ()),
        ("only_tags", TERMS, ("max_tokens", "stream")),
        ("nulls", TERMS, ()),
        ("floats_only", FLOATS_ONLY, ()),
        ("mistral", STRICT, ("future", "user")),
    ],
)
def test_what_goes_upstream_is_the_callers_bytes_but_for_the_splices(
    name: str, terms: Terms, dropped: tuple[str, ...]
) -> None:
    one = EmbeddingsPassage(parse(golden(f"embeddings/request_{name}.json")), terms)
    assert one.body == golden(f"embeddings/request_{name}.upstream.json")
    assert one.path == "/embeddings"
    assert one.dropped == dropped


@pytest.mark.parametrize(
    ("name", "form", "usage"),
    [
        ("floats", "float", Usage(5, 0)),
        ("floats_for_base64", "base64", Usage(5, 0)),
        ("base64", "base64", Usage(5, 0)),
        ("mixed", "base64", Usage(0, 0)),
        ("no_model", None, Usage(7, 0)),
        ("no_usage", None, None),
        ("completion_tokens", "float", Usage(4, 0)),
        ("empty_vector", "base64", Usage(1, 0)),
        ("repeated_members", "float", Usage(1, 0)),
    ],
)
def test_answers(name: str, form: str | None, usage: Usage | None) -> None:
    sent = golden(f"embeddings/answer_{name}.json")
    one = passage(encoding_format=form)
    answer = one.read_answer(sent)
    assert one.whole(answer, sent, CLOSING) == golden(f"embeddings/answer_{name}.caller.json")
    assert (answer.usage, answer.empty, answer.text_bytes, one.text_bytes) == (usage, False, 0, 0)


def test_a_request_is_read_whole() -> None:
    parsed = parse(golden("embeddings/request_all_members.json"))
    request = parsed.request
    assert (parsed.dialect, request.model, request.stream, request.max_tokens) == (
        "openai",
        "text-embedding-3-large",
        False,
        0,
    )
    assert (request.agent_id, request.task_type) == ("0199f6b0-0000-7000-8000-000000000001", "embed")
    assert request.routing_hint == RoutingHint(budget_cap_picousd=10_000_000_000)
    assert request.caps == Caps(budget_picousd=20_000_000_000, latency_ms=900)
    assert (request.tags, request.needs) == (("night",), {"embeddings"})


@pytest.mark.parametrize(
    ("sent", "weight"),
    [
        ("naïve", Weight(b'"na\\u00efve"', 0)),
        (["a", "b"], Weight(b'["a", "b"]', 0)),
        ([5, 6, 7], Weight(b"", 0, tokens=3)),
        ([[5, 6], [7], [8, 9, 10]], Weight(b"", 0, tokens=6)),
        (["a"] * 2048, Weight(json.dumps(["a"] * 2048).encode(), 0)),
        ([1] * 5000, Weight(b"", 0, tokens=5000)),
    ],
)
def test_the_weight_is_the_text_or_the_number_of_tokens(sent: Any, weight: Weight) -> None:
    assert parse(body(input=sent)).weigh() == weight


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": [1, [2]]}, "input[1]"),
        ({"input": [[1], "a"]}, "input[1]"),
        ({"input": [1, -1]}, "input[1]"),
        ({"input": [[1, 1.5]]}, "input[0][1]"),
        ({"input": [True]}, "input[0]"),
        ({"input": [None]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [[1]] * 2049}, "input"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "3"}, "dimensions"),
        ({"user": 5}, "user"),
        ({"Model": "other"}, "Model"),
        ({"INPUT": "other"}, "INPUT"),
        ({"caps": {"bugdet": 1}}, "caps.bugdet"),
        ({"metadata": {"tags": [""]}}, "metadata.tags[0]"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_field(members: dict[str, Any], field: str) -> None:
    with pytest.raises(ParseError) as refused:
        parse(body(**members))
    assert refused.value.field == field


@pytest.mark.parametrize(
    "sent", [b"", b"[]", b'{"model":"m"}', b'{"input":"a"}', b'{"model":"m","model":"m","input":"a"}']
)
def test_a_body_that_is_no_request_is_refused(sent: bytes) -> None:
    with pytest.raises(ParseError):
        parse(sent)


def test_vectors_of_another_length_are_not_passed_off_as_those_asked_for() -> None:
    terms = msgspec.structs.replace(TERMS, drop_fields=frozenset({"dimensions", "model", "user"}))
    with pytest.raises(UnsupportedError) as refused:
        passage(terms, dimensions=64)
    assert refused.value.field == "dimensions"
    one = passage(terms, dimensions=None, user="u")
    assert (json.loads(one.body), one.dropped) == ({"model": "up-embed", "input": "a"}, ("user",))


@pytest.mark.parametrize("name", ["floats_for_base64", "base64"])
def test_the_official_client_reads_the_same_numbers_in_either_form(name: str) -> None:
    sent = golden(f"embeddings/answer_{name}.json")
    one = passage(FLOATS_ONLY, encoding_format="base64")
    whole = json.loads(one.whole(one.read_answer(sent), sent, CLOSING))
    assert all(isinstance(item["embedding"], str) for item in whole["data"])
    # The client asked for nothing, so it is the client that asked for base64 and unpacks it.
    read = parse_embedding_response(CreateEmbeddingResponse.model_construct(**_built(whole)), encoding_format=omit)
    assert list(read.data[0].embedding) == list(struct.unpack("<3f", struct.pack("<3f", 0.1, -0.0025, 1)))


def _built(whole: dict[str, Any]) -> dict[str, Any]:
    return whole | {"data": [Embedding.model_construct(**item) for item in whole["data"]]}


def test_packed_numbers_are_little_endian_floats_of_32_bits() -> None:
    assert base64.b64decode(packed([1.0, -2, 0.1])) == bytes.fromhex("0000803f000000c0cdcccc3d")
    for wrong in (["1"], [None], [[1.0]], [1e39]):
        with pytest.raises(ParseError):
            packed(wrong)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (b"", None),
        (b"<html>", None),
        (b"[]", None),
        (b'{"error":{"message":"no"}}', "error"),
        (b'{"data":[{"embedding":["x"]}]}', "data"),
        (b'{"data":[{"embedding":[1e300]}]}', "data"),
        (b'{"data":[{"embedding":[NaN]}]}', "data"),
    ],
)
def test_what_is_no_answer(sent: bytes, field: str | None) -> None:
    with pytest.raises(ParseError) as refused:
        passage(encoding_format="base64").read_answer(sent)
    assert refused.value.field == field


@pytest.mark.parametrize("sent", [b"{}", b'{"data":[]}', b'{"data":null}', b'{"data":"x"}'])
def test_an_answer_without_vectors_is_empty(sent: bytes) -> None:
    assert passage(encoding_format="base64").read_answer(sent).empty


def test_there_are_no_streams() -> None:
    one = passage()
    for ask in (one.reader, lambda: one.relay(Frame(b"", "comment")), lambda: one.finish(CLOSING)):
        with pytest.raises(TypeError):
            ask()
