"""A caller who hangs up, at every point of an answer: the provider is cut off, and what is paid is what was relayed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import problems, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import Books, cost_of, cost_of_usage, estimated_input, estimated_output, eventually
from tests.integration.raw_stream import RawStream
from tests.simulator.process import Seen, Simulator

DRAIN_S = 0.3
# The drain, plus what a busy machine may add.
CUT_OFF_WITHIN_S = DRAIN_S + 1.5
CHAT, FLAT = "/v1/chat/completions", "/v1/inference"
MODEL = "gpt-5-5"
# "Echo of message 1: a b c": role, eight deltas, finish, usage, [DONE]
TEXTS = ("", "Echo", " of", " message", " 1", ":", " a", " b", " c", "")


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    environment = (
        engine_environment | provider_environment(simulator.base_url) | {"AINFERA_DISCONNECT_DRAIN_S": str(DRAIN_S)}
    )
    with GatewayProcess(tmp_path_factory.mktemp("disconnect"), environment) as running:
        begun = len(simulator.seen())
        yield running
        wait_settled(running.database)
        assert simulator.wait_idle()
        assert problems(running.database, [one.begin["attempt"] for one in simulator.seen()[begun:]]) == []


@pytest.fixture
def books(gateway: GatewayProcess) -> Books:
    return Books(gateway.database)


def body_of(directive: str, *, stream: bool, model: str = MODEL) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": f"a b c [[sim:{directive}]]"}]}
    body["max_tokens"] = 100
    if stream:
        body["stream"] = True
    return body


def input_tokens(body: dict[str, Any]) -> int:
    return estimated_input(json.dumps(body["messages"]).encode(), 1)


def open_attempt(simulator: Simulator, *, sent: int = 0) -> str:
    """The one attempt that is open, once it has sent so many events."""
    eventually(lambda: [one["sent"] >= sent for one in simulator.live()] == [True])
    return str(simulator.live()[0]["attempt"])


def cut_off(simulator: Simulator, attempt: str) -> Seen:
    """What became of the attempt at the provider, which must be soon."""
    left_s = time.monotonic()
    assert simulator.wait_idle(CUT_OFF_WITHIN_S), "the provider was not cut off"
    assert time.monotonic() - left_s < CUT_OFF_WITHIN_S
    (seen,) = simulator.attempts()[attempt]
    return seen


def ended(books: Books, agent: dict[str, Any]) -> dict[str, Any]:
    """The one outcome of the agent, with its money checked: one debit of its cost, nothing held."""
    outcome = books.outcome_of(agent["agent_id"])
    (debit,) = [row for row in books.transfers(outcome["inference_id"]) if row["kind"] == "debit"]
    assert debit["amount_picousd"] == outcome["cost_picousd"]
    assert books.holds(agent["agent_id"]) == []
    wallet = books.wallet(agent["agent_id"])
    assert wallet["held_picousd"] == 0
    assert wallet["balance_picousd"] == 5 * 10**12 - outcome["cost_picousd"]
    return outcome


@pytest.mark.parametrize("events", range(1, len(TEXTS) + 1))
@pytest.mark.parametrize("path", [CHAT, FLAT])
def test_a_caller_who_leaves_after_so_many_events_pays_for_those(
    path: str, events: int, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    body = body_of("wait_ack", stream=True)
    with RawStream(gateway.url, path, body, agent["api_key"]) as stream:
        assert stream.open().status == 200
        assert stream.event() is not None
        attempt = open_attempt(simulator)
        for _ in range(events - 1):
            simulator.ack(attempt)
            assert stream.event() is not None
    seen = cut_off(simulator, attempt)
    assert seen.outcome == "client_gone"
    assert seen.end is not None
    assert seen.end["events"] == events
    outcome = ended(books, agent)
    assert outcome["outcome_status"] == "client_cancelled"
    assert outcome["usage_source"] == "estimated"
    relayed = "".join(TEXTS[:events])
    assert outcome["cost_picousd"] == cost_of(MODEL, input_tokens(body), estimated_output(relayed))
    (row,) = books.attempts(outcome["inference_id"])
    assert (row["outcome"], row["reason"]) == ("cancelled", "caller_left")


@pytest.mark.parametrize("directive", ["stall", "slow=60000", "stall_after=0"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("path", [CHAT, FLAT])
def test_a_caller_who_leaves_before_the_first_byte_pays_the_input(
    path: str,
    stream: bool,
    directive: str,
    gateway: GatewayProcess,
    simulator: Simulator,
    agent: dict[str, Any],
    books: Books,
) -> None:
    body = body_of(directive, stream=stream)
    with RawStream(gateway.url, path, body, agent["api_key"]):
        attempt = open_attempt(simulator)
    assert cut_off(simulator, attempt).outcome == "client_gone"
    outcome = ended(books, agent)
    assert (outcome["outcome_status"], outcome["usage_source"]) == ("client_cancelled", "estimated")
    assert outcome["cost_picousd"] == cost_of(MODEL, input_tokens(body), 0)


def test_a_caller_who_leaves_in_the_middle_of_a_plain_answer_pays_the_input(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    body = body_of("stall_after=60", stream=False)
    with RawStream(gateway.url, CHAT, body, agent["api_key"]):
        attempt = open_attempt(simulator)
    assert cut_off(simulator, attempt).outcome == "client_gone"
    outcome = ended(books, agent)
    assert outcome["outcome_status"] == "client_cancelled"
    assert outcome["cost_picousd"] == cost_of(MODEL, input_tokens(body), 0)


@pytest.mark.parametrize(("stream", "directive"), [(True, "pace=12"), (True, "slow=120"), (False, "slow=120")])
def test_an_answer_that_is_whole_within_the_drain_is_paid_by_the_providers_usage(
    stream: bool, directive: str, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    with RawStream(gateway.url, CHAT, body_of(directive, stream=stream), agent["api_key"]):
        attempt = open_attempt(simulator)
    seen = cut_off(simulator, attempt)
    assert seen.outcome == "complete"
    assert seen.end is not None
    outcome = ended(books, agent)
    assert (outcome["outcome_status"], outcome["usage_source"]) == ("client_cancelled", "provider")
    assert outcome["cost_picousd"] == cost_of_usage(MODEL, seen.end["usage"])


def test_a_provider_that_talks_on_is_cut_off_at_the_end_of_the_drain(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    body = body_of("big=4000 ignore_max pace=10", stream=True)
    with RawStream(gateway.url, CHAT, body, agent["api_key"]) as stream:
        stream.open()
        relayed = "".join(json.loads((stream.event() or b"")[6:])["choices"][0]["delta"]["content"] for _ in range(5))
        attempt = open_attempt(simulator)
    seen = cut_off(simulator, attempt)
    assert seen.outcome == "client_gone"
    assert seen.end is not None
    assert seen.end["events"] < 5 + 100 * CUT_OFF_WITHIN_S
    outcome = ended(books, agent)
    assert outcome["outcome_status"] == "client_cancelled"
    least = cost_of(MODEL, input_tokens(body), estimated_output(relayed))
    # An event or two may have been on their way when the caller left.
    assert least <= outcome["cost_picousd"] <= least + cost_of(MODEL, 0, 40)


def test_a_flood_is_cut_off_at_64_kib_long_before_the_drain_ends(tmp_path: Path) -> None:
    with (
        Simulator() as simulator,
        GatewayProcess(
            tmp_path, provider_environment(simulator.base_url) | {"AINFERA_DISCONNECT_DRAIN_S": "60"}
        ) as patient,
    ):
        agent = patient.signup("flooded")
        body = body_of("big=200000 ignore_max pace=1 per_event=40", stream=True)
        with RawStream(patient.url, CHAT, body, agent["api_key"]) as stream:
            stream.open()
            stream.event()
            attempt = open_attempt(simulator)
        seen = cut_off(simulator, attempt)
        assert seen.outcome == "client_gone"
        assert seen.end is not None
        assert 64 * 1024 < seen.end["bytes"] < 64 * 1024 * 20
        assert ended(Books(patient.database), agent)["outcome_status"] == "client_cancelled"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_a_caller_who_leaves_after_the_end_has_had_a_call_like_any_other(
    stream: bool, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    if stream:
        with RawStream(gateway.url, CHAT, body_of("pace=1", stream=True), agent["api_key"]) as caller:
            assert caller.open().rest().endswith(b"data: [DONE]\n\n")
    else:
        with gateway.client(agent["api_key"]) as client:
            assert client.post(CHAT, json=body_of("pace=1", stream=False)).status_code == 200
    assert simulator.wait_idle()
    usage = simulator.seen()[-1].end
    assert usage is not None
    outcome = ended(books, agent)
    assert (outcome["outcome_status"], outcome["usage_source"]) == ("succeeded", "provider")
    assert outcome["cost_picousd"] == cost_of_usage(MODEL, usage["usage"])


@pytest.mark.parametrize("directive", ["500 slow=150", "reset slow=150", "429 retry_after=2", "503 retry_after=1"])
def test_a_caller_who_leaves_a_call_that_was_failing_pays_nothing_and_nothing_more_is_tried(
    directive: str, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    before = simulator.count()
    body = body_of(directive, stream=False)
    with RawStream(gateway.url, CHAT, body, agent["api_key"]):
        eventually(lambda: simulator.count() == before + 1)
    outcome = ended(books, agent)
    assert (outcome["outcome_status"], outcome["cost_picousd"]) == ("client_cancelled", 0)
    assert simulator.count() == before + 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_what_came_after_the_caller_left_is_there_when_it_asks_again(
    stream: bool, gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    body = body_of("pace=12" if stream else "slow=120", stream=stream)
    key = {"idempotency-key": "the same"}
    with RawStream(gateway.url, CHAT, body, agent["api_key"], key) as caller:
        attempt = open_attempt(simulator)
        if stream:
            caller.open().event()
    assert cut_off(simulator, attempt).outcome == "complete"
    cost = ended(books, agent)["cost_picousd"]
    before = simulator.count()
    with gateway.client(agent["api_key"]) as client:
        head = {**key, "content-type": "application/json"}
        again = client.post(CHAT, content=json.dumps(body).encode(), headers=head)
    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    if stream:
        events = [json.loads(event[6:]) for event in again.content.split(b"\n\n")[:-2]]
        said = [choice["delta"].get("content") or "" for event in events for choice in event["choices"]]
        assert said == list(TEXTS), "the whole stream, not what the first caller had seen of it"
        assert again.content.endswith(b"data: [DONE]\n\n")
    else:
        assert again.json()["choices"][0]["message"]["content"] == "".join(TEXTS)
    assert simulator.count() == before
    assert ended(books, agent)["cost_picousd"] == cost


def test_a_caller_who_stops_reading_and_leaves_does_not_hold_the_call_open(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    body = body_of("big=400000 ignore_max per_event=4", stream=True)
    with RawStream(gateway.url, CHAT, body, agent["api_key"]) as stream:
        stream.open()
        attempt = open_attempt(simulator, sent=50)
    assert cut_off(simulator, attempt).outcome == "client_gone"
    assert ended(books, agent)["outcome_status"] == "client_cancelled"
