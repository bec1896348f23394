"""A caller who hangs up, at every point of an answer: the provider is cut off, and what is paid is what was relayed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.evidence import problems, wait_settled
from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import Books, cost_of, cost_of_usage, estimated_input, estimated_output, eventually
from tests.integration.raw_stream import RawStream
from tests.simulator.process import Seen, Simulator

DRAIN_S = 0.3
PATIENT_S = 60
"""A drain that no answer here outlasts, however busy the machine is. No attempt times out before it either."""
CUT_OFF_WITHIN_S = PATIENT_S / 2
CHAT, FLAT = "/v1/chat/completions", "/v1/inference"
MODEL = "gpt-5-5"
# "Echo of message 1: a b c": role, eight deltas, finish, usage, [DONE]
TEXTS = ("", "Echo", " of", " message", " 1", ":", " a", " b", " c", "")


@dataclass(frozen=True)
class House:
    """A gateway and its provider, which had seen ``begun`` requests of others before."""

    gateway: GatewayProcess
    simulator: Simulator
    begun: int = 0

    @property
    def books(self) -> Books:
        return Books(self.gateway.database)

    def check(self) -> None:
        wait_settled(self.gateway.database)
        assert self.simulator.wait_idle()
        assert (
            problems(self.gateway.database, [one.begin["attempt"] for one in self.simulator.seen()[self.begun :]]) == []
        )


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
        House(running, simulator, begun).check()


@pytest.fixture(scope="module")
def patient(
    tmp_path_factory: pytest.TempPathFactory, further_environment: Callable[[], dict[str, str]]
) -> Iterator[House]:
    """A gateway that waits for what comes after its caller left as long as it takes."""
    with Simulator(tmp_path_factory.mktemp("patient-simulator")) as simulator:
        environment = further_environment() | provider_environment(simulator.base_url)
        environment |= {"AINFERA_DISCONNECT_DRAIN_S": str(PATIENT_S)}
        with GatewayProcess(tmp_path_factory.mktemp("patient"), environment) as running:
            yield House(running, simulator)
            House(running, simulator).check()


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
    """What became of the attempt at the provider, which must be soon: left to itself, it would be open for minutes."""
    assert simulator.wait_idle(CUT_OFF_WITHIN_S), "the provider was not cut off"
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


@pytest.mark.parametrize(("stream", "directive"), [(True, "wait_ack"), (True, "hold pace=12"), (False, "hold")])
def test_an_answer_that_is_whole_within_the_drain_is_paid_by_the_providers_usage(
    stream: bool, directive: str, patient: House
) -> None:
    agent = patient.gateway.signup(f"whole-{directive.split(maxsplit=1)[0].replace('_', '-')}-{stream}".lower())
    caller = RawStream(patient.gateway.url, CHAT, body_of(directive, stream=stream), agent["api_key"])
    attempt = open_attempt(patient.simulator)
    caller.leave()
    patient.simulator.ack_to_the_end(attempt)
    seen = cut_off(patient.simulator, attempt)
    assert seen.outcome == "complete"
    assert seen.end is not None
    outcome = ended(patient.books, agent)
    assert (outcome["outcome_status"], outcome["usage_source"]) == ("client_cancelled", "provider")
    assert outcome["cost_picousd"] == cost_of_usage(MODEL, seen.end["usage"])


def test_a_provider_that_talks_on_is_cut_off_at_the_end_of_the_drain(
    gateway: GatewayProcess, simulator: Simulator, agent: dict[str, Any], books: Books
) -> None:
    body = body_of("big=20000 ignore_max wait_ack", stream=True)
    stream = RawStream(gateway.url, CHAT, body, agent["api_key"]).open()
    relayed = content_of(stream.event())
    attempt = open_attempt(simulator)
    for _ in range(4):
        simulator.ack(attempt)
        relayed += content_of(stream.event())
    stream.leave()
    # It talks on: an event for every acknowledgement, and thousands are left.
    simulator.ack_to_the_end(attempt)
    seen = cut_off(simulator, attempt)
    assert seen.outcome == "client_gone"
    outcome = ended(books, agent)
    assert outcome["outcome_status"] == "client_cancelled"
    assert outcome["cost_picousd"] == cost_of(MODEL, input_tokens(body), estimated_output(relayed))


def content_of(event: bytes | None) -> str:
    assert event is not None
    return str(json.loads(event[6:])["choices"][0]["delta"]["content"])


def test_a_flood_is_cut_off_at_64_kib_long_before_the_drain_ends(patient: House) -> None:
    agent = patient.gateway.signup("flooded")
    body = body_of("big=200000 ignore_max per_event=2000 wait_ack", stream=True)
    stream = RawStream(patient.gateway.url, CHAT, body, agent["api_key"]).open()
    stream.event()
    attempt = open_attempt(patient.simulator)
    stream.leave()
    # Each is an event of more than 16 KiB; a hundred are left when these have come, and the drain goes on.
    for _ in range(6):
        patient.simulator.ack(attempt)
    seen = cut_off(patient.simulator, attempt)
    assert seen.outcome == "client_gone"
    assert seen.end is not None
    assert 64 * 1024 < seen.end["bytes"] < 64 * 1024 * 3
    assert ended(patient.books, agent)["outcome_status"] == "client_cancelled"


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


@pytest.mark.parametrize("directive", ["hold 500", "hold reset", "hold 429 retry_after=2", "hold 503 retry_after=1"])
def test_a_caller_who_leaves_a_call_that_is_about_to_fail_pays_nothing_and_nothing_more_is_tried(
    directive: str, patient: House
) -> None:
    agent = patient.gateway.signup("-".join(directive.replace("=", "-").replace("_", "-").split()))
    before = patient.simulator.count()
    caller = RawStream(patient.gateway.url, CHAT, body_of(directive, stream=False), agent["api_key"])
    attempt = open_attempt(patient.simulator)
    caller.leave()
    patient.simulator.ack(attempt)
    outcome = ended(patient.books, agent)
    assert (outcome["outcome_status"], outcome["cost_picousd"]) == ("client_cancelled", 0)
    assert patient.simulator.count() == before + 1


@pytest.mark.parametrize("directive", ["429 retry_after=2", "503 retry_after=1"])
def test_a_caller_who_leaves_while_the_next_try_is_waited_for_pays_nothing_and_nothing_more_is_tried(
    directive: str, gateway: GatewayProcess, simulator: Simulator, new_agent: Any, books: Books
) -> None:
    for _ in range(10):
        agent, before = new_agent(), simulator.count()
        caller = RawStream(gateway.url, CHAT, body_of(directive, stream=False), agent["api_key"])
        eventually(lambda before=before: simulator.count() > before)  # type: ignore[misc]
        caller.leave()
        if simulator.count() == before + 1:
            break
        # This process was held up for as long as the wait: the next try was on its way before the caller left.
    outcome = ended(books, agent)
    assert (outcome["outcome_status"], outcome["cost_picousd"]) == ("client_cancelled", 0)
    assert simulator.count() == before + 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_what_came_after_the_caller_left_is_there_when_it_asks_again(stream: bool, patient: House) -> None:
    gateway, simulator, books = patient.gateway, patient.simulator, patient.books
    agent = gateway.signup(f"asks-again-{stream}".lower())
    body = body_of("wait_ack" if stream else "hold", stream=stream)
    key = {"idempotency-key": "the same"}
    caller = RawStream(gateway.url, CHAT, body, agent["api_key"], key)
    attempt = open_attempt(simulator)
    if stream:
        caller.open().event()
    caller.leave()
    simulator.ack_to_the_end(attempt)
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
