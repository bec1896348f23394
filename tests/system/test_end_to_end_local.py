"""The whole way with a real model and no account: routed, streamed, left, paid to the last digit, proved offline."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import ainfera
import ainfera_verify
import ainfera_verify.fetch
import httpx
import openai
import psutil
import pytest

from ainfera_gateway.providers.local.model_file import SMOLLM2, pull
from tests.evidence import rows, wait_settled
from tests.gateway_process import INTERNAL_KEY, GatewayProcess
from tests.integration.books import Books, cost_of, eventually

CACHE = Path(__file__).parents[2] / ".cache"
QUESTION: Any = [{"role": "user", "content": "Answer with one word: what is the capital of France?"}]
LONG: Any = [{"role": "user", "content": "Tell me a very long story about a pigeon, with many details."}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = {"AINFERA_LOCAL_MODEL": str(pull(CACHE)), "AINFERA_DISCONNECT_DRAIN_S": "0.3"}
    with GatewayProcess(tmp_path_factory.mktemp("local"), environment) as running:
        yield running
        wait_settled(running.database)
        assert Books(running.database).broken_laws() == {}


@pytest.fixture
def books(gateway: GatewayProcess) -> Books:
    return Books(gateway.database)


def client_of(gateway: GatewayProcess, bundle: dict[str, Any]) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=bundle["api_key"], max_retries=0, timeout=90)


def paid(books: Books, inference_id: str) -> int:
    (debit,) = [row for row in books.transfers(inference_id) if row["kind"] == "debit"]
    return int(debit["amount_picousd"])


def test_plain_streamed_and_routed_answers_are_paid_and_proved(gateway: GatewayProcess, books: Books) -> None:
    bundle = gateway.signup("whole-way")
    with client_of(gateway, bundle) as client:
        plain = client.chat.completions.create(model=SMOLLM2.slug, messages=QUESTION, max_tokens=16, temperature=0)
        assert "Paris" in (plain.choices[0].message.content or "")
        stream = client.chat.completions.create(
            model=SMOLLM2.slug,
            messages=QUESTION,
            max_tokens=16,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "Paris" in "".join(words)
        assert sum(bool(word) for word in words) > 3, "word by word"
    with ainfera.AinferaClient(api_key=bundle["api_key"], base_url=gateway.url) as sdk:
        agent = sdk.agents.retrieve(bundle["agent_id"])
        routed = agent.inference(
            model="ainfera-inference", messages=QUESTION, max_tokens=16, routing_hint={"min_quality": 0}
        )
        assert (routed.model_used, routed.provider) == (SMOLLM2.slug, "local")
        assert sdk.receipts.retrieve(routed.receipt_id).inference_id == routed.inference_id
        chain = agent.audit_chain
        events = list(chain.events())
        assert chain.verify()
        remote = chain.verify_remote()
        assert (remote.valid, remote.event_count) == (True, len(events))
    _check_paid(books, bundle, plain, chunks[-1], routed)
    key = ainfera_verify.fetch.fetch_public_key(f"{gateway.url}/.well-known/ainfera-public-key.json")
    result = ainfera_verify.verify_chain(
        ainfera_verify.fetch.fetch_chain(bundle["agent_id"], base_url=gateway.url), key
    )
    assert (result.ok, result.events_verified) == (True, len(events))
    assert [event.event_type for event in events if event.event_type == "receipt.created"] == ["receipt.created"] * 3


def _check_paid(books: Books, bundle: dict[str, Any], plain: Any, last: Any, routed: Any) -> None:
    """Each price is the list price of what the model itself reported, on the answer as in the ledger."""
    costs: list[int] = []
    for said in (plain, last):
        assert said.usage is not None
        cost = cost_of(SMOLLM2.slug, said.usage.prompt_tokens, said.usage.completion_tokens)
        mine = said.model_extra["ainfera"]
        assert Decimal(mine["cost_usd"]) * 10**12 == cost == paid(books, mine["inference_id"]) > 0
        costs.append(cost)
    cost = cost_of(SMOLLM2.slug, routed.input_tokens, routed.output_tokens)
    assert routed.cost_usd * 10**12 == cost == paid(books, routed.inference_id) > 0
    costs.append(cost)
    assert books.wallet(bundle["agent_id"])["balance_picousd"] == 5 * 10**12 - sum(costs)
    assert {row["usage_source"] for row in books.outcomes(bundle["agent_id"])} == {"provider"}


def test_a_router_that_is_asked_for_more_than_the_local_model_can_refuses(gateway: GatewayProcess) -> None:
    bundle = gateway.signup("asks-too-much")
    with client_of(gateway, bundle) as client, pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(model="ainfera-inference", messages=QUESTION, max_tokens=16)
    assert caught.value.code == "no_candidate_clears_floor"


def test_a_caller_who_leaves_stops_the_model(gateway: GatewayProcess, books: Books) -> None:
    bundle = gateway.signup("leaves")
    with client_of(gateway, bundle) as client:
        stream = client.chat.completions.create(model=SMOLLM2.slug, messages=LONG, max_tokens=2000, stream=True)
        for _ in range(5):
            next(stream)
        stream.close()
    outcome = books.outcome_of(bundle["agent_id"])
    assert outcome["outcome_status"] == "client_cancelled"
    assert 0 < outcome["output_tokens"] < 1000
    model = next(
        child for child in psutil.Process(gateway.pid).children() if "server_main" in " ".join(child.cmdline())
    )
    # A model that still wrote would use a core; 2,000 tokens take many times these samples.
    eventually(lambda: model.cpu_percent(interval=0.2) < 20, timeout_s=5)


def test_a_model_that_dies_is_started_again_and_the_next_call_is_served(gateway: GatewayProcess) -> None:
    bundle = gateway.signup("survives")
    (child,) = [c for c in psutil.Process(gateway.pid).children() if "server_main" in " ".join(c.cmdline())]
    child.kill()
    failures: set[str | None] = set()
    with client_of(gateway, bundle) as client:

        def served() -> bool:
            try:
                answer = client.chat.completions.create(model=SMOLLM2.slug, messages=QUESTION, max_tokens=8)
            except openai.InternalServerError as failed:
                failures.add(failed.code)
                return False
            return bool(answer.choices[0].message.content)

        eventually(served, timeout_s=30)
    assert failures <= {"provider_error"}


def test_the_metrics_count_what_was_done(gateway: GatewayProcess) -> None:
    with gateway.client(INTERNAL_KEY) as client:
        lines = client.get("/metrics").text.splitlines()
    series = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    assert series["ainfera_dispatch_without_capture_total"] == 0
    tried = {
        name: value for name, value in series.items() if "provider_calls_total" in name and 'provider="local"' in name
    }
    attempts = rows(gateway.database, "SELECT COUNT(*) FROM attempts WHERE reason IS NOT 'not_sent'")[0][0]
    assert sum(tried.values()) == attempts > 3
    height = rows(gateway.database, "SELECT COUNT(*) FROM audit_events")[0][0]
    assert 0 < series["ainfera_audit_chain_height"] <= height
    assert httpx.get(f"{gateway.url}/metrics").status_code == 401
