"""Many calls of every kind against one gateway, drawn from a seed, as 16 callers would make them at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

CALLERS = 16
LATE_REPEATS = 20
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
MESSAGES_TOOL = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
EMBEDDER = "text-embedding-3-small"
PATHS = (
    "/v1/chat/completions", "/openai/v1/chat/completions", "/v1/inference", "/v1/messages", "/v1/messages",
    "/anthropic/v1/messages",
)  # fmt: skip
MODELS = (
    "ainfera-inference",
    "gpt-5-5",
    "mistral-large-3",
    "gemini-3-1-pro",
    "grok-4",
    "claude-opus-4-7",
    "ainfera-auto",
)

# How the provider misbehaves; those without "stream" or "plain" fit both.
FAULTS = (
    "429 retry_after=1 times=1", "429 retry_after=30", "500", "503 times=1", "500 form=html", "502 form=empty",
    "500 form=array", "429 form=xai", "400", "401", "404", "302 location=http://127.0.0.1:9/", "slow=150", "stall",
    "reset", "reset times=1", "close", "close times=1", "garbage=http", "usage=missing", "usage=null", "usage=zero",
    "usage=overbilled", "usage=negative", "usage=string", "cached=5 reasoning=9", "empty", "empty=choices",
    "empty=body", "finish=length", "content_filter", "big=400 ignore_max", "connection=close", "content_type=text/html",
    "split=1", "text=%C3%A4%F0%9F%90%A6%20%E4%BA%8C split=1", "500 on=mistral-*", "reset on=mistral-*", "stall on=mistral-*",
    "429 on=gemini-*", "status_unknown",
)  # fmt: skip
STREAM_FAULTS = (
    "pace=5", "stall_after=0", "stall_after=3", "reset_after=0", "reset_after=2", "error_after=0", "error_after=3",
    "truncate=0", "truncate=3", "truncate=no_finish", "truncate=no_done", "truncate=in_json", "truncate=3 end=chunked",
    "garbage=data", "garbage=utf8", "garbage=data garbage_after=0", "comments", "crlf", "no_space", "per_event=3",
    "usage=cumulative", "comments crlf no_space split=3", "finish=null",
)  # fmt: skip
PLAIN_FAULTS = (
    "stall_after=40", "reset_after=40", "truncate", "truncate=10", "garbage=body", "garbage=utf8", "layout=pretty",
    "layout=note_first", "framing=chunked split=7", "framing=close", "tool_calls=2",
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """One call to be made. ``leave_after`` is how many bytes the caller reads before it hangs up (None: all)."""

    number: int
    agent: int
    path: str
    body: dict[str, Any]
    kind: str
    key: str | None = None
    leave_after: int | None = None
    leave_within_s: float | None = None


@dataclass
class Tally:
    """What callers saw. ``inference_ids`` are those that answers named; ``unsure`` calls may not have been accepted."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    inference_ids: set[str] = field(default_factory=set)
    replayed: int = 0
    refused_as_in_flight: int = 0
    unsure: int = 0
    left: int = 0
    answers: int = 0


def wishes(count: int, agents: int, seed: int) -> list[Wish]:
    """``count`` calls. A key is repeated right behind its first use, when that still runs, and some again at the end."""
    dice = random.Random(seed)
    made: list[Wish] = []
    while len(made) < count - LATE_REPEATS:
        made += _some(dice, len(made), agents)
    del made[count - LATE_REPEATS :]
    keyed = [wish for wish in made if wish.key is not None]
    well = [wish for wish in keyed if "[[sim:" not in wish.body["messages"][0]["content"]]
    return made + [dice.choice(well) for _ in range(LATE_REPEATS)]


def _some(dice: random.Random, number: int, agents: int) -> list[Wish]:
    stream = dice.random() < 0.5
    fault = dice.random()
    directive, kind = "", "stream" if stream else "plain"
    if fault < 0.45:
        pool = FAULTS + (STREAM_FAULTS if stream else PLAIN_FAULTS)
        directive, kind = dice.choice(pool), "fault"
    text = f"call {number} of the mixed load" + (f" [[sim:{directive}]]" if directive else "")
    if not directive and dice.random() < 0.2:
        kind, text = "tools", f"call {number}: weather in two cities"
    body: dict[str, Any] = {"model": dice.choice(MODELS), "max_tokens": dice.choice((8, 40, 200))}
    body["messages"] = [{"role": "user", "content": text}]
    agent = dice.randrange(agents)
    path = dice.choice(PATHS)
    messages = path.endswith("/messages")
    if stream:
        body["stream"] = True
        if dice.random() < 0.5 and not messages:
            body["stream_options"] = {"include_usage": True}
    if kind == "tools":
        body["tools"] = [MESSAGES_TOOL if messages else WEATHER_TOOL]
    if not stream and not directive and dice.random() < 0.1:
        path = dice.choice(("/v1/embeddings", "/openai/v1/embeddings"))
        return [Wish(number, agent, path, {"model": EMBEDDER, "input": [text, "and another"]}, "embeddings")]
    roll = dice.random()
    if roll < 0.12:
        directive = dice.choice(("pace=20", "slow=200", "slow=600", "big=300 ignore_max pace=5"))
        body["messages"][0]["content"] = f"call {number} is left [[sim:{directive}]]"
        if stream:
            return [Wish(number, agent, path, body, "disconnect", leave_after=dice.choice((1, 300, 900, 2500)))]
        return [Wish(number, agent, path, body, "disconnect", leave_within_s=dice.choice((0.05, 0.15, 0.3)))]
    if roll < 0.22:
        key = f"key-{number}"
        return [Wish(number + i, agent, path, body, "idempotent", key=key) for i in range(dice.choice((2, 3)))]
    return [Wish(number, agent, path, body, kind)]


async def make_calls(url: str, keys: list[str], load: list[Wish]) -> Tally:
    """All calls, ``CALLERS`` at a time, each on the connection pool of one client."""
    tally = Tally()
    queue = list(reversed(load))
    limits = httpx.Limits(max_connections=CALLERS * 2, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(base_url=url, timeout=100, limits=limits) as client:

        async def caller() -> None:
            while queue:
                wish = queue.pop()
                tally.kinds[wish.kind] += 1
                await _make(client, keys[wish.agent], wish, tally)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return tally


async def _make(client: httpx.AsyncClient, key: str, wish: Wish, tally: Tally) -> None:
    headers = {"authorization": f"Bearer {key}"}
    if wish.key is not None:
        headers["idempotency-key"] = wish.key
    try:
        async with asyncio.timeout(wish.leave_within_s):
            async with client.stream("POST", wish.path, json=wish.body, headers=headers) as response:
                await _read(response, wish, tally)
    except TimeoutError:
        tally.left += 1
        tally.unsure += 1


async def _read(response: httpx.Response, wish: Wish, tally: Tally) -> None:
    tally.statuses[response.status_code] += 1
    code = ""
    size = 0
    body = bytearray()
    async for piece in response.aiter_raw():
        size += len(piece)
        body += piece
        if wish.leave_after is not None and size >= wish.leave_after:
            tally.left += 1
            break
    else:
        tally.answers += 1
        if response.status_code >= 400:
            document = json.loads(bytes(body))
            code = _code(document)
    if code == "idempotency_in_flight":
        tally.refused_as_in_flight += 1
        return
    if response.headers.get("idempotent-replayed"):
        tally.replayed += 1
    tally.inference_ids.add(response.headers["x-ainfera-inference-id"])


def _code(document: dict[str, Any]) -> str:
    """The machine code of an error, in whichever dialect."""
    error = document["error"]
    if isinstance(error, str):
        return str(document["code"])
    return str(error["details"]["code"] if "details" in error else error["code"])
