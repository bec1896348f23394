"""Who pays when a call breaks after its first byte, when its caller leaves, and when the gateway dies."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess, provider_environment
from tests.integration.books import (
    Books,
    cost_of,
    cost_of_usage,
    estimated_input,
    estimated_output,
    eventually,
    sent_for,
)
from tests.integration.calls import NATIVE, OPENAI, TEXT, Caller, check_settled, messages_of
from tests.integration.raw_stream import RawStream, is_open
from tests.simulator.process import Seen, Simulator

MODEL = "gpt-5-5"
ROUTER = "ainfera-inference"
DRAIN_S, PATIENT_S = "0.5", "60"
STALLED_S = "3"
JSON = {"content-type": "application/json"}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    """As everywhere, but a caller's drain is short."""
    simulator.clear_script()  # another engine may have counted there already
    environment = engine_environment | provider_environment(simulator.base_url)
    environment |= {"AINFERA_DISCONNECT_DRAIN_S": DRAIN_S}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def patient_gateway(
    simulator: Simulator,
    tmp_path_factory: pytest.TempPathFactory,
    further_environment: Callable[[], dict[str, str]],
) -> Iterator[GatewayProcess]:
    """Here a caller's drain outlasts every answer."""
    environment = further_environment() | provider_environment(simulator.base_url)
    environment |= {"AINFERA_DISCONNECT_DRAIN_S": PATIENT_S}
    with GatewayProcess(tmp_path_factory.mktemp("patient"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def hasty_gateway(
    simulator: Simulator,
    tmp_path_factory: pytest.TempPathFactory,
    further_environment: Callable[[], dict[str, str]],
) -> Iterator[GatewayProcess]:
    """Here a provider that says nothing for three seconds has stalled."""
    environment = further_environment() | provider_environment(simulator.base_url)
    environment |= {"AINFERA_ATTEMPT_TIMEOUT_S": STALLED_S}
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), environment) as running:
        yield running


@pytest.fixture
def caller(gateway: GatewayProcess, agent: dict[str, Any]) -> Caller:
    return Caller(gateway, agent)


@pytest.fixture
def patient(patient_gateway: GatewayProcess) -> Caller:
    return Caller(patient_gateway, patient_gateway.signup(f"patient-{next(_numbers)}"))


@pytest.fixture
def hasty(hasty_gateway: GatewayProcess) -> tuple[Caller, Caller]:
    names = (f"hasty-{next(_numbers)}", f"hasty-{next(_numbers)}")
    one, other = (Caller(hasty_gateway, hasty_gateway.signup(name)) for name in names)
    return one, other


def estimate(text: str) -> int:
    return estimated_input(json.dumps(messages_of(text)).encode(), 1)


# ---- the provider breaks after its first byte ----


@pytest.mark.parametrize(("model", "path"), [(MODEL, OPENAI), (ROUTER, NATIVE)], ids=["pinned", "routed"])
@pytest.mark.parametrize(
    "fault",
    [
        "error_after=4", "reset_after=4", "truncate=4", "truncate=no_finish", "truncate=in_json", "garbage=data pace=20",
        "garbage=utf8 garbage_after=4 pace=20",
    ],
)  # fmt: skip
def test_a_stream_that_breaks_costs_what_was_relayed(
    caller: Caller, simulator: Simulator, fault: str, model: str, path: str
) -> None:
    break_off(caller, simulator, fault, model, path)


def test_a_stream_that_stalls_costs_what_was_relayed(hasty: tuple[Caller, Caller], simulator: Simulator) -> None:
    with ThreadPoolExecutor() as pool:
        ways = [(MODEL, OPENAI), (ROUTER, NATIVE)]
        list(pool.map(lambda one, way: break_off(one, simulator, "stall_after=4", *way), hasty, ways))


def break_off(caller: Caller, simulator: Simulator, fault: str, model: str, path: str) -> None:
    """One stream whose provider fails it after its first byte, and all that is to be known of it."""
    before, events = caller.balance, caller.event_count
    answer = caller.call(f"{TEXT} [[sim:{fault}]]", model=model, stream=True, path=path, max_tokens=60)
    assert answer.status == 200
    served = answer.headers["x-ainfera-model"]
    assert not answer.done
    assert answer.error["code"] == "provider_error"
    assert answer.chunks[-1].keys() == {"error"}
    said = "".join(
        choice["delta"].get("content") or "" for chunk in answer.chunks[:-1] for choice in chunk.get("choices", ())
    )
    paid = cost_of(served, 0, estimated_output(said))
    check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="failed_provider_error", source="estimated"
    )
    assert len(sent_for(simulator, caller.books, answer.inference_id)) == 1, "no other attempt after the first byte"
    assert caller.events_after(events) == ["inference.routed", "provider.responded", "inference.failed"]
    assert caller.books.house(answer.inference_id) == {}


@pytest.mark.parametrize("fault", ["error_after=5", "truncate=5", "reset_after=5"])
def test_a_stream_that_breaks_after_its_usage_came_costs_the_usage(
    caller: Caller, simulator: Simulator, fault: str
) -> None:
    before = caller.balance
    answer = caller.call(f"{TEXT} [[sim:usage=cumulative {fault}]]", model=MODEL, stream=True, max_tokens=60)
    assert answer.error["code"] == "provider_error"
    (seen,) = sent_for(simulator, caller.books, answer.inference_id)
    assert seen.end is not None
    paid = cost_of_usage(MODEL, seen.end["usage"])
    check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="failed_provider_error", source="provider"
    )


@pytest.mark.parametrize("fault", ["truncate", "reset_after=30", "garbage=body", "garbage=utf8"])
def test_a_plain_answer_that_breaks_is_tried_again(caller: Caller, simulator: Simulator, fault: str) -> None:
    before = caller.balance
    answer = caller.call(f"{TEXT} {fault} [[sim:{fault} times=1]]", model=MODEL, max_tokens=60)
    assert answer.status == 200
    _, served = sent_for(simulator, caller.books, answer.inference_id)
    assert served.end is not None
    paid = cost_of_usage(MODEL, served.end["usage"])
    check_settled(
        caller, answer.inference_id, before=before, paid=paid, status="succeeded", source="provider", attempts=2
    )


def test_a_plain_answer_that_never_comes_costs_nothing(hasty: tuple[Caller, Caller]) -> None:
    def wait_in_vain(caller: Caller, fault: str) -> None:
        before = caller.balance
        answer = caller.call(f"{TEXT} [[sim:{fault}]]", model=MODEL, max_tokens=60)
        assert (answer.status, answer.error["code"]) == (502, "provider_error")
        check_settled(
            caller, answer.inference_id, before=before, paid=0, status="failed_provider_error", source="none",
            attempts=2,
        )  # fmt: skip
        assert {row["outcome"] for row in caller.books.attempts(answer.inference_id)} == {"timeout"}

    with ThreadPoolExecutor() as pool:
        list(pool.map(wait_in_vain, hasty, ["stall", "stall_after=20"]))


# ---- the caller leaves ----


class Leaving:
    """A stream read event by event, as far as the test wants, from a provider that waits for an acknowledgement."""

    def __init__(self, caller: Caller, simulator: Simulator, text: str, **more: Any) -> None:
        self.simulator = simulator
        body = {"model": MODEL, "messages": messages_of(text), "stream": True, "max_tokens": 60, **more}
        self._client = caller.gateway.client(caller.key)
        self._answer = self._client.stream("POST", OPENAI, content=json.dumps(body), headers=JSON)
        self.response = self._answer.__enter__()
        assert self.response.status_code == 200
        self._address = self.response.extensions["network_stream"].get_extra_info("client_addr")
        self._lines = self.response.iter_lines()
        self.said = ""
        self.read()

    @property
    def inference_id(self) -> str:
        return self.response.headers["x-ainfera-inference-id"]

    @property
    def attempt(self) -> str:
        """The newest attempt that the provider still answers."""
        return str(self.simulator.live()[-1]["attempt"])

    def read(self) -> None:
        """One more event."""
        line = next(line for line in self._lines if line.startswith("data: "))
        chunk = json.loads(line.removeprefix("data: "))
        self.said += chunk["choices"][0]["delta"].get("content") or ""

    def leave(self) -> None:
        """Hang up, and wait until the gateway has closed its side: from there on it knows."""
        ends = (self._address[1], int(self._client.base_url.port or 0))
        assert is_open(*ends)
        self._answer.__exit__(None, None, None)
        self._client.close()
        eventually(lambda: not is_open(*ends))


def settled(caller: Caller, inference_id: str) -> None:
    def is_settled() -> bool:
        return any(row["inference_id"] == inference_id for row in caller.books.outcomes(caller.agent_id))

    eventually(is_settled)


def only_attempt(caller: Caller, simulator: Simulator, inference_id: str) -> Seen:
    """The one attempt of a call, once the provider has done with it."""
    (seen,) = sent_for(simulator, caller.books, inference_id)
    return seen


@pytest.mark.parametrize("read", [0, 1, 4])
def test_a_caller_who_leaves_pays_the_input_and_what_was_relayed(
    caller: Caller, simulator: Simulator, read: int
) -> None:
    before, events = caller.balance, caller.event_count
    text = f"{TEXT} [[sim:wait_ack]]"
    stream = Leaving(caller, simulator, text)
    attempt = stream.attempt
    for _ in range(read):
        simulator.ack(attempt)
        stream.read()
    stream.leave()
    settled(caller, stream.inference_id)
    paid = cost_of(MODEL, estimate(text), estimated_output(stream.said))
    check_settled(caller, stream.inference_id, before=before, paid=paid, status="client_cancelled", source="estimated")
    assert only_attempt(caller, simulator, stream.inference_id).outcome == "client_gone"
    assert caller.events_after(events) == ["inference.routed", "provider.responded", "receipt.created"]
    assert caller.books.attempts(stream.inference_id)[0]["outcome"] == "cancelled"


def test_what_comes_after_the_caller_left_was_not_relayed(caller: Caller, simulator: Simulator) -> None:
    before = caller.balance
    text = f"{TEXT} [[sim:wait_ack]]"
    stream = Leaving(caller, simulator, text)
    attempt = stream.attempt
    simulator.ack(attempt)
    stream.read()
    stream.leave()
    # The gateway drains what comes from now on; none of it can reach the caller, whose socket is closed.
    for _ in range(3):
        simulator.ack(attempt)
    settled(caller, stream.inference_id)
    paid = cost_of(MODEL, estimate(text), estimated_output(stream.said))
    check_settled(caller, stream.inference_id, before=before, paid=paid, status="client_cancelled", source="estimated")


def test_a_caller_who_leaves_pays_the_usage_if_it_comes_within_the_drain(patient: Caller, simulator: Simulator) -> None:
    caller, before = patient, patient.balance
    stream = Leaving(caller, simulator, f"{TEXT} [[sim:wait_ack]]")
    attempt = stream.attempt
    simulator.ack(attempt)
    stream.read()
    stream.leave()
    simulator.ack_to_the_end(attempt)
    settled(caller, stream.inference_id)
    seen = only_attempt(caller, simulator, stream.inference_id)
    assert seen.outcome == "complete"
    assert seen.end is not None
    paid = cost_of_usage(MODEL, seen.end["usage"])
    check_settled(caller, stream.inference_id, before=before, paid=paid, status="client_cancelled", source="provider")


def test_a_caller_who_leaves_does_not_keep_an_endless_stream_running(caller: Caller, simulator: Simulator) -> None:
    caller.set_policy(per_call_cap_usd=None)
    stream = Leaving(caller, simulator, f"{TEXT} [[sim:big=60000 ignore_max wait_ack]]", max_tokens=60_000)
    attempt = stream.attempt
    simulator.ack(attempt)
    stream.read()
    stream.leave()
    simulator.ack_to_the_end(attempt)
    settled(caller, stream.inference_id)
    seen = only_attempt(caller, simulator, stream.inference_id)
    assert seen.outcome == "client_gone"
    assert caller.books.outcome_of(caller.agent_id)["outcome_status"] == "client_cancelled"
    assert caller.books.holds(caller.agent_id) == []


def leave_plain(caller: Caller, simulator: Simulator, text: str, model: str = MODEL) -> None:
    """A plain call whose caller hangs up while the provider is silent; what the provider holds back comes then."""
    before = simulator.count()
    body = {"model": model, "messages": messages_of(text), "max_tokens": 60}
    leaving = RawStream(caller.gateway.url, OPENAI, body, caller.key)
    eventually(lambda: simulator.count() > before)
    attempt = str(simulator.live()[-1]["attempt"])
    leaving.leave()
    simulator.ack(attempt)


def test_a_plain_caller_who_leaves_pays_the_usage_if_it_comes_within_the_drain(
    patient: Caller, simulator: Simulator
) -> None:
    caller, before = patient, patient.balance
    leave_plain(caller, simulator, f"{TEXT} [[sim:hold]]")
    inference_id = caller.books.outcome_of(caller.agent_id)["inference_id"]
    seen = only_attempt(caller, simulator, inference_id)
    assert seen.end is not None
    paid = cost_of_usage(MODEL, seen.end["usage"])
    check_settled(caller, inference_id, before=before, paid=paid, status="client_cancelled", source="provider")


def test_a_plain_caller_who_leaves_a_slow_provider_pays_the_input(caller: Caller, simulator: Simulator) -> None:
    before = caller.balance
    text = f"{TEXT} [[sim:stall]]"
    leave_plain(caller, simulator, text)
    inference_id = caller.books.outcome_of(caller.agent_id)["inference_id"]
    paid = cost_of(MODEL, estimate(text), 0)
    check_settled(caller, inference_id, before=before, paid=paid, status="client_cancelled", source="estimated")
    assert only_attempt(caller, simulator, inference_id).outcome == "client_gone"


def test_a_caller_who_leaves_a_provider_that_fails_pays_nothing(patient: Caller, simulator: Simulator) -> None:
    caller, before = patient, patient.balance
    leave_plain(caller, simulator, f"{TEXT} [[sim:hold 500]]")
    inference_id = caller.books.outcome_of(caller.agent_id)["inference_id"]
    check_settled(caller, inference_id, before=before, paid=0, status="client_cancelled", source="none")
    assert only_attempt(caller, simulator, inference_id).outcome == "error"


def test_a_caller_who_leaves_starts_no_other_attempt(patient: Caller, simulator: Simulator) -> None:
    leave_plain(patient, simulator, f"{TEXT} [[sim:hold 503 on=mistral-*]]", model=ROUTER)
    inference_id = patient.books.outcome_of(patient.agent_id)["inference_id"]
    assert only_attempt(patient, simulator, inference_id).begin["model"] == "mistral-large-3"


# ---- the gateway dies ----


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_call_whose_gateway_dies_is_the_house_s(simulator: Simulator, tmp_path: Path, stream: bool) -> None:
    environment = provider_environment(simulator.base_url)
    gateway = GatewayProcess(tmp_path, environment).start()
    caller = Caller(gateway, gateway.signup("mortal"))
    before = caller.balance
    text = f"{TEXT} [[sim:{'stall_after=3' if stream else 'stall'}]]"
    body = {"model": MODEL, "messages": messages_of(text), "max_tokens": 60, "stream": stream}
    count = simulator.count()
    with RawStream(gateway.url, OPENAI, body, caller.key) as waiting:
        eventually(lambda: simulator.count() == count + 1)
        if stream:
            assert waiting.open().event() is not None
        gateway.kill()
    assert simulator.count() == count + 1
    (hold,) = caller.books.holds(caller.agent_id)
    assert hold["amount_picousd"] == cost_of(MODEL, estimate(text), 60)
    assert caller.books.outcomes(caller.agent_id) == []
    with GatewayProcess(tmp_path, environment) as again:
        revived = Caller(again, {"agent_id": caller.agent_id, "tenant_id": caller.tenant_id, "api_key": caller.key})
        outcome = check_settled(
            revived, hold["inference_id"], before=before, paid=0, status="indeterminate", source="none"
        )
        assert outcome["model"] == MODEL
        (correction,) = revived.books.corrections(hold["inference_id"])
        assert (correction["kind"], correction["amount_picousd"]) == (
            "indeterminate_upper_bound",
            hold["amount_picousd"],
        )
        assert [name for name, _ in revived.books.events(caller.agent_id)][-2:] == [
            "inference.routed",
            "inference.failed",
        ]
        assert revived.call(model=MODEL, max_tokens=20).status == 200
        assert Books(again.database).broken_laws() == {}


def test_the_laws_hold_over_all_of_this(caller: Caller, patient: Caller, hasty: tuple[Caller, Caller]) -> None:
    for one in (caller, patient, *hasty):
        assert one.books.broken_laws() == {}
