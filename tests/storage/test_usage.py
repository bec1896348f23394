"""Usage and lists on both engines: the sums are exact, and they are the ledger's."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from ainfera_gateway.control import list_inferences
from ainfera_gateway.control import usage as usage_module
from ainfera_gateway.control.list_inferences import CallFilter
from ainfera_gateway.control.usage import GROUPS, Group, Usage, usage
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.inference.lifecycle import Outcome
from ainfera_gateway.inference.settle import RefuseCall
from ainfera_gateway.ledger.hold import Ask
from bench.calls import TENANT_ID, OpenAgent
from tests.integration.recorded_calls import At, facts, units
from tests.storage.conftest import Store, run
from tests.storage.units import AGENTS, gather

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US
STRANGER = "0193a000-0000-7000-8000-0000000000ff"
GRANT_PICOUSD = 9 * 10**18
MODELS = (("mistral-large-3", "mistral"), ("gpt-5-5", "openai"), ("claude-opus-4-7", "anthropic"))
TAGS: tuple[list[str] | None, ...] = (None, ["red"], ["red", "green"], ["=SUM(A1)", "grün", 'a"b,c'])


def agent(agent_id: str, tenant_id: str = TENANT_ID) -> dict[str, Any]:
    return {"agent_id": agent_id, "tenant_id": tenant_id}


def history() -> list[tuple[Any, ...]]:
    """Sixty calls of three agents over three days, some refused, drawn always alike."""
    draw = random.Random(7)
    made = []
    for number in range(60):
        model, provider = draw.choice(MODELS)
        outcome = draw.choice(["succeeded", "succeeded", "client_cancelled", "failed_provider_error", "indeterminate"])
        cost = draw.randrange(10**13) if outcome in {"succeeded", "client_cancelled"} else 0
        more = {
            "model": model, "provider": provider, "outcome": outcome, "cost_picousd": cost,
            "baseline_picousd": draw.choice([None, cost + draw.randrange(10**12), cost - draw.randrange(10**6)]),
            "tags": draw.choice(TAGS), "streamed": draw.random() < 0.5,
        }  # fmt: skip
        made.append((draw.choice(AGENTS[:3]), START_US + number * DAY_US // 20, more))
    return made


@pytest.fixture
def lived(store: Store) -> Store:
    async def scenario() -> None:
        async with store.recorder() as recorder:
            for number, agent_id in enumerate(AGENTS[:3]):
                await recorder.submit(OpenAgent(agent_id, GRANT_PICOUSD, new_tenant=number == 0))
            await recorder.submit(OpenAgent(AGENTS[3], GRANT_PICOUSD, tenant_id=STRANGER))
            calls = [(units(agent(name), **more), at_us) for name, at_us, more in history()]
            calls.append((units(agent(AGENTS[3], STRANGER), cost_picousd=77), START_US))
            # One after the other in each pair, everything else as it comes: a hold is small enough for all at once.
            for result in await gather(recorder, [_generous(opened) for (opened, _), _ in calls]):
                assert not isinstance(result, Exception), result
            for result in await gather(recorder, [At(ended, at_us) for (_, ended), at_us in calls]):
                assert not isinstance(result, Exception), result
            refused = RefuseCall(facts(agent(AGENTS[0]), tags=["red"]), Outcome.REJECTED_CAP, "spend_policy_exceeded")
            await recorder.submit(At(refused, START_US + 1))

    run(scenario())
    return store


def _generous(opened: Any) -> Any:
    """The same T1 with a hold that pays whatever the call ends with."""
    return replace(opened, ask=Ask(1_000, 10_000, 10_000, 2_000_000, 2_000_000_000))


def asked(store: Store, *group_by: Group, **more: Any) -> Usage:
    return usage(store.reader(), TENANT_ID, group_by=group_by, **more)


def debits(store: Store, since_us: int = 0, until_us: int = 2**62, agent_id: str | None = None) -> Decimal:
    """What the ledger took from the tenant's agents, from its own rows."""
    rows = store.rows(
        "SELECT t.amount_picousd FROM transfers t JOIN agents a ON a.id = t.agent_id WHERE t.kind = 'debit'"
        " AND a.tenant_id = :tenant AND t.created_us >= :since AND t.created_us < :until"
        " AND (CAST(:agent AS TEXT) IS NULL OR t.agent_id = :agent)",
        tenant=TENANT_ID, since=since_us, until=until_us, agent=agent_id,
    )  # fmt: skip
    return Decimal(sum(amount for (amount,) in rows)) / 10**12


def test_costs_are_the_ledgers_debits_by_every_way_to_ask(lived: Store) -> None:
    whole = asked(lived).total
    assert Decimal(whole["cost_usd"]) == debits(lived) > 0
    for group in GROUPS[:3]:
        rows = asked(lived, group).rows
        # The refused call has no model, and a row of its own.
        assert len(rows) == (4 if group == "model" else 3)
        assert sum(Decimal(row["cost_usd"]) for row in rows) == debits(lived)
    for agent_id in AGENTS[:3]:
        assert Decimal(asked(lived, agent_id=agent_id).total["cost_usd"]) == debits(lived, agent_id=agent_id)
    days = asked(lived, "day").rows
    for number, row in enumerate(days):
        since, until = START_US + number * DAY_US, START_US + (number + 1) * DAY_US
        narrowed = asked(lived, since_us=since, until_us=until)
        assert Decimal(row["cost_usd"]) == Decimal(narrowed.total["cost_usd"]) == debits(lived, since, until)
    assert [row["day"] for row in days] == ["2024-10-04", "2024-10-05", "2024-10-06"]


def test_every_figure_is_what_a_sum_by_hand_gives(lived: Store) -> None:
    wanted: dict[tuple[str, str], dict[str, int]] = {}
    for agent_id, _, more in history():
        row = wanted.setdefault(
            (agent_id, more["model"]), dict.fromkeys(("calls", "ok", "gone", "cost", "base", "saved"), 0)
        )
        row["calls"] += 1
        row["ok"] += more["outcome"] == "succeeded"
        row["gone"] += more["outcome"] == "client_cancelled"
        row["cost"] += more["cost_picousd"]
        if more["baseline_picousd"] is not None:
            row["base"] += more["baseline_picousd"]
            row["saved"] += more["baseline_picousd"] - more["cost_picousd"]
    found = asked(lived, "agent", "model").rows
    refused = [row for row in found if row["model"] is None]
    assert [(row["agent_id"], row["calls"], row["rejected"], row["failed"]) for row in refused] == [
        (AGENTS[0], 1, 1, 0)
    ]
    served = [row for row in found if row["model"] is not None]
    assert {(row["agent_id"], row["model"]) for row in served} == set(wanted)
    for row in served:
        sums = wanted[row["agent_id"], row["model"]]
        assert row["agent_handle"] == row["agent_id"][-12:]
        assert (row["calls"], row["succeeded"], row["cancelled"]) == (sums["calls"], sums["ok"], sums["gone"])
        assert row["failed"] == sums["calls"] - sums["ok"] - sums["gone"]
        assert row["input_tokens"] == 100 * sums["calls"]
        assert row["output_tokens"] == 50 * sums["calls"]
        assert row["cached_input_tokens"] == 40 * sums["calls"]
        assert row["cache_write_tokens"] == 7 * sums["calls"]
        assert row["reasoning_tokens"] == 11 * sums["calls"]
        money = [Decimal(row[name]) * 10**12 for name in ("cost_usd", "baseline_cost_usd", "saved_usd")]
        assert money == [sums["cost"], sums["base"], sums["saved"]]


def test_a_call_with_several_tags_counts_in_each_row_and_once_in_the_total(lived: Store) -> None:
    found = asked(lived, "tag")
    calls = {row["tag"]: row["calls"] for row in found.rows}
    tags = [more["tags"] or [None] for _, _, more in history()] + [["red"]]
    assert calls == {tag: sum(tag in each for each in tags) for tag in {tag for each in tags for tag in each}}
    assert sum(calls.values()) > found.total["calls"] == 61
    assert Decimal(found.total["cost_usd"]) == debits(lived)
    both = asked(lived, "day", "tag")
    assert both.total == found.total == asked(lived).total == asked(lived).rows[0]
    assert sum(row["calls"] for row in both.rows) == sum(calls.values())


def test_nothing_is_a_row_of_noughts(store: Store) -> None:
    found = asked(store)
    assert found.rows == [found.total]
    assert (found.total["calls"], found.total["failed"], found.total["cost_usd"]) == (0, 0, "0.000000")
    assert asked(store, "agent", "tag").rows == []


def test_sums_past_64_bits_stay_exact(store: Store) -> None:
    """Three calls of nine million dollars each: more pico-dollars than a 64-bit integer counts."""
    huge = 9_100_000_000_000_000_001
    columns = (
        "inference_id, agent_id, tenant_id, trace_id, dialect, policy_name, policy_semver, ruleset_hash,"
        " decision_rule, decision_type, decision, verdict_versions, propensity, projected_picousd, cost_picousd,"
        " baseline_picousd, latency_us, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,"
        " reasoning_tokens, attempts, outcome_status, usage_source, created_us"
    )
    with store.tampering() as conn:
        for name in "xyz":
            conn.execute(
                text(
                    f"INSERT INTO routing_outcomes ({columns}) VALUES (:id, 'a', :tenant, 't', 'd', 'p', '1', 'h', 'r',"
                    " 'd', '{}', '{}', '1', 0, :cost, 1, 1, 1, 1, 0, 0, 0, 1, 'succeeded', 'provider', 1)"
                ),
                {"id": name, "tenant": TENANT_ID, "cost": huge},
            )
    total = asked(store).total
    assert total["cost_usd"] == "27300000.000000000003"
    assert total["saved_usd"] == "-27300000.000000"


def test_too_many_rows_are_refused_by_name(lived: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "ROWS_MAX", 3)
    assert len(asked(lived, "day").rows) == 3
    with pytest.raises(GatewayError) as refused:
        asked(lived, "agent", "model")
    assert (refused.value.status, refused.value.field) == (422, "group_by")


@pytest.mark.parametrize("wanted", [CallFilter(), CallFilter(tag="red"), CallFilter(streamed=True, provider="openai")])
def test_pages_by_filters_are_the_same_on_both_engines(lived: Store, wanted: CallFilter) -> None:
    reader, seen = lived.reader(), []
    before: str | None = None
    while True:
        page = list_inferences.page(reader, TENANT_ID, wanted, limit=7, before=before, after=None)
        seen += page["inferences"]
        if not page["has_more"]:
            break
        before = page["next_before"]
    matching = [
        more for _, _, more in history()
        if (wanted.tag is None or wanted.tag in (more["tags"] or []))
        and (wanted.streamed is None or (more["streamed"] and more["provider"] == "openai"))
    ]  # fmt: skip
    assert len(seen) == len(matching) + (wanted.streamed is None)
    assert [row["created_at"] for row in seen] == sorted((row["created_at"] for row in seen), reverse=True)
    up = list_inferences.page(reader, TENANT_ID, wanted, limit=200, before=None, after=seen[-1]["inference_id"])
    assert up["inferences"] == seen[:-1]


def test_another_tenants_calls_are_not_in_the_sums(lived: Store) -> None:
    assert usage(lived.reader(), STRANGER, group_by=()).total["cost_usd"] == "0.000000000077"
