"""The golden bytes of the OpenAI dialect, in both roles and every direction."""

from __future__ import annotations

import pytest

from ainfera_gateway.canonical.conversation import UnsupportedError
from ainfera_gateway.canonical.usage import Usage
from ainfera_gateway.wire.openai_chat.answer import read_answer, splice_answer, write_answer
from ainfera_gateway.wire.openai_chat.build import write_request
from ainfera_gateway.wire.openai_chat.conversation import read_conversation
from ainfera_gateway.wire.openai_chat.flat import whole_flat
from ainfera_gateway.wire.openai_chat.relay import StreamRelay
from ainfera_gateway.wire.openai_chat.request import parse
from ainfera_gateway.wire.openai_chat.shared_members import ainfera_object
from ainfera_gateway.wire.openai_chat.stream import EventDecoder, Frame, StreamReader
from ainfera_gateway.wire.openai_chat.upstream import write_upstream
from ainfera_gateway.wire.openai_chat.writer import StreamWriter
from tests.wire.openai_cases import Case, cases, closing

UNKNOWN = Usage(1, 2)  # what the house estimates where the provider says nothing


def named(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases(name)])


def shown(usage: Usage | None) -> str:
    if usage is None:
        return "none"
    told = ((name, getattr(usage, name)) for name in usage.__struct_fields__)
    return " ".join(f"{name}={value}" for name, value in told if value is not None)


def test_there_are_enough_of_them_and_no_name_twice() -> None:
    names = [case.name for name in ("upstream", "crossed", "refused", "streams", "answers") for case in cases(name)]
    assert len(names) >= 80
    assert len(set(names)) >= len(names) - 3  # three appear plain and streamed


@named("upstream")
def test_what_goes_to_a_provider_of_the_same_dialect(case: Case) -> None:
    written = write_upstream(parse(case.data("sent"), flat=False), case.terms())
    assert written.body == case.data("upstream")
    assert "\n".join(written.dropped) == case.sections["dropped"]


@named("crossed")
def test_what_is_read_and_written_anew(case: Case) -> None:
    parsed = parse(case.data("sent"), flat=False)
    written = write_request(read_conversation(parsed), case.terms(), stream=parsed.request.stream)
    assert written.body == case.data("written")
    assert "\n".join(written.dropped) == case.sections["dropped"]


@named("refused")
def test_what_cannot_be_carried_is_refused_by_field(case: Case) -> None:
    parsed = parse(case.data("sent"), flat=False)
    with pytest.raises(UnsupportedError) as refused:
        write_request(read_conversation(parsed), case.terms(), stream=False)
    assert f"{refused.value.field}: {refused.value.message}" == case.sections["refused"]


def frames_of(stream: bytes, size: int) -> tuple[StreamReader, list[Frame]]:
    reader = StreamReader()
    frames = [frame for start in range(0, len(stream), size) for frame in reader.feed(stream[start : start + size])]
    return reader, frames + reader.close()


@pytest.mark.parametrize("size", [100_000, 7, 1])
@named("streams")
def test_streams_relayed_and_written_anew(case: Case, size: int) -> None:
    reader, frames = frames_of(case.stream("provider"), size)
    relay = StreamRelay(model="slug-1", include_usage=True)
    writer = StreamWriter(case.terms(), include_usage=True)
    decoder = EventDecoder()
    relayed = b"".join(relay.relay(frame) for frame in frames)
    written = b"".join(writer.write(decoder.events(frame)) for frame in frames)
    assert shown(reader.usage) == case.sections["usage"]
    if reader.complete:
        end = closing(reader.usage or UNKNOWN)
        relayed += relay.finish(end)
        written += writer.finish(end)
    assert relayed == case.stream("relayed")
    assert written == case.stream("written")


@named("answers")
def test_plain_answers_spliced_flattened_and_written_anew(case: Case) -> None:
    body = case.data("provider")
    answer = read_answer(body)
    end = closing(answer.usage or UNKNOWN)
    assert shown(answer.usage) == case.sections["usage"]
    assert splice_answer(body, "slug-1", ainfera_object(end)) == case.data("spliced")
    assert whole_flat(answer, end) == case.data("flat")
    assert write_answer(answer.response, end, case.terms()) == case.data("written")
