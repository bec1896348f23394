"""A request of the OpenAI dialect as a conversation: every member has its place, or its name is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ainfera_gateway.canonical.conversation import (
    Audio,
    Choice,
    Conversation,
    Document,
    Format,
    Image,
    Reasoning,
    Text,
    Thinking,
    ToolResult,
    ToolSpec,
    ToolUse,
    Turn,
    UnsupportedError,
)
from ainfera_gateway.wire.openai_chat.conversation import read_conversation
from ainfera_gateway.wire.openai_chat.request import parse

MARK = {"type": "ephemeral"}
MARKED = b'{"type": "ephemeral"}'


def read(messages: list[dict[str, Any]] | None = None, **extra: Any) -> Conversation:
    sent = {"model": "m", "messages": messages or [{"role": "user", "content": "hi"}]} | extra
    return read_conversation(parse(json.dumps(sent).encode(), flat=False))


def part(sent: dict[str, Any]) -> Any:
    (turn,) = read([{"role": "user", "content": [sent]}]).turns
    (only,) = turn.parts
    return only


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ({"type": "text", "text": "t"}, Text("t")),
        ({"type": "text", "text": "t", "cache_control": MARK}, Text("t", MARKED)),
        ({"type": "refusal", "refusal": "no"}, Text("no")),
        ({"type": "image_url", "image_url": {"url": "https://p.example/a"}}, Image(url="https://p.example/a")),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}},
            Image(data="AA==", media_type="image/png", detail="high"),
        ),
        (
            {"type": "image_url", "image_url": "data:;base64,AA==", "cache_control": MARK},
            Image(data="AA==", cache=MARKED),
        ),
        ({"type": "image_url", "image_url": "data:text/plain,AA"}, Image(url="data:text/plain,AA")),
        (
            {"type": "input_image", "image_url": "https://p.example/a", "detail": "low"},
            Image("https://p.example/a", detail="low"),
        ),
        ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}, Audio("UklG", "wav")),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}},
            Document(data="JVBE", media_type="application/pdf", name="a.pdf"),
        ),
        ({"type": "file", "file": {"file_data": "JVBE"}}, Document(data="JVBE", media_type="application/pdf")),
        (
            {"type": "file", "file": {"file_data": "aGk=", "format": "text/plain"}},
            Document(data="aGk=", media_type="text/plain"),
        ),
        (
            {"type": "file", "file": {"file_id": "https://p.example/a.pdf"}, "cache_control": MARK},
            Document(url="https://p.example/a.pdf", cache=MARKED),
        ),
        ({"type": "file", "file": {"file_id": "https://p.example/a.pdf"}}, Document(url="https://p.example/a.pdf")),
        ({"type": "file", "file": {"file_data": "https://p.example/a.pdf"}}, Document(url="https://p.example/a.pdf")),
    ],
)
def test_every_part(sent: dict[str, Any], canonical: Any) -> None:
    assert part(sent) == canonical


def test_the_id_of_a_file_whose_data_is_sent_is_named() -> None:
    file = {"file_id": "file-1", "file_data": "data:application/pdf;base64,JVBE"}
    said = read([{"role": "user", "content": [{"type": "file", "file": file}]}])
    assert said.turns[0].parts == (Document(data="JVBE", media_type="application/pdf"),)
    assert said.unread == ("messages[0].content[0].file.file_id",)


def test_roles_and_names() -> None:
    turns = read(
        [
            {"role": "system", "content": "s", "name": "n"},
            {"role": "developer", "content": [{"type": "text", "text": "d"}]},
            {"role": "user", "content": "", "name": "u"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "name": "a"},
            {"role": "assistant", "content": None, "refusal": "never"},
        ]
    ).turns
    assert turns == (
        Turn("system", (Text("s"),), "n"),
        Turn("system", (Text("d"),)),
        Turn("user", (), "u"),
        Turn("assistant", (Text("no"),), "a"),
        Turn("assistant", (Text("never"),)),
    )


def test_calls_and_results() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    signed = call | {"id": "c2", "extra_content": {"google": {"thought_signature": "sig"}}, "cache_control": MARK}
    turns = read(
        [
            {"role": "assistant", "content": "x", "tool_calls": [call, signed]},
            {"role": "tool", "tool_call_id": "c1", "content": "r", "cache_control": MARK},
            {
                "role": "tool",
                "tool_call_id": "c2",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "u"}],
            },
            {"role": "user", "content": "on"},
            {"role": "tool", "tool_call_id": "c1", "content": ""},
        ]
    ).turns
    assert turns == (
        Turn(
            "assistant",
            (
                Text("x"),
                ToolUse("c1", "f", '{"a": 1}'),
                ToolUse("c2", "f", '{"a": 1}', thought_signature="sig", cache=MARKED),
            ),
        ),
        Turn("user", (ToolResult("c1", (Text("r"),), cache=MARKED), ToolResult("c2", (Text("a"), Image(url="u"))))),
        Turn("user", (Text("on"),)),
        Turn("user", (ToolResult("c1", ()),)),
    )


def test_the_older_single_call_finds_its_result() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "r"}
    first, answer, second, last = read([call, result, call, result]).turns
    assert (first.parts, answer.parts) == ((ToolUse("call_0", "f", "{}"),), (ToolResult("call_0", (Text("r"),)),))
    assert (second.parts, last.parts) == ((ToolUse("call_2", "f", "{}"),), (ToolResult("call_2", (Text("r"),)),))


def test_anthropics_reasoning_comes_back_before_the_text() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "zz"},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
    ]
    said = read([{"role": "assistant", "content": "x", "thinking_blocks": blocks, "reasoning_content": "hm"}])
    assert said.turns[0].parts == (
        Thinking("hm", "sig", maker="anthropic"),
        Thinking(redacted="zz", maker="anthropic"),
        Text("x"),
    )
    assert said.unread == ("messages[0].thinking_blocks[2]",)


def test_a_mark_on_a_message_stands_on_its_last_part() -> None:
    said = read(
        [
            {"role": "system", "content": "s", "cache_control": MARK},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                "cache_control": MARK,
            },
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"ttl": "1h"}}],
                "cache_control": MARK,
            },
            {"role": "user", "content": "", "cache_control": MARK},
        ]
    )
    assert [turn.parts for turn in said.turns] == [
        (Text("s", MARKED),),
        (Text("a"), Text("b", MARKED)),
        (Text("a", b'{"ttl": "1h"}'),),
        (),
    ]
    assert said.unread == ("messages[3].cache_control",)


def test_tools_keep_their_schema_byte_for_byte() -> None:
    tools = [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"b": 1.0, "a": []}, "strict": False},
        },
        {"function": {"name": "g", "cache_control": MARK}},
        {"type": "function", "name": "flat", "parameters": {}},
        {"type": "custom", "custom": {"name": "c"}},
        {"type": "function", "function": {"name": "h", "x": 1}, "cache_control": MARK, "y": 2},
    ]
    said = read(tools=tools)
    assert said.tools == (
        ToolSpec("f", "d", b'{"b": 1.0, "a": []}', strict=False),
        ToolSpec("g", cache=MARKED),
        ToolSpec("flat", schema=b"{}"),
        ToolSpec("h", cache=MARKED),
    )
    assert said.unread == ("tools[4].function.x", "tools[4].y", "tools[3]")


@pytest.mark.parametrize(
    ("sent", "choice"),
    [
        ("any", Choice("required")),
        ({"type": "auto"}, Choice("auto")),
        ({"type": "tool", "name": "f"}, Choice("named", "f")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            Choice("required"),
        ),
    ],
)
def test_forms_of_choice_that_others_send(sent: Any, choice: Choice) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    said = read(tools=tools, tool_choice=sent)
    assert said.choice == choice
    allowed = ["f"] if isinstance(sent, dict) and sent["type"] == "allowed_tools" else ["f", "g"]
    assert [tool.name for tool in said.tools] == allowed


@pytest.mark.parametrize(
    ("extra", "reasoning", "unread"),
    [
        ({"reasoning_effort": "high"}, Reasoning("high"), ()),
        ({"reasoning_effort": "default"}, None, ("reasoning_effort",)),
        ({"reasoning": {"effort": "xhigh", "exclude": True}}, Reasoning("xhigh"), ("reasoning.exclude",)),
        ({"reasoning": {"effort": "loud"}}, None, ("reasoning.effort",)),
        ({"reasoning": {"max_tokens": 2000}, "reasoning_effort": "low"}, Reasoning("low", 2000), ()),
        ({"reasoning": {"enabled": True}}, Reasoning(adaptive=True), ()),
        ({"reasoning": {"enabled": False}}, Reasoning("none"), ()),
        ({"reasoning": {"summary": "auto"}}, Reasoning(summary="auto"), ()),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, Reasoning(budget_tokens=1024), ()),
        ({"thinking": {"type": "enabled"}}, Reasoning(adaptive=True), ()),
        ({"thinking": {"type": "adaptive", "display": "x"}}, Reasoning(adaptive=True), ("thinking.display",)),
        ({"thinking": {"type": "disabled", "budget_tokens": 9}}, Reasoning("none"), ()),
        ({"reasoning": {}, "thinking": {}}, None, ()),
    ],
)
def test_how_much_to_think(extra: dict[str, Any], reasoning: Reasoning | None, unread: tuple[str, ...]) -> None:
    said = read(**extra)
    assert (said.reasoning, said.unread) == (reasoning, unread)


def test_a_budget_of_thinking_is_known_to_the_house() -> None:
    def tokens(**extra: Any) -> int:
        sent = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | extra
        return parse(json.dumps(sent).encode(), flat=False).request.thinking_tokens

    assert tokens() == tokens(thinking={"type": "disabled", "budget_tokens": 5}) == tokens(thinking={}) == 0
    assert tokens(thinking={"type": "enabled", "budget_tokens": 5}) == tokens(reasoning={"max_tokens": 5}) == 5


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ({"type": "text"}, Format("text")),
        ({"type": "json_object"}, Format("json_object")),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"a": 1.50}, "strict": True, "description": "d"},
            },
            Format("json_schema", "n", b'{"a": 1.5}', strict=True, description="d"),
        ),
        ({"type": "json_schema"}, Format("json_schema")),
    ],
)
def test_forms_of_answers(sent: dict[str, Any], read_as: Format) -> None:
    assert read(response_format=sent).format == read_as


def test_sampling_and_the_rest() -> None:
    said = read(
        temperature=1,
        top_p=0.5,
        top_k=40,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        stop=["a", "b"],
        seed=7,
        n=3,
        logprobs=True,
        top_logprobs=2,
        user="u",
        safety_identifier="s",
        parallel_tool_calls=False,
        metadata={"tags": ["t"]},
        modalities=["text"],
        max_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
        agent_id="a",
        store=None,
    )
    assert said == Conversation(
        turns=(Turn("user", (Text("hi"),)),),
        temperature=1.0,
        top_p=0.5,
        top_k=40,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        stop=("a", "b"),
        seed=7,
        n=3,
        logprobs=True,
        top_logprobs=2,
        user="u",
        parallel_tool_calls=False,
        unread=("safety_identifier",),
    )
    assert read(safety_identifier="s").user == "s"
    assert (read(logprobs=5).logprobs, read(logprobs=5).top_logprobs) == (True, 5)
    assert (read(logprobs=0).logprobs, read(logprobs=False).logprobs) == (False, False)


def test_whatever_has_no_place_is_named() -> None:
    said = read(
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "t", "x": 1},
                    {"type": "image_url", "image_url": {"url": "u", "format": "f"}},
                ],
            },
            {
                "role": "assistant",
                "content": "a",
                "tool_calls": [
                    {"id": "c", "function": {"name": "f", "y": 1}, "extra_content": {"google": {"z": 1}, "w": 1}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r", "v": 1, "u": None},
        ],
        metadata={"k": "v"},
        logit_bias={},
        web_search_options={"context": 1},
        audio=None,
    )
    assert said.unread == (
        "messages[0].content[0].x",
        "messages[0].content[1].image_url.format",
        "messages[1].tool_calls[0].function.y",
        "messages[1].tool_calls[0].extra_content.w",
        "messages[1].tool_calls[0].extra_content.google.z",
        "messages[2].v",
        "metadata",
        "logit_bias",
        "web_search_options",
    )


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].file"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages[0].content[0].file"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": 5}]}]}, "messages[0].content[0].file"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
            "messages[0].content[0].file.file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            "messages[0].content[0].file_id",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"function_call": {"arguments": "{}"}}, "function_call"),
        ({"response_format": {"type": "json_schema", "json_schema": []}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"strict": "yes"}}},
            "response_format.json_schema.strict",
        ),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": {}}}}, "tool_choice.allowed_tools.tools"),
    ],
)
def test_what_no_dialect_could_say_is_refused_by_field(extra: dict[str, Any], field: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        read(**extra)
    assert refused.value.field == field
