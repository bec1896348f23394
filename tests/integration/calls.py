"""One call over HTTP as the tests of who pays make it, and what came back, plain and streamed alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.gateway_process import GatewayProcess
from tests.integration.books import Books, cost_of, usd

OPENAI = "/v1/chat/completions"
NATIVE = "/v1/inference"
TEXT = "Say something about pigeons & 3 bridges"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller got. ``chunks`` are the decoded events of a stream (without ``[DONE]``), ``text`` what was said."""

    status: int
    headers: httpx.Headers
    body: bytes
    document: dict[str, Any]
    chunks: tuple[dict[str, Any], ...]
    done: bool

    @property
    def inference_id(self) -> str:
        return self.headers["x-ainfera-inference-id"]

    @property
    def text(self) -> str:
        if self.chunks:
            return "".join(
                choice["delta"].get("content") or "" for chunk in self.chunks for choice in chunk.get("choices", ())
            )
        if "content" in self.document:
            return str(self.document["content"])
        return str(self.document["choices"][0]["message"]["content"])

    @property
    def error(self) -> dict[str, Any]:
        """The error of a plain refusal or of the last frame of a stream, in either dialect."""
        document = self.chunks[-1] if self.chunks else self.document
        error = document["error"]
        return dict(document) if isinstance(error, str) else dict(error)


class Caller:
    """An agent that calls. Its balance and chain are read from the books, not asked for."""

    def __init__(self, gateway: GatewayProcess, bundle: dict[str, Any]) -> None:
        self.gateway = gateway
        self.books = Books(gateway.database)
        self.agent_id: str = bundle["agent_id"]
        self.tenant_id: str = bundle["tenant_id"]
        self.key: str = bundle["api_key"]

    def call(
        self,
        text: str = TEXT,
        *,
        model: str = "mistral-large-3",
        stream: bool = False,
        path: str = OPENAI,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        body: dict[str, Any] = {"model": model, "messages": messages_of(text), **more}
        if stream:
            body["stream"] = True
        return self.post(path, json.dumps(body).encode(), headers)

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        with self.gateway.client(self.key) as client:
            head = {"content-type": "application/json", **(headers or {})}
            return answer_of(client.post(path, content=body, headers=head))

    @property
    def balance(self) -> int:
        return int(self.books.wallet(self.agent_id)["balance_picousd"])

    @property
    def event_count(self) -> int:
        return len(self.books.events(self.agent_id))

    def events_after(self, count: int) -> list[str]:
        return [name for name, _ in self.books.events(self.agent_id)[count:]]

    def with_balance(self, amount_usd: str | None, name: str = "poor") -> Caller:
        """A further agent of the same tenant whose wallet holds exactly so much."""
        with self.gateway.client(self.key) as client:
            made = client.post("/v1/agents/register", json={"tenant_id": self.tenant_id, "name": name})
            assert made.status_code == 201, made.text
            agent_id = made.json()["id"]
            if amount_usd is not None:
                paid = client.post("/v1/wallets/topup", json={"agent_id": agent_id, "amount_usd": amount_usd})
                assert paid.status_code == 201, paid.text
            key = client.post("/v1/keys", json={"scope": "inference", "agent_id": agent_id})
            assert key.status_code == 201, key.text
        return Caller(
            self.gateway, {"agent_id": agent_id, "tenant_id": self.tenant_id, "api_key": key.json()["api_key"]}
        )

    def set_policy(self, **caps: Any) -> None:
        with self.gateway.client(self.key) as client:
            answered = client.patch(f"/v1/agents/{self.agent_id}/spend-policy", json=caps)
            assert answered.status_code == 200, answered.text


def messages_of(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answer_of(response: httpx.Response) -> Answer:
    body = response.content
    if not response.headers["content-type"].startswith("text/event-stream"):
        return Answer(response.status_code, response.headers, body, json.loads(body), (), False)
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event.startswith(b"data: ")]
    done = bool(events) and events[-1] == b"[DONE]"
    chunks = tuple(json.loads(event) for event in events if event != b"[DONE]")
    return Answer(response.status_code, response.headers, body, {}, chunks, done)


def check_settled(
    caller: Caller, inference_id: str, *, before: int, paid: int, status: str, source: str, attempts: int = 1
) -> dict[str, Any]:
    """The books of one ended call: the outcome, the one agent transfer, the balance, and no hold left."""
    books = caller.books
    outcome = next(row for row in books.outcomes(caller.agent_id) if row["inference_id"] == inference_id)
    assert outcome["outcome_status"] == status
    assert outcome["usage_source"] == source
    assert outcome["cost_picousd"] == paid
    assert outcome["attempts"] == attempts == len(books.attempts(inference_id))
    debits = [row for row in books.transfers(inference_id) if row["kind"] == "debit"]
    assert len(debits) == 1
    assert debits[0]["amount_picousd"] == paid
    assert (debits[0]["debit_account"], debits[0]["credit_account"]) == (f"agent:{caller.agent_id}", "house:revenue")
    assert debits[0]["balance_after_picousd"] == caller.balance == before - paid
    assert books.wallet(caller.agent_id)["held_picousd"] == 0
    assert books.holds(caller.agent_id) == []
    return outcome


def check_receipt(answer: Answer, paid: int, model: str, tokens: tuple[int, int]) -> None:
    """What a plain answer says of its cost, in its headers and in its body."""
    assert answer.headers["x-ainfera-cost-usd"] == usd(paid)
    assert answer.headers["x-ainfera-model"] == model
    assert paid == cost_of(model, *tokens)
    said = answer.document if "cost_usd" in answer.document else answer.document["ainfera"]
    assert said["cost_usd"] == usd(paid)
    assert said["inference_id"] == answer.inference_id


def check_error(answer: Answer, path: str, code: str, kind: str) -> None:
    """The error of a call in the shape of its dialect, with the trace it can be found by."""
    trace_id = answer.headers["x-ainfera-trace-id"]
    if path == OPENAI:
        error = answer.document["error"]
        assert set(answer.document) == {"error"}
        assert (error["code"], error["type"]) == (code, kind)
        assert {"message", "type", "param", "code"} <= set(error)
    else:
        document = answer.document
        assert (document["code"], document["error"], document["request_id"]) == (code, code, trace_id)
        assert document["detail"]["code"] == code
        assert document["message"]
