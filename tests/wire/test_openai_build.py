"""What callers of another dialect say, as requests of the OpenAI dialect."""

from __future__ import annotations

import base64
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
from ainfera_gateway.wire.openai_chat.build import write_request
from ainfera_gateway.wire.openai_chat.tool_ids import bounded, nine_chars
from ainfera_gateway.wire.passage import Terms

USER = Turn("user", (Text("hi"),))
TOOL = ToolSpec("f", schema=b'{"type":"object"}')


def terms(provider: str = "openai", model: str = "m", **extra: Any) -> Terms:
    return Terms(wire="openai_chat", provider=provider, slug="s", upstream_model=model, max_tokens=9, **extra)


def write(
    conversation: Conversation, to: Terms | None = None, *, stream: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    written = write_request(conversation, to or terms(), stream=stream)
    return json.loads(written.body), written.dropped


def messages(*turns: Turn, to: Terms | None = None) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = write(Conversation(turns=turns), to)[0]["messages"]
    return written


def test_a_failed_tool_says_so_in_its_text() -> None:
    turn = Turn(
        "user",
        (
            ToolResult("a", (Text("no file"), Text("x")), is_error=True),
            ToolResult("b", (), is_error=True),
            ToolResult("c", (Image(data="AA", media_type="image/png"),), is_error=True),
        ),
    )
    first, second, third, shown = messages(turn)
    assert first["content"] == [{"type": "text", "text": "Error: no file"}, {"type": "text", "text": "x"}]
    assert second == {"role": "tool", "tool_call_id": "b", "content": "Error"}
    assert third["content"][0] == {"type": "text", "text": "Error"}
    assert [part["type"] for part in shown["content"]] == ["text", "image_url"]


def test_results_come_first_and_what_they_show_before_what_the_user_says() -> None:
    turn = Turn(
        "user",
        (
            Text("before"),
            ToolResult("a", (Image(url="u1"), Text("t"))),
            Text("between"),
            ToolResult("b", (Document(text="plain", name="n.txt"), Image(url="u2", detail="low"))),
        ),
    )
    first, second, shown = messages(turn)
    assert (first["tool_call_id"], second["tool_call_id"], shown["role"]) == ("a", "b", "user")
    assert second["content"][0] == {"type": "text", "text": "n.txt\n\nplain"}
    assert [part.get("text") or part["image_url"]["url"] for part in shown["content"]] == [
        "before",
        "Output of the tool call a:",
        "u1",
        "between",
        "Output of the tool call b:",
        "u2",
    ]


def test_reasoning_is_dropped_by_the_callers_count_of_messages() -> None:
    said = Conversation(
        turns=(
            Turn("system", (Text("s"),)),
            Turn("system", (Text("t"),)),
            USER,
            Turn("assistant", (Thinking("x", "sig", maker="anthropic"), Text("a"), Thinking("y"))),
        ),
        unread=("system[0].x",),
    )
    body, dropped = write(said)
    assert body["messages"][3] == {"role": "assistant", "content": "a"}
    assert dropped == ("system[0].x", "messages[1].content[0]", "messages[1].content[2]")
    assert b"sig" not in write_request(said, terms("openrouter"), stream=False).body


def test_deepseek_gets_unsigned_reasoning_back_and_nobody_elses() -> None:
    signed = Thinking("secret", "sig", maker="anthropic")
    call = ToolUse("c", "f", "{}")
    turns = (USER, Turn("assistant", (Thinking("mine"), signed, call)), Turn("user", (ToolResult("c", (Text("r"),)),)))
    body, dropped = write(Conversation(turns=turns, reasoning=Reasoning("high")), terms("deepseek"))
    assert body["messages"][1]["reasoning_content"] == "mine"
    assert (body["thinking"], dropped) == ({"type": "enabled"}, ("messages[1].content[1]",))
    other, dropped = write(Conversation(turns=turns), terms("fireworks"))
    assert "reasoning_content" not in other["messages"][1]
    assert dropped == ("messages[1].content[0]", "messages[1].content[1]")


def test_parts_of_a_user() -> None:
    text = base64.b64encode("héllo".encode()).decode()
    (message,) = messages(
        Turn(
            "user",
            (
                Image(data="AA"),
                Audio("UklG"),
                Document(data="JVBE", media_type="application/pdf", name="a.pdf"),
                Document(data=text, media_type="text/plain"),
                Document(data="!", media_type="text/plain"),
            ),
        )
    )
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        {"type": "text", "text": "héllo"},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:text/plain;base64,!"}},
    ]


def test_mistral_hears_the_user_in_the_result_of_the_tool() -> None:
    strict = terms("mistral", quirks=frozenset({"nine_char_tool_ids", "known_message_fields_only"}))
    call, result, answer, user = messages(
        Turn("assistant", (ToolUse("toolu_1", "f", "{}"),)),
        Turn("user", (ToolResult("toolu_1", (Text("r"), Image(url="u"))),)),
        Turn("user", (Text("go on"),), "ann"),
        Turn("assistant", (Text("a"),)),
        USER,
        to=strict,
    )
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == nine_chars("toolu_1")
    assert [part["type"] for part in result["content"]] == ["text", "text", "text", "image_url", "text"]
    assert result["content"][-1]["text"] == "go on"
    assert [answer["role"], user] == ["assistant", {"role": "user", "content": "hi"}]


def test_names_of_speakers_stay_where_they_are_known() -> None:
    said = Conversation(turns=(Turn("system", (Text("s"),)), Turn("user", (Text("hi"),), "ann")))
    assert write(said)[0]["messages"][1]["name"] == "ann"
    body, dropped = write(said, terms("mistral", quirks=frozenset({"known_message_fields_only"})))
    assert body["messages"][1] == {"role": "user", "content": "hi"}
    assert dropped == ("messages[0].name",)


def test_the_thought_behind_a_call_is_googles_alone() -> None:
    turn = Turn("assistant", (ToolUse("c", "f", "{}", thought_signature="sig"),))
    assert messages(turn, to=terms("gemini"))[0]["tool_calls"][0]["extra_content"] == {
        "google": {"thought_signature": "sig"}
    }
    for provider in ("openai", "openrouter", "deepseek", "local"):
        assert b"sig" not in write_request(Conversation(turns=(turn,)), terms(provider), stream=False).body


def test_marks_stay_for_openrouter_and_are_named_once_for_others() -> None:
    said = Conversation(
        turns=(
            Turn("system", (Text("s", b'{"t":1}'),)),
            Turn("assistant", (ToolUse("c", "f", "{}", cache=b'{"t":2}'),)),
            Turn("user", (ToolResult("c", (), cache=b'{"t":3}'), Image(url="u", cache=b'{"t":4}'))),
        ),
        tools=(ToolSpec("f", cache=b'{"t":5}'),),
    )
    kept = write_request(said, terms("openrouter"), stream=False)
    assert [kept.body.count(b'"cache_control":{"t":%d}' % mark) for mark in range(1, 6)] == [1] * 5
    assert kept.dropped == ()
    cut = write_request(said, terms("gemini"), stream=False)
    assert (b"cache_control" in cut.body, cut.dropped) == (False, ("cache_control",))


def test_tools_choices_and_forms() -> None:
    body, dropped = write(
        Conversation(
            turns=(USER,),
            tools=(TOOL, ToolSpec("g", "d", None, strict=True)),
            choice=Choice("named", "g"),
            parallel_tool_calls=False,
            format=Format("json_schema", schema=b'{"a":1.50}'),
        )
    )
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "g", "description": "d", "strict": True}},
    ]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == (
        {"type": "function", "function": {"name": "g"}},
        False,
    )
    assert body["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"a": 1.5}}}
    assert dropped == ()
    for mode in ("auto", "none", "required"):
        assert write(Conversation(turns=(USER,), tools=(TOOL,), choice=Choice(mode)))[0]["tool_choice"] == mode  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_a_choice_without_tools_chooses_nothing(mode: Any) -> None:
    body, dropped = write(Conversation(turns=(USER,), choice=Choice(mode), parallel_tool_calls=True))
    assert ("tool_choice" in body, "parallel_tool_calls" in body, dropped) == (False, False, ())


@pytest.mark.parametrize(
    ("conversation", "to", "field"),
    [
        (Conversation(turns=(USER,), stop=("a",) * 5), terms(), "stop_sequences"),
        (Conversation(turns=(USER,), choice=Choice("named", "f")), terms(), "tools"),
        (Conversation(turns=(USER,), n=2), terms(drop_fields=frozenset({"n"})), "n"),
        (Conversation(turns=(USER,), logprobs=True), terms("mistral"), "logprobs"),
        (
            Conversation(turns=(USER,), format=Format("json_object")),
            terms(drop_fields=frozenset({"response_format"})),
            "response_format",
        ),
        (
            Conversation(turns=(Turn("system", (Text("s"),)), Turn("user", (Text("a"), Document(url="u"))))),
            terms(),
            "messages[0].content[1]",
        ),
        (
            Conversation(turns=(Turn("user", (ToolResult("c", (Document(url="u"),)),)),)),
            terms(),
            "messages[0].content[0].content[0]",
        ),
        (Conversation(turns=(Turn("user", (Thinking("x"),)),)), terms(), "messages[0].content[0]"),
    ],
)
def test_what_must_not_be_cut_is_refused(conversation: Conversation, to: Terms, field: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        write_request(conversation, to, stream=False)
    assert refused.value.field == field


def test_sampling() -> None:
    said = Conversation(
        turns=(USER,),
        temperature=0.0,
        top_p=0.0,
        top_k=5,
        frequency_penalty=0.0,
        presence_penalty=1.0,
        stop=("a", "b"),
        seed=0,
        n=2,
        logprobs=True,
        top_logprobs=0,
        user="u",
    )
    body, dropped = write(said, terms(max_tokens_field="max_completion_tokens"))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.0,
        "top_p": 0.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 1.0,
        "stop": ["a", "b"],
        "seed": 0,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 0,
        "user": "u",
        "max_completion_tokens": 9,
    }
    assert dropped == ("top_k",)
    body, dropped = write(said, terms("together"))
    assert (body["top_k"], dropped) == (5, ())


@pytest.mark.parametrize(
    ("reasoning", "provider", "model", "written", "dropped"),
    [
        (Reasoning(budget_tokens=1024), "openai", "gpt-5-5", {"reasoning_effort": "low"}, ()),
        (Reasoning(budget_tokens=2048), "openai", "gpt-5-5", {"reasoning_effort": "low"}, ()),
        (Reasoning(budget_tokens=2049), "azure", "mine", {"reasoning_effort": "medium"}, ()),
        (Reasoning(budget_tokens=8193), "gemini", "gemini-3-1-pro", {"reasoning_effort": "high"}, ()),
        (Reasoning(budget_tokens=1024), "gemini", "gemini-2.0-flash", {}, ("thinking",)),
        (Reasoning("max"), "openai", "gpt-5-5", {"reasoning_effort": "xhigh"}, ()),
        (Reasoning("xhigh"), "gemini", "gemini-3-1-pro", {"reasoning_effort": "high"}, ()),
        (Reasoning("low", 9000), "openai", "o3", {"reasoning_effort": "low"}, ()),
        (Reasoning("low"), "openai", "gpt-4o", {}, ("output_config.effort",)),
        (Reasoning("low"), "xai", "grok-4", {}, ("output_config.effort",)),
        (Reasoning("low"), "xai", "grok-3-mini", {"reasoning_effort": "low"}, ()),
        (Reasoning("low"), "groq", "llama-3.3-70b", {}, ("output_config.effort",)),
        (Reasoning("low"), "groq", "openai/gpt-oss-120b", {"reasoning_effort": "low"}, ()),
        (Reasoning(budget_tokens=5), "mistral", "magistral", {}, ("thinking",)),
        (Reasoning("none"), "openai", "gpt-5-5", {}, ("thinking",)),
        (Reasoning(adaptive=True), "openai", "gpt-5-5", {}, ()),
        (Reasoning(summary="auto"), "deepseek", "deepseek-chat", {}, ()),
        (Reasoning(adaptive=True), "deepseek", "deepseek-chat", {"thinking": {"type": "enabled"}}, ()),
        (Reasoning("none"), "deepseek", "deepseek-chat", {"thinking": {"type": "disabled"}}, ()),
        (Reasoning("none"), "openrouter", "x", {"reasoning": {"enabled": False}}, ()),
        (Reasoning(budget_tokens=5), "openrouter", "x", {"reasoning": {"max_tokens": 5}}, ()),
        (Reasoning("max"), "openrouter", "x", {"reasoning": {"effort": "xhigh"}}, ()),
        (Reasoning(adaptive=True), "openrouter", "x", {"reasoning": {"enabled": True}}, ()),
        (Reasoning("high"), "local", "anything", {"reasoning_effort": "high"}, ()),
    ],
)
def test_how_much_to_think(
    reasoning: Reasoning, provider: str, model: str, written: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    body, names = write(Conversation(turns=(USER,), reasoning=reasoning), terms(provider, model))
    plain, _ = write(Conversation(turns=(USER,)), terms(provider, model))
    assert {name: value for name, value in body.items() if name not in plain} == written
    assert names == dropped


def test_ids_are_the_same_for_the_same_and_differ_for_others() -> None:
    assert nine_chars("a1B2c3D4e") == "a1B2c3D4e"
    assert nine_chars("a1B2c3D4-") != nine_chars("a1B2c3D4_")
    made = {nine_chars(f"call_{number}") for number in range(500)}
    assert len(made) == 500
    assert all(len(one) == 9 and one.isalnum() and one.isascii() for one in made)
    assert bounded("x" * 40) == "x" * 40
    assert len(bounded("x" * 41)) == 40
    assert bounded("x" * 41) != bounded("x" * 42)


def test_a_stream_is_asked_for_with_its_usage() -> None:
    assert write(Conversation(turns=(USER,)), stream=True)[0]["stream_options"] == {"include_usage": True}
    unaware, dropped = write(Conversation(turns=(USER,)), terms(knows_usage_option=False), stream=True)
    assert (unaware["stream"], "stream_options" in unaware, dropped) == (True, False, ())
    assert "stream" not in write(Conversation(turns=(USER,)))[0]
