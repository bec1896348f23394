"""W3C trace context of a request: taken from the caller when valid, minted otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ainfera_gateway.ids import random_bytes

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_ZERO_TRACE = "0" * 32
_ZERO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    """``trace_id`` 32 hex, our ``span_id`` 16 hex, the caller's ``parent_id`` or None."""

    trace_id: str
    span_id: str
    parent_id: str | None

    @property
    def traceresponse(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


def trace_context(traceparent: str | None, trace_id_header: str | None) -> TraceContext:
    """``traceparent`` wins, then ``X-Ainfera-Trace-Id``; an invalid header is ignored whole."""
    span_id = random_bytes(8).hex()
    if traceparent is not None:
        parsed = _TRACEPARENT.fullmatch(traceparent)
        if parsed and _acceptable(parsed):
            return TraceContext(parsed.group(2), span_id, parsed.group(3))
    if trace_id_header is not None and _TRACE_ID.fullmatch(trace_id_header) and trace_id_header != _ZERO_TRACE:
        return TraceContext(trace_id_header, span_id, None)
    return TraceContext(random_bytes(16).hex(), span_id, None)


def _acceptable(parsed: re.Match[str]) -> bool:
    version, trace_id, parent_id, _, more = parsed.groups()
    if version == "ff" or (version == "00" and more):
        return False
    return trace_id != _ZERO_TRACE and parent_id != _ZERO_SPAN
