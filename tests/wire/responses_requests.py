"""Conversations whose requests are golden: one for each thing that a request can say."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.canonical.conversation import (
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
)
from ainfera_gateway.wire.passage import Terms

TERMS = Terms(
    wire="openai_responses", provider="openai", slug="gpt-5-5-pro", upstream_model="gpt-5.5-pro", max_tokens=4096
)
HI = Turn("user", (Text("Hi"),))
MARK = b'{"type":"ephemeral"}'
WEATHER = ToolSpec(
    "get_weather", "Tells the weather.", b'{"type": "object", "properties": {"city": {"type": "string"}}}'
)
LONG_ID = "toolu_" + "0123456789" * 5


def said(*turns: Turn, **more: Any) -> Conversation:
    return Conversation(turns=turns, **more)


def system(*texts: str) -> Turn:
    return Turn("system", tuple(Text(text) for text in texts))


CONVERSATIONS: dict[str, Conversation] = {
    "one_word": said(HI),
    "system": said(system("Be brief.", "Be kind."), system("Speak Latin."), HI),
    "system_alone": said(system("Write a poem.")),
    "system_later": said(HI, Turn("assistant", (Text("Salve."),)), system("Now in Greek."), HI),
    "images": said(
        Turn(
            "user",
            (
                Text("Compare."),
                Image(url="https://example.com/a.png", detail="low"),
                Image(data="iVBORw0KGgo=", media_type="image/webp"),
            ),
        )
    ),
    "documents": said(
        Turn(
            "user",
            (
                Document(data="JVBERi0=", media_type="application/pdf", name="report.pdf"),
                Document(data="JVBERi0=", media_type="application/pdf"),
                Document(url="https://example.com/b.pdf"),
                Document(text="Zürich", name="A note"),
            ),
        )
    ),
    "calls_and_results": said(
        HI,
        Turn(
            "assistant",
            (
                Text("Looking "),
                Text("it up."),
                ToolUse("call_a", "get_weather", '{"city": "Bonn"}'),
                ToolUse("call_b", "get_time", ""),
            ),
        ),
        Turn(
            "user",
            (
                ToolResult("call_a", (Text("rain"),)),
                ToolResult("call_b", (Text("now"), Image(url="https://example.com/clock.png"))),
                Text("And tomorrow?"),
            ),
        ),
        tools=(WEATHER, ToolSpec("get_time")),
    ),
    "call_without_words": said(
        HI,
        Turn("assistant", (Text(""), ToolUse("call_a", "get_weather", "{}"))),
        Turn("user", (ToolResult("call_a", ()),)),
    ),
    "long_call_id": said(
        HI,
        Turn("assistant", (ToolUse(LONG_ID, "get_weather", "{}"),)),
        Turn("user", (ToolResult(LONG_ID, (Text("rain"),)),)),
    ),
    "failed_call": said(
        HI,
        Turn("assistant", (ToolUse("call_a", "get_weather", "{}"),)),
        Turn("user", (ToolResult("call_a", (Text("no such city"),), is_error=True),)),
        Turn("assistant", (ToolUse("call_b", "get_weather", "{}"), ToolUse("call_c", "get_weather", "{}"))),
        Turn(
            "user",
            (
                ToolResult("call_b", (), is_error=True),
                ToolResult("call_c", (Image(url="https://example.com/a.png"),), is_error=True),
            ),
        ),
    ),
    "thinking_of_others": said(
        HI,
        Turn(
            "assistant",
            (
                Thinking("Hm.", signature="c2ln", maker="anthropic"),
                Thinking(redacted="cmVk", maker="anthropic"),
                Text("Salve."),
                ToolUse("call_a", "get_weather", "{}", thought_signature="Z29v"),
            ),
        ),
        Turn("user", (ToolResult("call_a", (Text("rain"),)),)),
    ),
    "cache_marks": said(
        Turn("system", (Text("Be brief.", MARK),)),
        Turn("user", (Text("Hi", MARK), Image(url="https://example.com/a.png", cache=MARK))),
        tools=(ToolSpec("get_time", cache=MARK),),
    ),
    "names": said(Turn("system", (Text("Be brief."),), "rules"), Turn("user", (Text("Hi"),), "ann")),
    "empty_content": said(Turn("user", ()), Turn("assistant", ()), HI),
    "choice_auto": said(HI, tools=(WEATHER,), choice=Choice("auto"), parallel_tool_calls=True),
    "choice_none": said(HI, tools=(WEATHER,), choice=Choice("none")),
    "choice_required": said(HI, tools=(WEATHER,), choice=Choice("required"), parallel_tool_calls=False),
    "choice_named": said(
        HI,
        tools=(ToolSpec("f", schema=b"{}", strict=True), ToolSpec("g", strict=False)),
        choice=Choice("named", "f"),
    ),
    "format_text": said(HI, format=Format("text")),
    "format_json": said(HI, format=Format("json_object")),
    "format_schema": said(
        HI, format=Format("json_schema", "city", b'{"type": "object"}', strict=True, description="A city.")
    ),
    "format_schema_without_name": said(HI, format=Format("json_schema", schema=b'{"type":"object"}')),
    "effort_and_summary": said(HI, reasoning=Reasoning(effort="xhigh", summary="detailed")),
    "summary_of_another_dialect": said(HI, reasoning=Reasoning(adaptive=True, summary="summarized")),
    "nothing_to_reason": said(HI, reasoning=Reasoning(adaptive=True, summary="omitted")),
    "budget_small": said(HI, reasoning=Reasoning(budget_tokens=1024)),
    "budget_middle": said(HI, reasoning=Reasoning(budget_tokens=8_192)),
    "budget_large": said(HI, reasoning=Reasoning(budget_tokens=32_000)),
    "budget_and_effort": said(HI, reasoning=Reasoning(effort="low", budget_tokens=32_000)),
    "sampling": said(HI, temperature=0.25, top_p=0.5),
    "hints_without_a_word": said(
        HI,
        top_k=40,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        seed=0,
        unread=("messages[0].provider_specific_fields", "service_tier"),
    ),
    "hints_at_their_defaults": said(HI, frequency_penalty=0.0, presence_penalty=0.0, top_k=0),
    "user": said(HI, user="user-1"),
    "user_long": said(HI, user='{"device_id":"' + "d" * 60 + '","account":"a"}'),
}

DROPPED: dict[str, tuple[str, ...]] = {
    "thinking_of_others": ("messages[].content[].thinking", "thought_signature"),
    "cache_marks": ("cache_control",),
    "names": ("messages[].name",),
    "hints_without_a_word": (
        "messages[0].provider_specific_fields",
        "service_tier",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
    ),
}
"""What is named as left out; of every other conversation, nothing is."""
