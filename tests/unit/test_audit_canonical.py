"""Canonical JSON, the chain rules and the payload builder."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

import pytest
from ainfera._internal.canonical import canonical_json as sdk_canonical_json
from ainfera_verify.chain import canonical_json as verifier_canonical_json
from ainfera_verify.chain import compute_event_hash
from ainfera_verify.signatures import verify_hmac
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.audit.canonical_json import DEPTH_MAX, INT_MAX, CanonicalError, canonical_json
from ainfera_gateway.audit.chain import GENESIS, append, hmac_signature
from ainfera_gateway.audit.event_types import (
    EVENT_TYPES,
    REQUIRED_FIELDS,
    TERMINAL_EVENT_TYPES,
    EventError,
    EventType,
    payload,
)
from ainfera_gateway.audit.verify import read_canonical

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
leaves = st.none() | st.booleans() | st.integers(-INT_MAX, INT_MAX) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
objects = st.dictionaries(texts, values, max_size=8)


@given(objects)
def test_every_allowed_object_has_the_published_bytes_and_reads_back(document: dict[str, Any]) -> None:
    made = canonical_json(document)
    assert made == sdk_canonical_json(document)
    assert made.decode() == verifier_canonical_json(document)
    assert json.loads(made) == document
    assert read_canonical(made) == document


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(levels - 1):
        document = {"d": document}
    return document


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"a": 1.0}, "$.a"),
        ({"a": float("nan")}, "$.a"),
        ({"a": {"b": [0, {"c": float("inf")}]}}, "$.a.b[1].c"),
        ({"a": INT_MAX + 1}, "$.a"),
        ({"a": [1, -INT_MAX - 1]}, "$.a[1]"),
        ({"a": "x\0"}, "$.a"),
        ({"a": ["ok", {"b": "\0"}]}, "$.a[1].b"),
        ({"a": "\ud800"}, "$.a"),
        ({"b": {"c": ["\udfff"]}}, "$.b.c[0]"),
        ({"x\0": 1}, "$[key 0]"),
        ({"ok": 1, "\ud800": 1}, "$[key 1]"),
        ({1: "a"}, "$[key 0]"),
        ({"a": {None: 1}}, "$.a[key 0]"),
        ({"a": {True: 1}}, "$.a[key 0]"),
        ({"a": b"bytes"}, "$.a"),
        ({"a": (1, 2)}, "$.a"),
        ({"a": {1, 2}}, "$.a"),
        ({"a": object()}, "$.a"),
        ([], "$"),
        ("text", "$"),
    ],
)
def test_what_has_no_canonical_form_is_refused_by_path(document: Any, path: str) -> None:
    with pytest.raises(CanonicalError) as caught:
        canonical_json(document)
    assert caught.value.path == path


def test_depth_is_bounded() -> None:
    assert canonical_json(nested(DEPTH_MAX))
    with pytest.raises(CanonicalError):
        canonical_json(nested(DEPTH_MAX + 1))
    lists: list[Any] = []
    for _ in range(DEPTH_MAX - 2):
        lists = [lists]
    assert canonical_json({"a": lists})
    with pytest.raises(CanonicalError):
        canonical_json({"a": [lists]})
    around: dict[str, Any] = {}
    around["self"] = [around]
    with pytest.raises(CanonicalError):
        canonical_json(around)


def test_the_limits_themselves_are_allowed() -> None:
    assert canonical_json({"a": INT_MAX, "b": -INT_MAX}) == b'{"a":9007199254740992,"b":-9007199254740992}'


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert canonical_json({"a": "\\u0000"}) == b'{"a":"\\\\u0000"}'


def test_keys_sort_by_code_point() -> None:
    assert (
        canonical_json({"é": 1, "z": 2, "𝄞": 3, "Z": 4, "\uffee": 5}).decode() == '{"Z":4,"z":2,"é":1,"\uffee":5,"𝄞":3}'
    )


def test_a_text_enum_is_its_text() -> None:
    assert canonical_json({"a": Colour.RED}) == b'{"a":"red"}'


def test_the_first_links_differ_as_the_published_rules_do() -> None:
    text = canonical_json({"a": 1})
    link = append(None, text)
    assert link.event_hash == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert link.verifier_hash == compute_event_hash(GENESIS, {"a": 1})
    second = append(link, text)
    assert second.verifier_hash == compute_event_hash(link.verifier_hash, {"a": 1})
    assert len({*link, *second}) == 4


def test_the_published_verifier_accepts_our_signature() -> None:
    link = append(None, b"{}")
    assert verify_hmac(link.verifier_hash, hmac_signature(link.verifier_hash, b"k" * 32), b"k" * 32)
    assert not verify_hmac(link.verifier_hash, hmac_signature(link.verifier_hash, b"j" * 32), b"k" * 32)


def test_a_payload_carries_what_no_published_rule_hashes() -> None:
    made = payload("agent.registered", "a-1", 0, "2026-11-23T20:30:00.000000Z", None, {"handle": "h"})
    assert made == {
        "v": 1,
        "event_type": "agent.registered",
        "agent_id": "a-1",
        "seq": 0,
        "ts": "2026-11-23T20:30:00.000000Z",
        "trace_id": None,
        "handle": "h",
    }


def test_the_builder_takes_the_enum_and_writes_plain_text() -> None:
    made = payload(EventType.AGENT_SUSPENDED, "a", 1, "t", "f" * 32, {})
    assert type(made["event_type"]) is str


def test_the_set_of_types_is_closed() -> None:
    with pytest.raises(EventError, match="unknown event type"):
        payload("agent.deleted", "a", 0, "t", None, {})


@pytest.mark.parametrize("name", ["v", "event_type", "agent_id", "seq", "ts", "trace_id"])
def test_no_field_hides_a_common_member(name: str) -> None:
    with pytest.raises(EventError, match=name):
        payload("agent.suspended", "a", 0, "t", None, {name: "mine"})


@pytest.mark.parametrize("event_type", sorted(REQUIRED_FIELDS))
def test_an_event_of_the_way_needs_its_fields(event_type: str) -> None:
    whole = dict.fromkeys(REQUIRED_FIELDS[event_type], "x")
    assert payload(event_type, "a", 0, "t", None, whole)
    for missing in whole:
        rest = {name: value for name, value in whole.items() if name != missing}
        with pytest.raises(EventError, match=missing):
            payload(event_type, "a", 0, "t", None, rest)


def test_a_successful_call_ends_once() -> None:
    """Routed, responded, receipt: one of the three is terminal."""
    of_a_call = {EventType.INFERENCE_ROUTED, EventType.PROVIDER_RESPONDED, EventType.RECEIPT_CREATED}
    assert of_a_call & TERMINAL_EVENT_TYPES == {EventType.RECEIPT_CREATED}
    assert TERMINAL_EVENT_TYPES < EVENT_TYPES
