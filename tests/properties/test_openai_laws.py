"""Laws of the OpenAI codec: what is written reads back, streamed or plain, and cleaning takes out what it says."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ainfera_gateway.canonical.conversation import (
    Audio,
    Choice,
    Conversation,
    Document,
    Format,
    Image,
    Reasoning,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    Turn,
    UnsupportedError,
    Written,
)
from ainfera_gateway.canonical.events import (
    ContentDelta,
    MessageDelta,
    RedactedThinking,
    StreamEvent,
    ThinkingDelta,
    ToolUseDelta,
    ToolUseStart,
    fold,
)
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.response import AnsweredThinking, ChatResponse
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.openai_chat.answer import read_answer, write_answer
from ainfera_gateway.wire.openai_chat.build import write_request
from ainfera_gateway.wire.openai_chat.conversation import read_conversation
from ainfera_gateway.wire.openai_chat.known_fields import message_fields, refused_marks, takes_developer
from ainfera_gateway.wire.openai_chat.request import ParsedChat, parse
from ainfera_gateway.wire.openai_chat.stream import EventDecoder, StreamReader
from ainfera_gateway.wire.openai_chat.tool_ids import nine_chars
from ainfera_gateway.wire.openai_chat.upstream import write_upstream
from ainfera_gateway.wire.openai_chat.writer import StreamWriter
from ainfera_gateway.wire.passage import Terms
from tests.wire.openai_cases import cases, closing

law = settings(max_examples=120, deadline=None, database=None)

WORDS = st.one_of(
    st.sampled_from(["a", 'q"', "\n\n", "data: x", "é🚀", "\\", '"model":"x"', "\u2028"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6),
)
NAMES = st.text(st.sampled_from("abcXYZ019_-"), min_size=1, max_size=8)
IDS = st.text(st.sampled_from("abcXYZ019_-"), min_size=1, max_size=40)
MARKS = st.sampled_from([None, b'{"type":"ephemeral"}', b'{"type": "ephemeral", "ttl":"1h"}'])
SCHEMAS = st.sampled_from([None, b"{}", b'{"type": "object","x":1.50}', '{"é":[]}'.encode()])
MEDIA = st.sampled_from(["image/png", "image/jpeg"])


def terms(provider: str, quirks: frozenset[str] = frozenset()) -> Terms:
    return Terms(
        wire="openai_chat",
        provider=provider,
        slug="slug",
        upstream_model="up",
        max_tokens=7,
        quirks=quirks,
        inference_id="i-1",
        created_s=7,
    )


@st.composite
def conversations(draw: st.DrawFn, marks: st.SearchStrategy[bytes | None], *, openrouter: bool) -> Conversation:
    """What this dialect can carry whole, in the form in which it is read."""
    texts = st.builds(Text, WORDS, marks)
    parts = st.one_of(
        texts,
        st.builds(Image, url=st.just("https://p.example/a.png"), detail=st.sampled_from([None, "low"]), cache=marks),
        st.builds(Image, data=st.sampled_from(["", "AA=="]), media_type=MEDIA, cache=marks),
        st.builds(Document, data=st.just("JVBE"), media_type=st.just("application/pdf"), name=NAMES, cache=marks),
        st.builds(Audio, st.just("UklG"), st.sampled_from(["wav", "mp3"])),
    )
    turns: list[Turn] = []
    speakers = st.one_of(st.none(), NAMES)
    for kind in draw(st.lists(st.sampled_from(["system", "user", "assistant", "calls"]), min_size=1, max_size=5)):
        if kind == "calls":
            ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
            said = draw(st.lists(texts, max_size=1))
            signatures = st.none()
            calls = [ToolUse(one, draw(NAMES), draw(WORDS), draw(signatures), draw(marks)) for one in ids]
            turns.append(Turn("assistant", (*said, *calls), draw(speakers)))
            plain = st.lists(st.builds(Text, WORDS, marks), max_size=2).map(tuple)
            turns.append(Turn("user", tuple(ToolResult(one, draw(plain)) for one in ids)))
        elif kind == "user":
            turns.append(Turn("user", tuple(draw(st.lists(parts, max_size=3))), draw(speakers)))
        else:
            turns.append(Turn(kind, tuple(draw(st.lists(texts, max_size=2))), draw(speakers)))  # type: ignore[arg-type]
    tools = draw(
        st.lists(
            st.builds(
                ToolSpec, NAMES, st.one_of(st.none(), WORDS), SCHEMAS, st.sampled_from([None, True, False]), marks
            ),
            max_size=2,
            unique_by=lambda tool: tool.name,
        )
    )
    choices = [
        None,
        Choice("auto"),
        Choice("none"),
        Choice("required"),
        *(Choice("named", tool.name) for tool in tools),
    ]
    thinking = [Reasoning("low"), Reasoning("xhigh")]
    if openrouter:
        thinking += [Reasoning("none"), Reasoning(budget_tokens=2000), Reasoning(adaptive=True)]
    number = st.one_of(st.none(), st.floats(0, 1))
    return Conversation(
        turns=tuple(turns),
        tools=tuple(tools),
        choice=draw(st.sampled_from(choices)) if tools else None,
        parallel_tool_calls=draw(st.sampled_from([None, True, False])) if tools else None,
        format=draw(
            st.sampled_from(
                [
                    None,
                    Format("text"),
                    Format("json_object"),
                    Format("json_schema", "n", b'{"a": 1.50}', strict=True, description="d"),
                ]
            )
        ),
        reasoning=draw(st.sampled_from([None, *thinking])),
        temperature=draw(number),
        top_p=draw(number),
        top_k=draw(st.sampled_from([None, 5])) if openrouter else None,
        frequency_penalty=draw(number),
        presence_penalty=draw(number),
        stop=tuple(draw(st.lists(WORDS, max_size=4))),
        seed=draw(st.sampled_from([None, 0, 7])),
        n=draw(st.integers(1, 3)),
        logprobs=draw(st.booleans()),
        top_logprobs=draw(st.sampled_from([None, 3])),
        user=draw(st.one_of(st.none(), NAMES)),
    )


@law
@given(st.data(), st.booleans(), st.booleans())
def test_what_is_written_reads_back_and_writes_the_same_again(
    data: st.DataObject, openrouter: bool, stream: bool
) -> None:
    said = data.draw(conversations(MARKS if openrouter else st.none(), openrouter=openrouter))
    to = terms("openrouter" if openrouter else "openai")
    written = write_request(said, to, stream=stream)
    parsed = parse(written.body, flat=False)
    assert read_conversation(parsed) == said
    assert written.dropped == ()
    assert (parsed.request.model, parsed.request.max_tokens, parsed.request.stream) == ("up", 7, stream)
    assert write_request(read_conversation(parsed), to, stream=stream) == written


@law
@given(conversations(MARKS, openrouter=True), st.sampled_from(["openai", "mistral", "gemini", "deepseek", "groq"]))
def test_to_whomever_it_goes_it_stays_a_request_and_every_call_has_its_result(
    said: Conversation, provider: str
) -> None:
    quirks = {"mistral": {"nine_char_tool_ids", "known_fields_only", "known_message_fields_only"}}
    carried = replace(said, logprobs=False, top_logprobs=None)
    written = write_request(carried, terms(provider, frozenset(quirks.get(provider, ()))), stream=False)
    messages = json.loads(written.body)["messages"]
    parse(written.body, flat=False)
    asked = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == asked
    assert len(asked) == sum(isinstance(part, ToolUse) for turn in said.turns for part in turn.parts)
    assert (b"cache_control" in written.body) is False
    if provider == "mistral":
        pairs = itertools.pairwise(messages)
        assert ("tool", "user") not in [(one["role"], two["role"]) for one, two in pairs]
        assert all(len(one) == 9 for one in asked)


@st.composite
def told(draw: st.DrawFn, *, makers: frozenset[bool] = frozenset({True, False})) -> list[StreamEvent]:
    """One answer as events; fragments of calls may be mixed. ``makers`` says which reasoning is in it, signed or not."""
    events: list[StreamEvent] = []
    signs = st.sampled_from(sorted(makers))
    index = 0
    for kind in draw(st.lists(st.sampled_from(["thinking", "redacted", "text", "calls"]), max_size=5)):
        if kind == "thinking":
            events += [ThinkingDelta(text) for text in draw(st.lists(WORDS, min_size=1, max_size=3))]
            if draw(signs):
                events.append(ThinkingDelta(draw(st.sampled_from(["", "x"])), "sig"))
        elif kind == "redacted" and True in makers:
            events.append(RedactedThinking(draw(NAMES)))
        elif kind in {"text", "redacted"}:
            events += [ContentDelta(text) for text in draw(st.lists(WORDS, min_size=1, max_size=3))]
        else:
            places = list(range(index, index + draw(st.integers(1, 2))))
            index = places[-1] + 1
            signature = st.sampled_from([None, "thought"])
            events += [
                ToolUseStart(place, f"id{place}", draw(NAMES), thought_signature=draw(signature)) for place in places
            ]
            for place in draw(st.lists(st.sampled_from(places), max_size=4)):
                events.append(ToolUseDelta(place, draw(WORDS)))
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    return [*events, MessageDelta(finish, "its own word")]  # type: ignore[arg-type]


@law
@given(st.lists(st.tuples(st.lists(WORDS, max_size=3), st.text("abc", min_size=1, max_size=3)), max_size=4))
def test_each_signature_ends_its_own_block_of_reasoning(signed: list[tuple[list[str], str]]) -> None:
    events: list[StreamEvent] = []
    for texts, signature in signed:
        events += [*map(ThinkingDelta, texts), ThinkingDelta("", signature)]
    said = [(block.text, block.signature) for block in fold(events).blocks if isinstance(block, AnsweredThinking)]
    # An empty fragment says nothing, so it begins no block either.
    assert said == [("".join(texts), signature) for texts, signature in signed]


@law
@given(st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=4))
def test_neighbours_of_a_signature_alone_stay_apart(signatures: list[str]) -> None:
    blocks = fold([ThinkingDelta("", signature) for signature in signatures]).blocks
    assert blocks == tuple(AnsweredThinking("", signature) for signature in signatures)


def heard(stream: bytes) -> tuple[list[StreamEvent], int]:
    reader, decoder = StreamReader(), EventDecoder()
    frames = reader.feed(stream) + reader.close()
    assert reader.done
    events = [event for frame in frames for event in decoder.events(frame)]
    return events, sum(frame.text_bytes for frame in frames)


@law
@given(told(), st.booleans(), st.integers(1, 5))
def test_a_stream_that_was_written_tells_what_was_told(events: list[StreamEvent], asked: bool, step: int) -> None:
    writer = StreamWriter(terms("anthropic"), include_usage=asked)
    stream = b"".join(writer.write(events[start : start + step]) for start in range(0, len(events), step))
    stream += writer.finish(closing(Usage(3, 4)))
    told_again, text_bytes = heard(stream)
    first, second = fold(events), fold(told_again)
    assert second.blocks == first.blocks
    assert (second.content, second.thinking, second.tool_calls) == (first.content, first.thinking, first.tool_calls)
    assert (second.finish_reason, second.model) == (first.finish_reason, "slug")
    assert second.usage == (Usage(3, 4) if asked else None)
    assert writer.text_bytes == text_bytes


def shape(response: ChatResponse) -> tuple[Any, ...]:
    thinking = [
        (block.text, block.signature, block.redacted)
        for block in response.blocks
        if isinstance(block, AnsweredThinking)
    ]
    signed = any(signature or redacted for _, signature, redacted in thinking)
    return (
        response.content,
        response.thinking,
        response.tool_calls,
        response.finish_reason,
        thinking if signed else None,
    )


@law
@given(st.one_of(told(makers=frozenset({True})), told(makers=frozenset({False}))))
def test_plain_and_streamed_say_the_same(events: list[StreamEvent]) -> None:
    end = closing(Usage(3, 4))
    writer = StreamWriter(terms("anthropic"), include_usage=True)
    streamed = fold(heard(writer.write(events) + writer.finish(end))[0])
    plain = read_answer(write_answer(fold(events), end, terms("anthropic")))
    assert shape(plain.response) == shape(streamed) == shape(fold(events))
    assert plain.usage == streamed.usage
    assert plain.text_bytes == writer.text_bytes


KEYS = st.sampled_from(
    [
        "name",
        "refusal",
        "reasoning_content",
        "thinking_blocks",
        "provider_specific_fields",
        "extra_content",
        "cache_control",
        "x",
    ]
)
EXTRAS = st.dictionaries(KEYS, st.sampled_from([None, "v"]), max_size=3)
UNNAMED = EXTRAS.map(lambda extra: {key: value for key, value in extra.items() if key != "name"})


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for role in draw(
        st.lists(st.sampled_from(["system", "developer", "user", "assistant", "tool"]), min_size=1, max_size=4)
    ):
        extra: dict[str, Any] = {key: value for key, value in draw(EXTRAS).items() if key != "thinking_blocks"}
        if role == "assistant":
            extra["tool_calls"] = [
                {"id": draw(IDS), "type": "function", "function": {"name": "f", "arguments": "{}"} | draw(UNNAMED)}
                | draw(EXTRAS)
            ]
        if role == "tool":
            extra["tool_call_id"] = draw(IDS)
        content = draw(st.sampled_from(["c", [{"type": "text", "text": "t"} | draw(EXTRAS)]]))
        messages.append({"role": role, "content": content} | extra)
    return messages


def cleaned(messages: list[dict[str, Any]], to: Terms) -> list[dict[str, Any]]:
    """The same rule once more, by the longest way."""
    refused = refused_marks(to.provider)
    strict = message_fields(to.provider, to.quirks)

    def kept(value: dict[str, Any], known: frozenset[str] | None) -> dict[str, Any]:
        return {key: inner for key, inner in value.items() if key not in refused and (known is None or key in known)}

    def same_id(value: Any) -> Any:
        return nine_chars(value) if isinstance(value, str) and "nine_char_tool_ids" in to.quirks else value

    out: list[dict[str, Any]] = []
    for message in messages:
        new = kept(message, strict)
        if isinstance(new["content"], list):
            new["content"] = [kept(part, None) for part in new["content"]]
        if "tool_calls" in new:
            calls = [
                kept(call, frozenset({"id", "type", "function"}) if strict else None) for call in new["tool_calls"]
            ]
            new["tool_calls"] = [
                call
                | {
                    "id": same_id(call["id"]),
                    "function": kept(call["function"], frozenset({"name", "arguments"}) if strict else None),
                }
                for call in calls
            ]
        if "tool_call_id" in new:
            new["tool_call_id"] = same_id(new["tool_call_id"])
        if new["role"] == "developer" and not takes_developer(to.provider):
            new["role"] = "system"
        out.append(new)
    return out


@law
@given(histories(), st.sampled_from(["openai", "mistral", "gemini", "deepseek", "groq", "openrouter", "local"]))
def test_cleaning_takes_out_what_it_names_and_nothing_else(messages: list[dict[str, Any]], provider: str) -> None:
    quirks: dict[str, frozenset[str]] = {
        "mistral": frozenset({"nine_char_tool_ids", "known_message_fields_only"}),
        "groq": frozenset({"known_message_fields_only"}),
    }
    to = terms(provider, quirks.get(provider, frozenset()))
    sent = json.dumps({"model": "m", "messages": messages, "max_tokens": 1}, indent=1).encode()
    written = write_upstream(parse(sent, flat=False), to)
    expected = cleaned(messages, to)
    assert json.loads(written.body)["messages"] == expected
    if expected == messages:
        assert written.body == sent.replace(b'"model": "m"', b'"model": "up"').replace(
            b'"max_tokens": 1', b'"max_tokens": 7'
        )
        assert written.dropped == ()
    # Each name is a path to something that was there, and is not null.
    for path in written.dropped:
        value: Any = messages
        for step in path.removeprefix("messages").replace("[", ".").replace("]", "").strip(".").split("."):
            value = value[int(step)] if step.isdigit() else value[step]
        assert value is not None


SENT = [json.loads(case.data("sent")) for name in ("crossed", "upstream", "refused") for case in cases(name)]
ODD = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], ["x"], [{}], {}, {"type": "x"}, {"type": "function"}])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def with_odd(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_odd(value[path[0]], path[1:], odd)
    return copy


@settings(law, max_examples=400)
@given(st.data(), st.sampled_from(SENT), st.sampled_from(["openai", "mistral", "gemini", "deepseek", "openrouter"]))
def test_whatever_is_let_through_is_carried_or_refused_by_name(
    data: st.DataObject, sent: dict[str, Any], provider: str
) -> None:
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(sent)[1:]))
        sent = with_odd(sent, path, data.draw(ODD))
    to = terms(
        provider, frozenset({"nine_char_tool_ids", "known_message_fields_only"} if provider == "mistral" else ())
    )
    parsed: ParsedChat | None = None
    problem: ParseError | UnsupportedError | None = None
    written: Written | None = None
    try:
        parsed = parse(json.dumps(sent).encode(), flat=False)
        written = write_request(read_conversation(parsed), to, stream=parsed.request.stream)
    except (ParseError, UnsupportedError) as exc:
        problem = exc
    assert (written is None) is (problem is not None)
    if parsed is not None:
        json.loads(write_upstream(parsed, to).body)
    if written is not None:
        parse(written.body, flat=False)
    if problem is not None:
        assert problem.field
        assert problem.message
