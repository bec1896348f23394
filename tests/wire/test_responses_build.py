from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import ResponseInputItemParam
from openai.types.responses import response_create_params as params
from pydantic import TypeAdapter

from ainfera_gateway.canonical.conversation import Audio, Conversation, Format, Image, Text, Turn, UnsupportedError
from ainfera_gateway.wire.openai_responses.build import write_request
from tests.wire.golden_files import golden
from tests.wire.responses_requests import CONVERSATIONS, DROPPED, HI, TERMS, said, system

_ITEMS: TypeAdapter[Any] = TypeAdapter(list[ResponseInputItemParam])
_TOOLS: TypeAdapter[Any] = TypeAdapter(list[params.ToolParam])


@pytest.mark.parametrize("name", list(CONVERSATIONS))
def test_requests(name: str) -> None:
    written = write_request(CONVERSATIONS[name], TERMS, stream=False)
    assert written.body == golden(f"responses/request_{name}.json").removesuffix(b"\n")
    assert written.dropped == DROPPED.get(name, ())


@pytest.mark.parametrize("name", list(CONVERSATIONS))
def test_requests_are_what_the_providers_own_types_say(name: str) -> None:
    body = json.loads(golden(f"responses/request_{name}.json"))
    _ITEMS.validate_python(body.pop("input"))
    _TOOLS.validate_python(body.pop("tools", []))
    TypeAdapter(params.ResponseTextConfigParam).validate_python(body.pop("text", {}))
    TypeAdapter(params.Reasoning).validate_python(body.pop("reasoning", {}))
    choice = body.pop("tool_choice", "auto")
    assert choice in ("auto", "none", "required", {"type": "function", "name": "f"})
    assert body.keys() <= params.ResponseCreateParamsBase.__annotations__.keys()
    assert (body["model"], body["store"], body["max_output_tokens"]) == ("gpt-5.5-pro", False, 4096)


def test_a_stream_is_asked_for_and_nothing_else_differs() -> None:
    plain = write_request(said(HI), TERMS, stream=False).body
    streamed = write_request(said(HI), TERMS, stream=True).body
    assert streamed == plain[:-1] + b',"stream":true}'


def test_the_limit_is_what_is_held_and_never_more() -> None:
    asked = json.loads(write_request(said(HI), msgspec.structs.replace(TERMS, max_tokens=16), stream=False).body)
    assert asked["max_output_tokens"] == 16
    with pytest.raises(UnsupportedError) as refused:
        write_request(said(HI), msgspec.structs.replace(TERMS, max_tokens=15), stream=False)
    assert refused.value.field == "max_tokens"


@pytest.mark.parametrize(
    ("conversation", "field"),
    [
        (said(HI, stop=("END",)), "stop"),
        (said(HI, n=2), "n"),
        (said(HI, logprobs=True, top_logprobs=3), "logprobs"),
        (said(HI, top_logprobs=3), "top_logprobs"),
        (said(HI, format=Format("json_schema", "x")), "response_format"),
        (said(Turn("user", (Audio("UklGRg==", "wav"),))), "messages"),
        (said(Turn("assistant", (Image(url="https://example.com/a.png"),)), HI), "messages"),
        (said(Turn("system", (Text("See:"), Image(url="https://example.com/a.png"))), HI), "messages"),
    ],
)
def test_what_must_not_be_cut_is_refused(conversation: Conversation, field: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        write_request(conversation, TERMS, stream=False)
    assert refused.value.field == field
    assert refused.value.message


def test_members_a_provider_refuses_are_left_out_and_named() -> None:
    terms = msgspec.structs.replace(
        TERMS, drop_fields=frozenset({"temperature", "store", "tools", "max_output_tokens", "model", "logit_bias"})
    )
    written = write_request(said(system("Be brief."), HI, temperature=0.5, top_p=0.5), terms, stream=False)
    body = json.loads(written.body)
    assert body.keys() == {"model", "input", "instructions", "max_output_tokens", "top_p"}
    # What the caller never said is not named.
    assert written.dropped == ("temperature",)


def test_ids_too_long_differ_where_the_ids_do_and_pair_calls_with_results() -> None:
    body = json.loads(golden("responses/request_long_call_id.json"))
    call, result = body["input"][1:]
    assert call["call_id"] == result["call_id"] != ""
    assert len(call["call_id"]) <= 40
    other = CONVERSATIONS["long_call_id"]
    assert call["call_id"] not in json.dumps(msgspec.to_builtins(other, builtin_types=(bytes,)), default=str)
