from __future__ import annotations

import pytest

from ainfera_gateway.wire.sse import SseSplitter, read_event


def split(*chunks: bytes) -> list[bytes]:
    splitter = SseSplitter()
    return [event for chunk in chunks for event in splitter.feed(chunk)]


def test_events_come_whole_with_either_line_end() -> None:
    assert split(b"data: a\n\ndata: b\r\n\r\ndata: c\n\r\n: x\n\n") == [
        b"data: a\n\n",
        b"data: b\r\n\r\n",
        b"data: c\n\r\n",
        b": x\n\n",
    ]


def test_a_terminator_cut_anywhere_ends_the_event_at_once() -> None:
    assert split(b"data: a\r", b"\n", b"\r", b"\n") == [b"data: a\r\n\r\n"]
    assert split(b"data: a\n", b"\n") == [b"data: a\n\n"]


def test_an_event_leaves_before_the_next_one_comes() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\n\nda") == [b"data: a\n\n"]
    assert splitter.rest() == b"da"
    assert splitter.rest() == b""


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_byte_order_mark_is_no_part_of_the_first_event(cut: int) -> None:
    stream = b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"
    assert split(stream[:cut], stream[cut:]) == [b"data: a\n\n", b"\xef\xbb\xbfdata: b\n\n"]


def test_the_bound_holds_for_one_event_not_for_the_stream() -> None:
    splitter = SseSplitter(event_bytes_max=10)
    assert len(splitter.feed(b"data: a\n\n" * 10)) == 10
    assert splitter.feed(b"data: 0123456789") == []
    assert splitter.overflowed
    assert splitter.feed(b"\n\ndata: a\n\n") == []
    assert splitter.rest() == b""


@pytest.mark.parametrize(
    ("raw", "data", "plain"),
    [
        (b"data: x\n\n", b"x", True),
        (b"data:x\r\n\r\n", b"x", True),
        (b"data:  x \n\n", b" x ", True),
        (b"data: x", b"x", True),
        (b"data: a\ndata: b\n\n", b"a\nb", False),
        (b"event: e\ndata: a\n\n", b"a", False),
        (b"\ndata: a\n\n", b"a", False),
        (b"data\n\n", b"", False),
        (b": x\n\n", None, False),
        (b"id: 1\nretry: 5\n\n", None, False),
        (b"\n\n", None, False),
    ],
)
def test_the_payload_of_an_event(raw: bytes, data: bytes | None, plain: bool) -> None:
    event = read_event(raw)
    assert (event.data, event.plain, event.strange) == (data, plain, False)
    if plain and data is not None:
        assert raw[event.data_start :].startswith(data)


def test_names_and_strangers() -> None:
    assert read_event(b"event: error\ndata: {}\n\n").name == "error"
    assert read_event(b'error: {"code":500}\n\n') == read_event(b'event: error\ndata: {"code":500}\n\n')
    assert read_event(b"<html>\n\n").strange
