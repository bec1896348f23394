"""Golden cases of the Anthropic codec: one file each, made of sections.

A section begins with a line ``== name`` and holds bytes as they are, without the newline before the next section. The
sections that a family computes from its input are those that a test compares.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from ainfera_gateway.canonical.conversation import UnsupportedError
from ainfera_gateway.canonical.events import fold
from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.anthropic_messages.answer import read_answer, write_answer
from ainfera_gateway.wire.anthropic_messages.build import write_request
from ainfera_gateway.wire.anthropic_messages.conversation import read_conversation
from ainfera_gateway.wire.anthropic_messages.errors import error_body, error_frame
from ainfera_gateway.wire.anthropic_messages.passage import MessagesPassage
from ainfera_gateway.wire.anthropic_messages.request import ThreadUnsupportedError, parse
from ainfera_gateway.wire.anthropic_messages.stream import EventDecoder, StreamReader
from ainfera_gateway.wire.anthropic_messages.writer import StreamWriter
from ainfera_gateway.wire.openai_chat.answer import read_answer as read_chat_answer
from ainfera_gateway.wire.openai_chat.conversation import read_conversation as read_chat_conversation
from ainfera_gateway.wire.openai_chat.request import parse as parse_chat
from ainfera_gateway.wire.openai_chat.stream import EventDecoder as ChatEventDecoder
from ainfera_gateway.wire.openai_chat.stream import StreamReader as ChatStreamReader
from ainfera_gateway.wire.passage import Closing, Terms

FOLDER = Path(__file__).parent / "golden" / "anthropic"
_SECTION = re.compile(rb"^== ([a-z_]+)\n", re.MULTILINE)
Sections = dict[str, bytes]


def cases(family: str) -> list[str]:
    """The names of a family's cases, sorted."""
    return sorted(path.stem for path in (FOLDER / family).glob("*.txt"))


def load(family: str, name: str) -> Sections:
    """The sections of one case."""
    pieces = _SECTION.split((FOLDER / family / f"{name}.txt").read_bytes())
    assert pieces[0] == b"", f"{family}/{name} does not begin with a section"
    return {key.decode(): value[:-1] for key, value in zip(pieces[1::2], pieces[2::2], strict=True)}


def terms(**changes: Any) -> Terms:
    """Terms of an attempt at the provider of this dialect, or as ``changes`` say."""
    told: dict[str, Any] = {
        "wire": "anthropic_messages",
        "provider": "anthropic",
        "slug": "claude-opus-4-7",
        "upstream_model": "claude-opus-4-7",
        "max_tokens": 4096,
        "inference_id": "0199-17",
        "created_s": 1_790_000_000,
        "input_tokens": 25,
    }
    told |= changes
    return Terms(**told | {"drop_fields": frozenset(told.get("drop_fields", ()))})


def closing(usage: Usage | None = None) -> Closing:
    """What is known once a call is settled."""
    return Closing(
        agent_id="agent",
        inference_id="0199-17",
        receipt_id="receipt",
        audit_url="https://gateway.example/v1/audit/agent/verify",
        provider="openai",
        model="gpt-5-5",
        cost_usd="0.000665",
        usage=usage or Usage(100, 20),
    )


def outcome(family: str, sections: Sections) -> Sections:
    """What the codec makes of a case's input."""
    return _FAMILIES[family](sections)


def plain(value: Any) -> bytes:
    """``value`` as readable JSON, without what has its default, with bytes as text."""
    return json.dumps(_bare(value), indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _bare(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        defaults = dict(zip(reversed(value.__struct_fields__), reversed(value.__struct_defaults__), strict=False))
        told = {
            name: _bare(getattr(value, name))
            for name in value.__struct_fields__
            if name not in defaults or getattr(value, name) != defaults[name]
        }
        return {type(value).__name__: told}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {name: _bare(item) for name, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value


def _lines(values: tuple[str, ...]) -> bytes:
    return "\n".join(values).encode()


def _options(sections: Sections) -> dict[str, Any]:
    return json.loads(sections["terms"]) if "terms" in sections else {}


def _request(sections: Sections) -> Sections:
    """The caller's body to the provider of the same dialect, and what the house reads of it."""
    try:
        parsed = parse(sections["body"])
    except ThreadUnsupportedError as exc:
        return {"refused": json.dumps([exc.field, exc.message, exc.details]).encode()}
    except ParseError as exc:
        return {"refused": json.dumps([exc.field, exc.message]).encode()}
    passage = MessagesPassage(parsed, terms(**_options(sections)))
    return {"facts": plain(parsed.request), "upstream": passage.body, "dropped": _lines(passage.dropped)}


def _conversation(sections: Sections) -> Sections:
    """The caller's body for a model of another dialect."""
    try:
        return {"conversation": plain(read_conversation(parse(sections["body"])))}
    except UnsupportedError as exc:
        return {"refused": json.dumps([exc.field, exc.message]).encode()}


def _build(sections: Sections) -> Sections:
    """A chat completions body, written for the provider of this dialect."""
    parsed = parse_chat(sections["chat"], flat=False)
    try:
        conversation = read_chat_conversation(parsed)
        written = write_request(conversation, terms(**_options(sections)), stream=parsed.request.stream)
    except UnsupportedError as exc:
        return {"refused": json.dumps([exc.field, exc.message]).encode()}
    return {"upstream": written.body, "dropped": _lines(written.dropped)}


def _answer_read(sections: Sections) -> Sections:
    try:
        answer = read_answer(sections["answer"])
    except ParseError as exc:
        return {"refused": json.dumps([exc.field, exc.message]).encode()}
    return {"read": plain(answer)}


def _answer_relayed(sections: Sections) -> Sections:
    parsed = parse(b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}')
    passage = MessagesPassage(parsed, terms())
    body = sections["answer"]
    return {"relayed": passage.whole(passage.read_answer(body), body, closing())}


def _answer_written(sections: Sections) -> Sections:
    """A chat completions answer, written for a caller of this dialect who asked for reasoning, and for one who did not."""
    answer = read_chat_answer(sections["chat"])
    foreign = terms(**{"wire": "openai_chat", "provider": "openai", "slug": "gpt-5-5"} | _options(sections))
    settled = closing(answer.usage)
    return {
        "written": write_answer(answer.response, settled, foreign),
        "thinking": write_answer(answer.response, settled, foreign, show_thinking=True),
    }


def _stream_read(sections: Sections) -> Sections:
    reader, decoder = StreamReader(), EventDecoder()
    frames = reader.feed(sections["stream"]) + reader.close()
    events = [event for frame in frames for event in decoder.events(frame)]
    seen = ["/".join(filter(None, [frame.kind, frame.name, "visible" if frame.visible else ""])) for frame in frames]
    end = {"complete": reader.complete, "done": reader.done, "native": reader.finish_reason_native}
    return {
        "frames": _lines(tuple(seen)),
        "events": b"\n".join(
            json.dumps(_bare(event), ensure_ascii=False).encode("utf-8", "backslashreplace") for event in events
        ),
        "end": plain([end, reader.usage, fold(events)]),
    }


def _stream_relayed(sections: Sections) -> Sections:
    parsed = parse(b'{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}')
    passage = MessagesPassage(parsed, terms())
    reader = passage.reader()
    frames = reader.feed(sections["stream"]) + reader.close()
    before = b"".join(map(passage.relay, frames))
    return {"relayed": before, "finish": passage.finish(closing()), "text_bytes": b"%d" % passage.text_bytes}


def _stream_written(sections: Sections) -> Sections:
    """A chat completions stream, written for a caller of this dialect who asked for reasoning."""
    reader, decoder = ChatStreamReader(), ChatEventDecoder()
    writer = StreamWriter(terms(wire="openai_chat", provider="openai", slug="gpt-5-5"), show_thinking=True)
    frames = reader.feed(sections["chat"]) + reader.close()
    out = b"".join(writer.write(decoder.events(frame)) for frame in frames)
    return {"written": out + writer.finish(closing(reader.usage)), "text_bytes": b"%d" % writer.text_bytes}


def _error(sections: Sections) -> Sections:
    told = json.loads(sections["error"])
    request_id = told.pop("request_id", "")
    body = error_body(**told, request_id=request_id)
    told.pop("param", None)
    return {"body": body, "frame": error_frame(**told, request_id=request_id)}


_FAMILIES = {
    "request": _request,
    "conversation": _conversation,
    "build": _build,
    "answer_read": _answer_read,
    "answer_relayed": _answer_relayed,
    "answer_written": _answer_written,
    "stream_read": _stream_read,
    "stream_relayed": _stream_relayed,
    "stream_written": _stream_written,
    "error": _error,
}
FAMILIES = tuple(_FAMILIES)
