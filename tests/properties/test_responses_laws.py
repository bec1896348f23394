"""Laws of the responses codec."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.canonical.conversation import (
    Choice,
    Conversation,
    Format,
    Image,
    Reasoning,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    Turn,
)
from ainfera_gateway.canonical.events import fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.openai_responses.answer import read_answer
from ainfera_gateway.wire.openai_responses.build import write_request
from ainfera_gateway.wire.openai_responses.stream import StreamReader
from tests.wire.responses_requests import TERMS
from tests.wire.responses_shown import events_of, read_stream

law = settings(max_examples=100, deadline=None, database=None)
TEXT = st.text(st.sampled_from('aé🚀 \n"\\{}:,'), max_size=12)
CUTS = st.lists(st.integers(0, 10_000), max_size=6)
COUNT = st.integers(0, 99)

PART_OF = {
    "output_text": ("response.output_text", "text", "content_index"),
    "refusal": ("response.refusal", "refusal", "content_index"),
    "summary_text": ("response.reasoning_summary_text", "text", "summary_index"),
    "reasoning_text": ("response.reasoning_text", "text", "content_index"),
}


@st.composite
def items(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The output of a response, as it stands in its last event."""
    output: list[dict[str, Any]] = []
    for place, kind in enumerate(
        draw(st.lists(st.sampled_from(["message", "reasoning", "function_call"]), max_size=4))
    ):
        item: dict[str, Any] = {"id": f"it_{place}", "type": kind}
        if kind == "message":
            kinds = draw(st.lists(st.sampled_from(["output_text", "refusal"]), max_size=2))
            item["content"] = [{"type": sort, PART_OF[sort][1]: draw(TEXT)} for sort in kinds]
        elif kind == "reasoning":
            item["summary"] = [{"type": "summary_text", "text": draw(TEXT)} for _ in range(draw(st.integers(0, 2)))]
            item["content"] = [{"type": "reasoning_text", "text": draw(TEXT)} for _ in range(draw(st.integers(0, 1)))]
        else:
            item |= {"call_id": f"call_{place}", "name": "f", "arguments": draw(TEXT)}
        output.append(item)
    return output


def fragments(draw: st.DrawFn, text: str) -> list[str]:
    bounds = [0, *sorted(draw(st.lists(st.integers(0, len(text)), max_size=3))), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def documents_of(draw: st.DrawFn, place: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    """How one item is told: begun, in fragments, each part done, the item done. Fragments or the rest may lack."""
    told = draw(st.sampled_from(["all", "no_fragments", "no_done_parts", "item_only"]))
    where = {"output_index": place, "item_id": item["id"]}
    bare = {name: value for name, value in item.items() if name not in {"content", "summary"}}
    if "arguments" in bare:
        bare["arguments"] = ""
    documents: list[dict[str, Any]] = []
    if told != "item_only":
        documents.append({"type": "response.output_item.added", "output_index": place, "item": bare})
    parts = [
        (PART_OF[part["type"]], number, part)
        for name in ("summary", "content")
        for number, part in enumerate(item.get(name, ()))
    ]
    spoken = [(event, member, {**where, index: number}, part[member]) for (event, member, index), number, part in parts]
    if "arguments" in item:
        spoken.append(("response.function_call_arguments", "arguments", where, item["arguments"]))
    for event, member, at, text in spoken:
        if told in {"all", "no_done_parts"}:
            documents += [{"type": f"{event}.delta", **at, "delta": piece} for piece in fragments(draw, text)]
        if told in {"all", "no_fragments"}:
            documents.append({"type": f"{event}.done", **at, member: text})
    return [*documents, {"type": "response.output_item.done", "output_index": place, "item": item}]


@st.composite
def told_twice(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One answer, plain and streamed."""
    output = draw(items())
    usage = draw(
        st.none()
        | st.fixed_dictionaries(
            {"input_tokens": COUNT, "output_tokens": COUNT},
            optional={"input_tokens_details": st.fixed_dictionaries({"cached_tokens": COUNT})},
        )
    )
    response: dict[str, Any] = {"id": "r", "status": "completed", "model": "m", "output": output, "usage": usage}
    reason = draw(st.sampled_from([None, "max_output_tokens", "content_filter"]))
    if reason is not None:
        response |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
    documents: list[dict[str, Any]] = [{"type": "response.created", "response": {"model": "early"}}]
    if not draw(st.booleans()) or not output:
        for place, item in enumerate(output):
            documents += documents_of(draw, place, item)
    documents.append({"type": f"response.{response['status']}", "response": response})
    stream = b""
    for document in documents:
        end = draw(st.sampled_from(["\n", "\r\n"]))
        named = f"event: {document['type']}{end}" if draw(st.booleans()) else ""
        data = json.dumps(document, ensure_ascii=draw(st.booleans()))
        stream += f"{named}data: {data}{end}{end}".encode()
        stream += draw(st.sampled_from([b"", b"", b": ping\n\n"]))
    return json.dumps(response).encode(), stream


@law
@given(told_twice(), CUTS)
def test_a_stream_folds_into_the_plain_answer_however_it_is_cut(case: tuple[bytes, bytes], cuts: list[int]) -> None:
    plain, stream = case
    answer = read_answer(plain)
    reader, frames = read_stream(stream, cuts)
    assert frames == read_stream(stream)[1]
    assert fold(events_of(frames)) == answer.response
    assert (reader.usage, reader.finish_reason, reader.model) == (answer.usage, answer.finish_reason, answer.model)
    assert sum(frame.text_chars for frame in frames) == answer.text_chars
    assert sum(frame.text_bytes for frame in frames) == answer.text_bytes
    assert reader.complete
    assert reader.visible is any(frame.visible for frame in frames)


DOCUMENTS = st.sampled_from(
    [
        b'{"type":"response.output_text.delta","delta":"\xc3\xa9"}',
        b'{"type":"response.output_item.done","item":{"type":"function_call","name":7,"call_id":[]}}',
        b'{"type":"response.output_item.added","output_index":"x","item":{"type":"function_call","call_id":"c"}}',
        b'{"type":"response.completed","response":{"status":["x"],"output":[{"type":"message","content":[[]]}]}}',
        b'{"type":"response.output_text.delta","delta":"\\ud83d"}',
        b'{"type":"response.function_call_arguments.delta","delta":"\\ude00","item_id":["x"]}',
        b'{"type":["x"],"response":7,"error":[]}',
        b'{"type":"response.failed"}',
        b'{"type":',
    ]
)
PIECES = (
    st.sampled_from([b"data: ", b"\n", b"\r\n\r\n", b"\n\n", b": c", b"event: error\n", b"[DONE]", b"\xff"])
    | DOCUMENTS
    | DOCUMENTS.map(lambda document: b"data: " + document + b"\n\n")
)


@law
@given(st.lists(PIECES, max_size=25), CUTS)
def test_a_stream_of_anything_is_read_the_same_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    reader, frames = read_stream(stream, cuts)
    assert frames == read_stream(stream)[1]
    assert {frame.kind for frame in frames} <= {"chunk", "done", "comment", "error", "garbage"}
    for event in events_of(frames):
        # Whatever came, it can be written on as UTF-8.
        msgspec.json.encode(event)
    assert reader.visible is any(frame.visible for frame in frames)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "message", "function_call", "completed", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "output", "content", "text", "usage", "status", "item", "response", "error", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@law
@given(JSON, st.binary(max_size=60))
def test_no_answer_breaks_a_reader(document: Any, noise: bytes) -> None:
    body = json.dumps(document).encode()
    for sent in (body, noise):
        with contextlib.suppress(ParseError):
            assert read_answer(sent).text_bytes >= 0
    reader = StreamReader()
    assert reader.feed(b"data: " + body + b"\n\n")


def read_back(body: dict[str, Any]) -> Conversation:
    """A request of this wire as the conversation it was made from, for what both can say."""
    turns: list[Turn] = []
    if "instructions" in body:
        turns.append(Turn("system", (Text(body["instructions"]),)))
    for item in body["input"]:
        turn = _turn(item)
        if turns and turns[-1].role == turn.role and (item["type"] != "message" or turn.role == "assistant"):
            turns[-1] = Turn(turn.role, turns[-1].parts + turn.parts)
        elif turns and turn.role == turns[-1].role == "user" and isinstance(turns[-1].parts[-1], ToolResult):
            turns[-1] = Turn("user", turns[-1].parts + turn.parts)
        else:
            turns.append(turn)
    choice = body.get("tool_choice")
    wanted = body.get("text", {}).get("format")
    reasoning = body.get("reasoning", {})
    return Conversation(
        turns=tuple(turns),
        tools=tuple(
            ToolSpec(tool["name"], tool.get("description"), _dumped(tool["parameters"]), tool["strict"])
            for tool in body.get("tools", ())
        ),
        choice=Choice("named", choice["name"]) if isinstance(choice, dict) else choice and Choice(choice),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        format=wanted
        and Format(wanted["type"], wanted.get("name"), _dumped(wanted.get("schema")), wanted.get("strict")),
        reasoning=Reasoning(effort=reasoning.get("effort"), summary=reasoning.get("summary")) if reasoning else None,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        user=body.get("safety_identifier"),
    )


def _dumped(value: Any) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _turn(item: dict[str, Any]) -> Turn:
    if item["type"] == "function_call":
        return Turn("assistant", (ToolUse(item["call_id"], item["name"], item["arguments"]),))
    if item["type"] == "function_call_output":
        output = item["output"]
        parts = (Text(output),) if isinstance(output, str) else tuple(map(_part, output))
        return Turn("user", (ToolResult(item["call_id"], parts),))  # type: ignore[arg-type]
    role = {"developer": "system"}.get(item["role"], item["role"])
    content = item["content"]
    return Turn(role, (Text(content),) if isinstance(content, str) else tuple(map(_part, content)))


def _part(part: dict[str, Any]) -> Text | Image:
    if part["type"] == "input_text":
        return Text(part["text"])
    return Image(url=part["image_url"], detail=part["detail"])


WORDS = st.text(st.sampled_from("aé🚀 \n"), min_size=1, max_size=8)
SAID = st.builds(Text, WORDS) | st.builds(
    Image, url=st.just("https://e.com/a"), detail=st.sampled_from(["auto", "low"])
)
SCHEMAS = st.sampled_from([b"{}", b'{"type":"object"}'])


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """What this wire carries whole: turns by turn about, calls with their results behind them."""
    turns: list[Turn] = [Turn("system", (Text(draw(WORDS)),))] if draw(st.booleans()) else []
    pending: tuple[ToolResult, ...] = ()
    for number in range(draw(st.integers(1, 3))):
        said = tuple(draw(st.lists(SAID, min_size=0 if pending else 1, max_size=3)))
        turns.append(Turn("user", pending + said))
        calls = tuple(ToolUse(f"call_{number}_{place}", "f", "{}") for place in range(draw(st.integers(0, 2))))
        words = (Text(draw(WORDS)),) if not calls or draw(st.booleans()) else ()
        turns.append(Turn("assistant", words + calls))
        results = st.lists(SAID, min_size=2, max_size=2) | st.lists(st.builds(Text, WORDS), min_size=1, max_size=1)
        pending = tuple(ToolResult(call.id, tuple(draw(results))) for call in calls)
    turns.append(Turn("user", (*pending, Text("?"))))
    tools = draw(st.lists(st.builds(ToolSpec, st.just("f"), st.none() | WORDS, SCHEMAS, st.booleans()), max_size=2))
    modes = st.sampled_from([Choice("auto"), Choice("none"), Choice("required"), Choice("named", "f")])
    formats = st.builds(Format, st.just("json_schema"), st.just("n"), SCHEMAS, st.booleans())
    plain = st.sampled_from([Format("text"), Format("json_object")])
    return Conversation(
        turns=tuple(turns),
        tools=tuple(tools),
        choice=draw(st.none() | modes),
        parallel_tool_calls=draw(st.none() | st.booleans()),
        format=draw(st.none() | plain | formats),
        reasoning=draw(
            st.none() | st.builds(Reasoning, effort=st.sampled_from(["low", "max"]), summary=st.just("auto"))
        ),
        temperature=draw(st.none() | st.sampled_from([0.0, 0.5, 2.0])),
        top_p=draw(st.none() | st.sampled_from([0.0, 1.0])),
        user=draw(st.none() | WORDS),
    )


@law
@given(conversations(), st.booleans())
def test_what_is_written_is_what_was_said(conversation: Conversation, stream: bool) -> None:
    written = write_request(conversation, TERMS, stream=stream)
    body = json.loads(written.body)
    assert read_back(body) == conversation
    assert written.dropped == ()
    assert body.get("stream", False) is stream
    again = write_request(read_back(body), TERMS, stream=stream)
    assert again.body == written.body
