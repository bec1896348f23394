"""Bodies that no chat route takes, each with the field that is at fault (None: the body as a whole)."""

from __future__ import annotations

import json
from typing import Any

MODEL = "gpt-5-5"
GOOD: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
DEPTH_MAX = 64


def with_(**more: Any) -> bytes:
    return json.dumps({**GOOD, **more}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def raw(member: str) -> bytes:
    """A good body with one more member, written as it stands."""
    return json.dumps(GOOD)[:-1].encode() + b", " + member.encode() + b"}"


def message(**message: Any) -> bytes:
    return with_(messages=[message])


def nested(depth: int) -> bytes:
    """A body of that depth; the outermost object is the first level."""
    return raw('"x": ' + "[" * (depth - 1) + "]" * (depth - 1))


def hint(**members: Any) -> bytes:
    return with_(routing_hint=members)


BODIES: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "blank": (b" \r\n\t ", None),
    "cut off": (b'{"model": "gpt-5-5", "messages": [', None),
    "two documents": (with_() + b"{}", None),
    "single quotes": (b"{'model': 'x'}", None),
    "trailing comma": (with_()[:-1] + b",}", None),
    "comment": (b"/* hi */" + with_(), None),
    "an array": (b"[]", None),
    "a string": (b'"hi"', None),
    "null": (b"null", None),
    "byte order mark": (b"\xef\xbb\xbf" + with_(), None),
    "utf-16": (json.dumps(GOOD).encode("utf-16"), None),
    "too deep": (nested(DEPTH_MAX + 1), None),
    "far too deep": (nested(200_000), None),
    "no model": (without("model"), "model"),
    "no messages": (without("messages"), "messages"),
    "model is a number": (with_(model=5), "model"),
    "model is null": (with_(model=None), "model"),
    "model is empty": (with_(model=""), "model"),
    "model is endless": (with_(model="m" * 257), "model"),
    "messages is a text": (with_(messages="hi"), "messages"),
    "messages is an object": (with_(messages={}), "messages"),
    "messages is empty": (with_(messages=[]), "messages"),
    "messages is null": (with_(messages=None), "messages"),
    "a message is a number": (with_(messages=[GOOD["messages"][0], 5]), "messages[1]"),
    "no role": (message(content="hi"), "messages[0].role"),
    "unknown role": (message(role="wizard", content="hi"), "messages[0].role"),
    "no content": (message(role="user"), "messages[0].content"),
    "null content": (message(role="system", content=None), "messages[0].content"),
    "content is a number": (message(role="user", content=5), "messages[0].content"),
    "a part without type": (message(role="user", content=[{"text": "hi"}]), "messages[0].content[0].type"),
    "max_tokens negative": (with_(max_tokens=-1), "max_tokens"),
    "max_tokens zero": (with_(max_tokens=0), "max_tokens"),
    "max_tokens fraction": (with_(max_tokens=1.5), "max_tokens"),
    "max_tokens text": (with_(max_tokens="10"), "max_tokens"),
    "max_tokens true": (with_(max_tokens=True), "max_tokens"),
    "max_tokens absurd": (with_(max_tokens=2**31 + 1), "max_tokens"),
    "max_tokens past 64 bit": (with_(max_tokens=10**30), "max_tokens"),
    "max_tokens nan": (with_(max_tokens=float("nan")), "max_tokens"),
    "two limits": (with_(max_completion_tokens=21), "max_completion_tokens"),
    "temperature nan": (with_(temperature=float("nan")), "temperature"),
    "temperature infinite": (with_(temperature=float("inf")), "temperature"),
    "temperature past any float": (raw('"temperature": 1e999'), "temperature"),
    "temperature high": (with_(temperature=2.1), "temperature"),
    "temperature negative": (with_(temperature=-0.1), "temperature"),
    "temperature text": (with_(temperature="hot"), "temperature"),
    "top_p": (with_(top_p=1.01), "top_p"),
    "n zero": (with_(n=0), "n"),
    "n absurd": (with_(n=129), "n"),
    "stream text": (with_(stream="yes"), "stream"),
    "stream number": (with_(stream=1), "stream"),
    "tools object": (with_(tools={}), "tools"),
    "tool choice number": (with_(tool_choice=5), "tool_choice"),
    "stop number": (with_(stop=5), "stop"),
    "response_format without type": (with_(response_format={}), "response_format.type"),
    "model twice": (raw('"model": "gpt-5-5"'), "model"),
    "messages twice": (raw('"messages": []'), "messages"),
    "max_tokens twice": (raw('"max_tokens": 1000000'), "max_tokens"),
    "an unknown member twice": (raw('"x": 1, "x": 1'), "x"),
    "a member twice, escaped": (raw('"mod\\u0065l": "grok-4"'), "model"),
    "tags twice": (raw('"metadata": {"tags": [], "tags": []}'), "metadata.tags"),
    "include_usage twice": (
        raw('"stream": true, "stream_options": {"include_usage": true, "include_usage": false}'),
        "stream_options.include_usage",
    ),
    "look-alike": (with_(MAX_TOKENS=1), "MAX_TOKENS"),
    "lone surrogate": (raw('"user": "\\ud800"'), "user"),
    "lone low surrogate": (with_(messages=[{"role": "user", "content": "\udc00"}]), "messages[0].content"),
    "surrogates the wrong way round": (raw('"user": "\\udc00\\ud800"'), "user"),
    "surrogate in raw bytes": (
        with_(messages=[{"role": "user", "content": "HERE"}]).replace(b"HERE", b"\xed\xa0\x80"),
        "messages[0].content",
    ),
    "latin-1": (
        with_(messages=[{"role": "user", "content": "HERE"}]).replace(b"HERE", b"caf\xe9"),
        "messages[0].content",
    ),
    "nul": (message(role="user", content="a\x00b"), "messages[0].content"),
    "nul in the model": (with_(model="gpt\x00"), "model"),
    "nul in a tool": (
        with_(tools=[{"type": "function", "function": {"name": "f", "description": "\x00"}}]),
        "tools[0].function.description",
    ),
    "raw nul": (with_(messages=[{"role": "user", "content": "HERE"}]).replace(b"HERE", b"\x00"), "messages[0].content"),
    "agent_id empty": (with_(agent_id=""), "agent_id"),
    "agent_id number": (with_(agent_id=5), "agent_id"),
    "agent_id endless": (with_(agent_id="a" * 129), "agent_id"),
    "hint unknown": (hint(min_qualty=0.5), "routing_hint.min_qualty"),
    "hint quality high": (hint(min_quality=1.1), "routing_hint.min_quality"),
    "hint quality negative": (hint(min_quality=-0.1), "routing_hint.min_quality"),
    "hint quality nan": (hint(min_quality=float("nan")), "routing_hint.min_quality"),
    "hint quality nan text": (hint(min_quality="NaN"), "routing_hint.min_quality"),
    "hint quality text": (hint(min_quality="high"), "routing_hint.min_quality"),
    "hint budget negative": (hint(budget_cap_usd=-1), "routing_hint.budget_cap_usd"),
    "hint budget absurd": (hint(budget_cap_usd=1_000_001), "routing_hint.budget_cap_usd"),
    "hint budget past 64 bit": (hint(budget_cap_usd="1e400"), "routing_hint.budget_cap_usd"),
    "hint budget too fine": (hint(budget_cap_usd="0.0000000000001"), "routing_hint.budget_cap_usd"),
    "hint budget infinite": (hint(budget_cap_usd="Infinity"), "routing_hint.budget_cap_usd"),
    "hint latency zero": (hint(latency_cap_ms=0), "routing_hint.latency_cap_ms"),
    "hint latency fraction": (hint(latency_cap_ms=1.5), "routing_hint.latency_cap_ms"),
    "hint agentic": (hint(agentic_floor=101), "routing_hint.agentic_floor"),
    "hint preset": (hint(preset="fast"), "routing_hint.preset"),
    "hint context nested": (hint(context={"a": {"b": 1}}), "routing_hint.context.a"),
    "hint context wide": (hint(context={str(n): n for n in range(65)}), "routing_hint.context"),
    "hint is a text": (with_(routing_hint="cheap"), "routing_hint"),
    "task type": (with_(task_type="poetry"), "task_type"),
    "caps negative": (with_(caps={"budget": "-0.01"}), "caps.budget"),
    "caps nan": (with_(caps={"budget": "NaN"}), "caps.budget"),
    "caps unknown": (with_(caps={"budget_usd": 1}), "caps.budget_usd"),
    "caps latency": (with_(caps={"latency_ms": -5}), "caps.latency_ms"),
    "tags number": (with_(metadata={"tags": 5}), "metadata.tags"),
    "tags empty text": (with_(metadata={"tags": ["a", ""]}), "metadata.tags[1]"),
    "tags too many": (with_(metadata={"tags": [str(n) for n in range(33)]}), "metadata.tags"),
}
