"""The catalog in a database: seeded whole, loaded as it was shipped, and corrected without a row being changed."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from ainfera_gateway.catalog.imported import DatedPrices, Imported, day_us, imported
from ainfera_gateway.catalog.seed import SEED_MODELS, SEED_PROVIDERS, seed_catalog
from ainfera_gateway.catalog.store import load_catalog, stored_lines
from ainfera_gateway.control.seed import Seed, find_missing, newer_schedules, seed
from ainfera_gateway.storage.tables import model_prices
from tests.storage.conftest import Store, run

DAY_US = 86_400_000_000
SHIPPED_US = day_us(imported().imported_on)


def seeded(store: Store) -> int:
    async def once() -> int:
        async with store.recorder() as recorder:
            return await seed(recorder, store.reader())

    return run(once())


def add(store: Store, data: Imported) -> int:
    missing = find_missing(store.reader(), data)

    async def once() -> int:
        async with store.recorder() as recorder:
            return await recorder.submit(Seed(missing))

    return run(once()) if missing.count else 0


def loaded(store: Store, now_us: int) -> Any:
    with store.reader().connect() as connection:
        return load_catalog(connection, now_us)


def of_day(day: str, **prices: int) -> Imported:
    """Data of a later day that knows one model, ``gpt-4o``, at that price."""
    model = next(model for model in imported().models if model.slug == "gpt-4o")
    changed = msgspec.structs.replace(model, prices=(DatedPrices(prices),))
    return msgspec.structs.replace(imported(), imported_on=date.fromisoformat(day), models=(changed,))


def test_what_is_shipped_is_what_is_loaded(store: Store) -> None:
    assert seeded(store) > 4_000
    assert seeded(store) == 0
    catalog, shipped = loaded(store, SHIPPED_US), seed_catalog()
    assert list(catalog.models) == list(shipped.models)
    assert catalog.models == shipped.models
    assert catalog.version == shipped.version
    assert catalog.names == shipped.names
    assert catalog.models["gpt-5.5-pro"].wire == "openai_responses"
    assert store.value("SELECT COUNT(*) FROM models WHERE aa_index_source = 'aamc_v1_lock'") == 0
    assert store.rows("SELECT DISTINCT source FROM model_prices ORDER BY source") == [(imported().label,), ("seed",)]


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_an_operators_changes_stay(store: Store) -> None:
    seeded(store)
    with store.tampering() as conn:
        conn.exec_driver_sql("UPDATE models SET prior = '0.7', enabled = 0 WHERE slug = 'gpt-4o'")
        conn.execute(
            model_prices.insert(),
            [
                {"id": f"own-{name}", "model_slug": "gpt-4o", "price_class": name, "picousd_per_token": picousd,
                 "source": "operator", "valid_from_us": SHIPPED_US}
                for name, picousd in [("input", 7), ("output", 8)]
            ],
        )  # fmt: skip
    assert seeded(store) == 0
    assert add(store, of_day("2027-06-01", input=1, output=1)) == 0
    model = loaded(store, SHIPPED_US).models["gpt-4o"]
    assert (str(model.prior), model.enabled, model.prices.lines()) == ("0.7", False, {"input": 7, "output": 8})
    assert loaded(store, SHIPPED_US - 1).models["gpt-4o"].prices.input_picousd == 2_500_000


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_newer_data_adds_a_price_from_its_own_day_on(store: Store) -> None:
    seeded(store)
    newer = of_day("2027-06-01", input=1, output=2)
    assert add(store, newer) == 2
    assert add(store, newer) == 0
    # An older gateway that starts on the same database takes nothing back.
    assert seeded(store) == 0
    begins = day_us(date(2027, 6, 1))
    with store.reader().connect() as connection:
        assert stored_lines(connection, "gpt-4o", begins - 1)["input"] == 2_500_000
        assert stored_lines(connection, "gpt-4o", begins) == {"input": 1, "output": 2}
        assert stored_lines(connection, "no-such", begins) == {}
    # The new schedule has no cached line, and the old one's does not live on.
    assert loaded(store, begins).models["gpt-4o"].prices.cached_input_picousd is None
    assert loaded(store, begins - 1).valid_until_us <= begins


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_a_snapshot_says_until_when_its_prices_hold(store: Store) -> None:
    missing = find_missing(store.reader(), of_day("2026-11-24", **{"input": 1, "output": 2, "input~0100-0400": 3}))

    async def once() -> None:
        async with store.recorder() as recorder:
            await recorder.submit(Seed(missing))

    run(once())
    midnight = SHIPPED_US - SHIPPED_US % DAY_US
    hour = DAY_US // 24
    for now, until in [(0, 1), (1, 4), (4, 25)]:
        catalog = loaded(store, midnight + now * hour)
        assert catalog.valid_until_us == midnight + until * hour
        assert catalog.models["gpt-4o"].prices.input_picousd == (3 if now == 1 else 1)
    with store.tampering() as conn:
        conn.exec_driver_sql("DELETE FROM models WHERE slug = 'gpt-4o'")
    assert loaded(store, midnight).valid_until_us is None


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("line", ["input", "output"])
def test_a_model_whose_price_is_gone_is_not_free(store: Store, line: str) -> None:
    seeded(store)
    store.drop_triggers()
    with store.tampering() as conn:
        conn.exec_driver_sql(f"DELETE FROM model_prices WHERE price_class = '{line}'")
    catalog = loaded(store, SHIPPED_US)
    assert not any(model.prices.complete for model in catalog.models.values())
    assert len(catalog.models) == len(imported().models) + len(SEED_MODELS)
    assert len(catalog.providers) == len(SEED_PROVIDERS)


OLD, NEW = {"input": 1, "output": 1}, {"input": 2, "output": 2}


@pytest.mark.parametrize(
    ("stored", "wanted", "added"),
    [
        ({}, {0: OLD, 200: NEW}, [(0, OLD), (200, NEW)]),
        ({0: OLD}, {0: OLD}, []),
        ({0: OLD}, {0: NEW}, [(100, NEW)]),
        ({0: OLD}, {0: OLD, 200: NEW}, [(200, NEW)]),
        ({0: OLD, 200: NEW}, {0: OLD, 200: NEW}, []),
        # What began before the data's day holds already.
        ({0: OLD, 50: NEW}, {50: NEW}, []),
        # Announced otherwise before: rows never change, so the next moment counts.
        ({0: OLD, 200: NEW}, {0: OLD, 200: OLD}, [(201, OLD)]),
        ({0: OLD, 200: NEW, 201: OLD}, {0: OLD, 200: OLD}, []),
        ({0: OLD, 100: NEW}, {0: OLD}, [(101, OLD)]),
    ],
)
def test_only_what_is_newer_is_added(stored: Any, wanted: Any, added: Any) -> None:
    assert list(newer_schedules(stored, wanted, 100)) == added
