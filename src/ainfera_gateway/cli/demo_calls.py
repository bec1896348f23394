"""What the demo does, each step through a published client: no step knows the gateway's inside."""

from __future__ import annotations

import copy
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ainfera
import ainfera_verify  # type: ignore[import-untyped]
import ainfera_verify.fetch  # type: ignore[import-untyped]
import httpx
import openai

_TIMEOUT_S = 120.0
_MAX_TOKENS = 80


class StepError(Exception):
    """A step did not do what it should have; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as its caller saw it. ``first_token_ms`` is ``None`` for a plain answer, ``client`` who made it."""

    client: str
    kind: str
    model: str
    inference_id: str
    receipt_id: str
    text: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    total_ms: int
    first_token_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What the verifiers said: events of the chain, and the seq at which a forged copy was refused by both."""

    events: int
    tip_hash: str
    forged_seq: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Why the router took a model: its rule, and what became of every candidate (slug, reason)."""

    rule: str
    candidates: tuple[tuple[str, str], ...]


def expect(holds: bool, otherwise: str) -> None:
    """Raise ``StepError`` unless ``holds``."""
    if not holds:
        raise StepError(otherwise)


class Walk:
    """One agent's walk through a gateway at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        with ainfera.AinferaClient(api_key="", base_url=url, timeout=_TIMEOUT_S) as nobody:
            self.signup = nobody.agents.signup(
                agent_handle=f"demo-{secrets.token_hex(4)}", per_call_cap_usd="0.10", daily_cap_usd="1.00"
            )
        self._ainfera = ainfera.AinferaClient(api_key=self.signup.api_key, base_url=url, timeout=_TIMEOUT_S)
        self._openai = openai.OpenAI(
            api_key=self.signup.api_key, base_url=f"{url}/v1", timeout=_TIMEOUT_S, max_retries=0
        )
        self.agent = self._ainfera.agents.retrieve(self.signup.agent_id)

    @property
    def shown_key(self) -> str:
        """As much of the key as may be seen."""
        return f"{self.signup.api_key[:12]}…"

    def plain(self, model: str, question: str) -> Call:
        """A plain answer through the OpenAI SDK."""
        begun = time.monotonic()
        answer = self._openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}], max_tokens=_MAX_TOKENS, temperature=0
        )
        total_ms = _ms_since(begun)
        text = answer.choices[0].message.content or ""
        expect(bool(text.strip()), "the answer is empty")
        return _call("openai SDK", "plain", answer, text, total_ms, None)

    def stream(self, model: str, question: str, show: Callable[[str], None]) -> Call:
        """A streamed answer through the OpenAI SDK; ``show`` gets each piece as it comes."""
        begun = time.monotonic()
        first_ms: int | None = None
        pieces: list[str] = []
        last: Any = None
        for chunk in self._chunks(model, question):
            if chunk.choices and chunk.choices[0].delta.content:
                first_ms = _ms_since(begun) if first_ms is None else first_ms
                pieces.append(chunk.choices[0].delta.content)
                show(pieces[-1])
            last = chunk if chunk.usage is not None else last
        expect(len(pieces) > 1, f"the stream came in {len(pieces)} piece(s)")
        expect(last is not None, "the stream ended without its usage")
        return _call("openai SDK", "stream", last, "".join(pieces), _ms_since(begun), first_ms)

    def routed(self, question: str) -> Call:
        """A routed answer through the ainfera SDK; the floor is 0, so that a very small model may serve."""
        begun = time.monotonic()
        answer = self.agent.inference(
            model="ainfera-inference",
            messages=[{"role": "user", "content": question}],
            routing_hint={"min_quality": 0},
            max_tokens=_MAX_TOKENS,
            temperature=0,
        )
        expect(bool(answer.content.strip()), "the answer is empty")
        return Call(
            client="ainfera SDK",
            kind="routed",
            model=answer.model_used,
            inference_id=answer.inference_id,
            receipt_id=answer.receipt_id,
            text=answer.content,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost_usd=answer.cost_usd,
            total_ms=_ms_since(begun),
        )

    def decision(self, call: Call) -> Decision:
        """What the router weighed for a call."""
        found = self._get(f"/v1/inferences/{call.inference_id}/decision")
        body = found.get("decision", found)
        return Decision(
            rule=str(body["rule_fired"]),
            candidates=tuple((str(row["slug"]), str(row["reason"])) for row in body["candidates"]),
        )

    def receipt(self, call: Call) -> dict[str, Any]:
        """The receipt of a call: read by the ainfera SDK, and once more whole."""
        read = self._ainfera.receipts.retrieve(call.receipt_id)
        expect(read.inference_id == call.inference_id, "the receipt is another call's")
        whole = self._get(f"/v1/receipts/{call.receipt_id}")
        expect(Decimal(str(whole["cost_usd"])) == call.cost_usd, "the receipt and the answer name different costs")
        return whole

    def ledger(self, calls: list[Call]) -> tuple[list[ainfera.LedgerEntry], Decimal]:
        """The ledger's lines, newest first, and the balance; checked to the last decimal against ``calls``."""
        ledger = ainfera.Ledger(agent_id=self.agent.agent_id)
        ledger._http = self._ainfera._http  # noqa: SLF001 - SDK 1.1.0 has the class but no door to it
        entries = ledger.entries()
        balance = self._ainfera.agents.retrieve(self.agent.agent_id).wallet.balance_usd  # an agent remembers its wallet
        debits = sorted(-entry.amount_usd for entry in entries if entry.kind == "debit")
        expect(debits == sorted(call.cost_usd for call in calls), "the debits are not the costs of the calls")
        expect(sum(entry.amount_usd for entry in entries) == balance, "the ledger's lines do not add up to the balance")
        return entries, balance

    def prove(self) -> Proof:
        """Verify the chain with both published verifiers, then have both refuse a forged copy."""
        chain = self.agent.audit_chain
        events = list(chain.events())
        expect(chain.verify(), "the ainfera SDK does not accept the chain")
        remote = chain.verify_remote()
        expect(remote.valid and remote.event_count == len(events), f"the gateway's own check says {remote}")
        key = ainfera_verify.fetch.fetch_public_key(f"{self.url}/.well-known/ainfera-public-key.json")
        signed = ainfera_verify.fetch.fetch_chain(self.agent.agent_id, base_url=self.url)
        expect(len(signed) == len(events), f"the two forms of the chain hold {len(events)} and {len(signed)} events")
        result = ainfera_verify.verify_chain(signed, key)
        expect(result.ok, f"ainfera-verify does not accept the chain: {result.reason}")
        return Proof(len(events), str(result.tip_hash), _refused_forgery(events, signed, key))

    def annex_iv(self) -> dict[str, Any]:
        """The export that a third party can verify without us."""
        return self.agent.audit_chain.annex_iv_bundle()

    def close(self) -> None:
        self._openai.close()
        self._ainfera.close()

    def _chunks(self, model: str, question: str) -> Iterator[Any]:
        with self._openai.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            max_tokens=_MAX_TOKENS,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            yield from stream

    def _get(self, path: str) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.signup.api_key}"}
        answer = httpx.get(f"{self.url}{path}", headers=headers, timeout=_TIMEOUT_S)
        expect(answer.is_success, f"GET {path} answered {answer.status_code}")
        return dict(answer.json())


def _refused_forgery(events: list[ainfera.AuditEvent], signed: list[Any], key: bytes) -> int:
    """Make the first receipt a cent dearer in copies of both forms; returns its seq once both were refused there."""
    seq = next(event.seq for event in events if event.event_type == "receipt.created")
    forged_events, forged_signed = copy.deepcopy(events), copy.deepcopy(signed)
    forged_events[seq].payload["cost_usd"] = forged_signed[seq].payload["cost_usd"] = "0.01"
    try:
        ainfera.verify_chain(forged_events)
    except ainfera.AuditChainBroken as exc:
        expect(exc.broken_at_seq == seq, f"the ainfera SDK found the forgery at {exc.broken_at_seq}, not at {seq}")
    else:
        raise StepError("the ainfera SDK accepted a forged chain")
    result = ainfera_verify.verify_chain(forged_signed, key)
    expect(not result.ok and result.broken_at_seq == seq, "ainfera-verify accepted a forged chain")
    return seq


def _call(client: str, kind: str, answer: Any, text: str, total_ms: int, first_ms: int | None) -> Call:
    ours = answer.model_extra["ainfera"]
    return Call(
        client=client,
        kind=kind,
        model=answer.model,
        inference_id=ours["inference_id"],
        receipt_id=ours["receipt_id"],
        text=text,
        input_tokens=answer.usage.prompt_tokens,
        output_tokens=answer.usage.completion_tokens,
        cost_usd=Decimal(ours["cost_usd"]),
        total_ms=total_ms,
        first_token_ms=first_ms,
    )


def _ms_since(begun_s: float) -> int:
    return round((time.monotonic() - begun_s) * 1000)
