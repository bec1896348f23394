"""What a gateway has written down, read straight from its database, and what a call should cost by the price list.

The sums here are made from the published price list and the simulator's own log alone; nothing of the gateway's code
that counts money is used.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ainfera_gateway.ledger.laws import check
from ainfera_gateway.storage.tables import metadata
from tests.simulator.process import Seen, Simulator
from tests.stored import Stored, named_rows, stored_engine

PICO = 10**12
USD_PER_MILLION = {
    "claude-opus-4-7": ("15", "75"),
    "gpt-5-5": ("5", "15"),
    "gemini-3-1-pro": ("1.25", "10"),
    "grok-4": ("5", "15"),
    "mistral-large-3": ("2", "6"),
    "smollm2-135m-instruct": ("0.01", "0.01"),
}
UPSTREAM = {"gpt-5-5": "gpt-5.5", "gemini-3-1-pro": "gemini-3.1-pro"}
"""Where the provider's own name differs from the slug."""
PROVIDERS = {
    "claude-opus-4-7": "anthropic",
    "gpt-5-5": "openai",
    "gemini-3-1-pro": "gemini",
    "grok-4": "xai",
    "mistral-large-3": "mistral",
    "smollm2-135m-instruct": "local",
}


def cost_of(model: str, tokens_in: int, tokens_out: int) -> int:
    """Pico-USD of so many tokens by the list price."""
    usd_in, usd_out = USD_PER_MILLION[model]
    cost = (Fraction(usd_in) * tokens_in + Fraction(usd_out) * tokens_out) * PICO / 1_000_000
    assert cost.denominator == 1
    return int(cost)


def cost_of_usage(model: str, usage: Mapping[str, Any]) -> int:
    """Pico-USD of a usage object as the provider stated it."""
    return cost_of(model, *tokens_of_usage(usage))


def tokens_of_usage(usage: Mapping[str, Any]) -> tuple[int, int]:
    """All tokens in and all tokens out; Anthropic counts what its cache gave and took beside the rest of the input."""
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    beside = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
    return usage["input_tokens"] + beside, usage["output_tokens"]


def estimated_input(messages: bytes, count: int, *more: bytes) -> int:
    """The documented input estimate of ``count`` messages (docs/estimates.md), one character of their JSON at a time.

    Eight tokens a message and 48 a request come on top. For Latin letters and marks.
    """
    text = b"".join((messages, *more)).decode()
    text = re.sub(r"(?<!\\)\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text).replace('\\"', '"')
    hundredths = sum(map(_hundredths, text))
    hundredths += 390 * len(re.findall("[a-z]{8}", text)) + 445 * len(re.findall("[a-z][0-9]", text))
    return hundredths // 100 + 8 * count + 48


def _hundredths(character: str) -> int:
    if character > "\x7f":
        if "\u2000" <= character < "\u3000":
            return 280
        assert character < "\u0370", "a script that this oracle does not know"
        return 390
    for kind, weight in (("a-z", 21), ("A-Z", 69), ("0-9", 121), (" ", 18), ("\r\n", 81), ("\t", 139)):
        if re.fullmatch(f"[{kind}]", character):
            return weight
    return 77


def estimated_output(text: str) -> int:
    """Tokens of relayed text whose usage never came: three for eleven bytes, rounded up."""
    return -(-len(text.encode()) * 3 // 11)


def usd(picousd: int) -> str:
    """Decimal text with 6 to 12 places, made by division of integers."""
    whole, rest = divmod(abs(picousd), PICO)
    places = f"{rest:012d}".rstrip("0").ljust(6, "0")
    return f"{'-' if picousd < 0 else ''}{whole}.{places}"


@dataclass(frozen=True, slots=True)
class Books:
    """A gateway's database. Every read opens and closes its own connection."""

    stored: Stored

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        return named_rows(self.stored, sql, *values)

    def counts(self) -> dict[str, int]:
        """Rows of each table, but for those of the log and of leases, which move by themselves."""
        names = sorted(metadata.tables.keys() - {"log_positions", "log_nodes", "log_checkpoints", "worker_leases"})
        union = " UNION ALL ".join(f"SELECT '{name}' AS name, COUNT(*) AS rows FROM {name}" for name in names)
        return {row["name"]: row["rows"] for row in self.rows(union)}

    def wallet(self, agent_id: str) -> dict[str, Any]:
        return self.rows("SELECT * FROM wallets WHERE agent_id = ?", agent_id)[0]

    def outcomes(self, agent_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM routing_outcomes WHERE agent_id = ? ORDER BY inference_id", agent_id)

    def attempts(self, inference_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM attempts WHERE inference_id = ? ORDER BY ordinal", inference_id)

    def transfers(self, inference_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM transfers WHERE inference_id = ? ORDER BY id", inference_id)

    def corrections(self, inference_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM settlement_corrections WHERE inference_id = ?", inference_id)

    def holds(self, agent_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM holds WHERE agent_id = ?", agent_id)

    def events(self, agent_id: str) -> list[tuple[str, dict[str, Any]]]:
        """(type, payload) in the order of the chain."""
        rows = self.rows("SELECT event_type, payload FROM audit_events WHERE agent_id = ? ORDER BY seq", agent_id)
        return [(row["event_type"], json.loads(row["payload"])) for row in rows]

    def house(self, inference_id: str) -> dict[str, int]:
        """What each house account paid for a call."""
        paid = {row["debit_account"]: row["amount_picousd"] for row in self.transfers(inference_id)}
        return {account: amount for account, amount in paid.items() if account.startswith("house:")}

    def broken_laws(self) -> dict[str, int]:
        """The laws of the house that these books break; empty is well."""
        with stored_engine(self.stored) as engine, engine.connect() as connection:
            return check(connection).broken

    def outcome_of(self, agent_id: str, position: int = -1) -> dict[str, Any]:
        """One outcome of the agent, waited for: a caller who left is settled after it is gone."""
        wanted = position + 1 if position >= 0 else 1
        eventually(lambda: len(self.outcomes(agent_id)) >= wanted)
        return self.outcomes(agent_id)[position]


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Returns once ``condition`` holds; fails when it does not within the time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for did not come"
        time.sleep(0.01)


def sent_for(simulator: Simulator, books: Books, inference_id: str) -> list[Seen]:
    """What the provider saw of an ended call, in order: each stored attempt must have left exactly once.

    The provider writes the line of an answer's end after its last byte, so a caller may be here before that line.
    """
    stored = [row["id"] for row in books.attempts(inference_id)]

    def are_over() -> bool:
        found = simulator.attempts()
        return all(one.end is not None for attempt in stored for one in found.get(attempt, []))

    eventually(are_over)
    seen = simulator.attempts()
    assert all(len(seen.get(attempt, [])) == 1 for attempt in stored), "an attempt did not leave exactly once"
    return [seen[attempt][0] for attempt in stored]
