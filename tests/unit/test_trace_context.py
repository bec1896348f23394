"""W3C trace context: valid headers are taken, anything else is ignored whole."""

from __future__ import annotations

import pytest

from ainfera_gateway.api.trace_context import trace_context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_valid_traceparent_is_continued() -> None:
    found = trace_context(f"00-{TRACE}-{SPAN}-01", None)
    assert (found.trace_id, found.parent_id) == (TRACE, SPAN)
    assert found.span_id != SPAN
    assert found.traceresponse == f"00-{TRACE}-{found.span_id}-01"


def test_a_later_version_may_say_more() -> None:
    assert trace_context(f"01-{TRACE}-{SPAN}-01-more", None).trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_an_invalid_traceparent_is_ignored_whole(header: str) -> None:
    found = trace_context(header, None)
    assert found.trace_id != TRACE
    assert found.parent_id is None
    assert len(found.trace_id) == 32


def test_the_own_header_serves_where_traceparent_cannot() -> None:
    assert trace_context(None, TRACE).trace_id == TRACE
    assert trace_context("garbage", TRACE).trace_id == TRACE
    assert trace_context(None, "0" * 32).trace_id != "0" * 32
    other = "a" * 32
    assert trace_context(f"00-{TRACE}-{SPAN}-01", other).trace_id == TRACE
