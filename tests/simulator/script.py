"""Misbehaviour: what it can be (`Acts`), how it is written (directives), who decides it (rule, message, default).

Pure but for the rule queue and the counters of `times`, which live as long as the process.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from .finish import REASONS

MARKER: Final = re.compile(r"\[\[sim:([^\]]*)\]\]")
_SEPARATORS: Final = re.compile(r"[\s,;]+")


class DirectiveError(ValueError):
    """A directive that the simulator does not know; it is refused rather than ignored."""


@dataclass(frozen=True, slots=True)
class Acts:
    """How one request is answered. The defaults are a well-behaved provider; the package docstring explains each."""

    status: int | None = None
    retry_after: str | None = None
    form: str | None = None
    location: str | None = None
    hold: bool = False
    slow: int = 0
    pace: int = 0
    stall_after: int | None = None
    reset_after: int | None = None
    close: bool = False
    truncate: str | None = None
    end: str | None = None
    garbage: str | None = None
    garbage_after: int | None = None
    error_after: int | None = None
    usage: str | None = None
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    empty: str | None = None
    content_type: str | None = None
    split: int = 0
    comments: bool = False
    crlf: bool = False
    no_space: bool = False
    finish: str | None = None
    wait_ack: bool = False
    big: int = 0
    per_event: int = 1
    ignore_max: bool = False
    text: str | None = None
    tool_calls: int | None = None
    interleave: bool = False
    layout: str | None = None
    as_model: str | None = None
    framing: str | None = None
    connection: str | None = None
    pings: int = 0
    fine_grained: bool = False
    redacted: bool = False
    unknown_event: bool = False
    index: str | None = None


PLAIN: Final = Acts()
_FIELDS: Final = {item.name: str(item.type) for item in fields(Acts)}
_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "form": frozenset({"openai", "anthropic", "html", "empty", "array", "xai", "text"}),
    "end": frozenset({"chunked", "fin"}),
    "garbage": frozenset({"auto", "data", "body", "utf8", "http"}),
    "usage": frozenset(
        {"missing", "nowhere", "null", "zero", "cumulative", "doubled", "overbilled", "negative", "string"}
    ),
    "empty": frozenset({"choices", "content", "body"}),
    "finish": REASONS,
    "layout": frozenset({"pretty", "note_first"}),
    "framing": frozenset({"length", "chunked", "close"}),
    "connection": frozenset({"close"}),
    "index": frozenset({"right", "zero", "absent"}),
    "truncate": frozenset({"no_finish", "no_done", "in_json"}),
}
# Short forms: the name alone, or a friendlier name for the same thing.
_SHORT: Final[Mapping[str, tuple[str, str]]] = {
    "stall": ("stall_after", "-1"),
    "reset": ("reset_after", "-1"),
    "truncate": ("truncate", "in_json"),
    "garbage": ("garbage", "auto"),
    "empty": ("empty", "content"),
    "content_filter": ("finish", "content_filter"),
    "refusal": ("finish", "refusal"),
    "pause_turn": ("finish", "pause_turn"),
    "pings": ("pings", "3"),
}
_RENAMED: Final = {"truncate_after": "truncate"}


def _convert(name: str, value: str | None) -> tuple[str, Any]:
    """One `name` or `name=value` as a field of `Acts` and its value."""
    if value is None:
        if re.fullmatch(r"[1-5]\d\d", name):
            return "status", int(name)
        if name in _SHORT:
            name, value = _SHORT[name]
    name = _RENAMED.get(name, name)
    kind = _FIELDS.get(name)
    if kind is None:
        raise DirectiveError(f"unknown directive {name!r}")
    if kind == "bool":
        if value not in (None, "1", "0"):
            raise DirectiveError(f"{name} takes 1, 0 or nothing, not {value!r}")
        return name, value != "0"
    if value is None:
        raise DirectiveError(f"{name} needs a value")
    value = unquote(value)
    if kind.startswith("int"):
        if not re.fullmatch(r"-1|\d{1,9}", value):
            raise DirectiveError(f"{name} takes a whole number, not {value!r}")
        return name, int(value)
    allowed = _CHOICES.get(name)
    if allowed is not None and value not in allowed and not (name == "truncate" and value.isdecimal()):
        raise DirectiveError(f"{name} is one of {', '.join(sorted(allowed))}, not {value!r}")
    return name, value


@dataclass(frozen=True, slots=True)
class Block:
    """One directive: its acts; `on` (glob of the model) and `times` (first N calls with the same text) limit it."""

    values: Mapping[str, Any]
    on: str | None = None
    times: int | None = None


def parse_block(text: str) -> Block:
    """Reads `429 retry_after=2` and the like; blanks, commas and semicolons separate, values may be percent-encoded."""
    values: dict[str, Any] = {}
    on: str | None = None
    times: int | None = None
    for item in filter(None, _SEPARATORS.split(text.strip())):
        name, equals, value = item.partition("=")
        if name == "on":
            on = unquote(value)
        elif name == "times":
            if not value.isdecimal():
                raise DirectiveError(f"times takes a whole number, not {value!r}")
            times = int(value)
        else:
            key, converted = _convert(name, value if equals else None)
            values[key] = converted
    return Block(values, on, times)


def merge(blocks: Iterable[Block]) -> Acts:
    """The acts of several blocks together; a later one wins where both speak."""
    values: dict[str, Any] = {}
    for block in blocks:
        values.update(block.values)
    return replace(PLAIN, **values) if values else PLAIN


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule looks at: globs of model and path, the stream flag, the key's end, text in the last user message.

    `nth` (1-based) lets the first nth - 1 fitting requests pass.
    """

    model: str | None = None
    path: str | None = None
    stream: bool | None = None
    key_suffix: str | None = None
    contains: str | None = None
    nth: int = 1


class RuleSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule as `POST /_script` takes it. `times` 0 keeps it for ever."""

    do: list[str]
    match: Match = Match()
    times: int = 1


@dataclass(slots=True)
class Rule:
    spec: RuleSpec
    blocks: tuple[Block, ...]
    seen: int = 0
    used: int = 0

    def fits(self, model: str, path: str, stream: bool, key_suffix: str, text: str) -> bool:
        m = self.spec.match
        return (
            (m.model is None or fnmatch.fnmatchcase(model, m.model))
            and (m.path is None or fnmatch.fnmatchcase(path, m.path))
            and (m.stream is None or m.stream == stream)
            and (m.key_suffix is None or m.key_suffix == key_suffix)
            and (m.contains is None or m.contains in text)
        )


@dataclass(slots=True)
class Script:
    """Decides the acts of each request: a fitting rule, else the last user message's directives, else the default."""

    default: Acts = PLAIN
    rules: list[Rule] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def add(self, spec: RuleSpec) -> None:
        """Raises `DirectiveError` when a directive is unknown."""
        if spec.match.nth < 1 or spec.times < 0:
            raise DirectiveError("nth counts from 1 and times from 0")
        self.rules.append(Rule(spec, tuple(parse_block(text) for text in spec.do)))

    def clear(self) -> None:
        self.rules.clear()
        self._seen.clear()

    def choose(self, model: str, path: str, stream: bool, key_suffix: str, text: str) -> Acts:
        """Raises `DirectiveError` when the message's directive is unknown."""
        for rule in self.rules:
            if not rule.fits(model, path, stream, key_suffix, text):
                continue
            rule.seen += 1
            if rule.seen < rule.spec.match.nth:
                continue
            rule.used += 1
            if rule.spec.times and rule.used >= rule.spec.times:
                self.rules.remove(rule)
            return merge(self._applicable(rule.blocks, model, text))
        if "[[sim:" in text:
            return merge(self._applicable(tuple(parse_block(found) for found in MARKER.findall(text)), model, text))
        return self.default

    def _applicable(self, blocks: tuple[Block, ...], model: str, text: str) -> list[Block]:
        applicable: list[Block] = []
        for position, block in enumerate(blocks):
            if block.on is not None and not fnmatch.fnmatchcase(model, block.on):
                continue
            if block.times is not None:
                key = f"{position}:{text}"
                self._seen[key] = self._seen.get(key, 0) + 1
                if self._seen[key] > block.times:
                    continue
            applicable.append(block)
        return applicable
