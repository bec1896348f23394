"""Verification of a stored chain. It shares no code with the writer: the rules are written down here a second time.

An event is good when its seq is the next one, its stored bytes are the canonical form of what they say, both
hashes follow from those bytes and the predecessor, and the columns beside the bytes say what the bytes say (the
published rules hash the payload alone, so a column could be changed without breaking a hash).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from ainfera_gateway.audit.events import Checkpoint, StoredEvent, VerifyResult

KNOWN_VERSIONS = frozenset({1})
_ZERO_LINK = "0" * 64
_LARGEST_INT = 9_007_199_254_740_992


class _NotCanonicalError(ValueError):
    pass


def _refuse(token: str) -> Any:
    raise _NotCanonicalError(token)


_decoder = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse)


def verify_rows(
    rows: Iterable[StoredEvent],
    start: Checkpoint | None = None,
    *,
    agent_id: str | None = None,
    head: Checkpoint | None = None,
) -> VerifyResult:
    """Re-hash the rows of one agent, in the order given, and stop at the first bad one.

    ``start`` is the last event trusted already (``None``: the rows begin at seq 0). ``agent_id`` is whose chain it must
    be; left out, the first row says. ``head`` is the newest event the store claims: a chain that ends before it, or
    elsewhere, was cut at its end, which no hash shows.
    """
    last = start
    owner = start.agent_id if start is not None else agent_id
    count = start.seq + 1 if start is not None else 0
    for row in rows:
        if owner is None:
            owner = row.agent_id
        reason = _fault(row, last, owner)
        if reason is not None:
            return VerifyResult(count, valid=False, failure_seq=row.seq, failure_reason=reason, last=last)
        last = Checkpoint(row.agent_id, row.seq, row.event_hash, row.verifier_hash)
        count += 1
    if head is not None and last != head:
        return VerifyResult(count, valid=False, failure_seq=count, failure_reason="head_mismatch", last=last)
    return VerifyResult(count, valid=True, failure_seq=None, failure_reason=None, last=last)


def _fault(row: StoredEvent, last: Checkpoint | None, owner: str) -> str | None:
    """Why ``row`` is no good successor of ``last``; ``None`` when it is one."""
    if row.agent_id != owner:
        return "agent_id_mismatch"
    if row.seq != (0 if last is None else last.seq + 1):
        return "seq_not_contiguous"
    if row.previous_hash != (None if last is None else last.event_hash):
        return "previous_hash_mismatch"
    payload = read_canonical(row.payload)
    if payload is None:
        return "payload_not_canonical"
    if sha256(("" if last is None else last.event_hash).encode() + row.payload).hexdigest() != row.event_hash:
        return "event_hash_mismatch"
    before = _ZERO_LINK if last is None else last.verifier_hash
    if sha256(before.encode() + row.payload).hexdigest() != row.verifier_hash:
        return "verifier_hash_mismatch"
    return payload_fault(
        payload, agent_id=row.agent_id, seq=row.seq, event_type=row.event_type, ts=row.ts, version=row.v
    )


def payload_fault(
    payload: dict[str, Any], *, agent_id: str, seq: int, event_type: str, ts: str, version: int | None = None
) -> str | None:
    """Which common member of the payload disagrees with what stands beside it, as ``payload_<member>_mismatch``."""
    beside: dict[str, object] = {"event_type": event_type, "seq": seq, "agent_id": agent_id, "ts": ts}
    if version is not None:
        beside["v"] = version
    for member, expected in beside.items():
        found = payload.get(member)
        # True equals 1 in Python, but not on the wire.
        if type(found) is not type(expected) or found != expected:
            return f"payload_{member}_mismatch"
    if type(payload.get("v")) is not int or payload["v"] not in KNOWN_VERSIONS:
        return "payload_v_unknown"
    return None


def read_canonical(stored: bytes) -> dict[str, Any] | None:
    """The payload that ``stored`` is the canonical form of, or ``None`` when it is not one."""
    try:
        payload = _decoder.decode(stored.decode("utf-8"))
        if not isinstance(payload, dict) or not _plain(payload):
            return None
        text = json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        # A repeated key is lost by decoding, so it fails here like a blank or another order of keys does.
        return payload if text.encode("utf-8") == stored else None
    except (ValueError, RecursionError):
        return None


def _plain(value: object) -> bool:
    """Whether decoded JSON holds only what the chain allows: no NUL, no integer beyond 2^53."""
    if isinstance(value, dict):
        return all("\0" not in key and _plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, str):
        return "\0" not in value
    return not isinstance(value, int) or -_LARGEST_INT <= value <= _LARGEST_INT
