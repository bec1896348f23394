"""The registry, its text form, and the contract's series."""

from __future__ import annotations

import math
import re
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.metrics.registry import Label, Registry
from ainfera_gateway.metrics.render import CONTENT_TYPE, render
from ainfera_gateway.metrics.series import PATHS_MAX, Series

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_UNESCAPE = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: bytes) -> Samples:
    """A strict reader of the format, written from its description; every line must be understood, none twice."""
    found: Samples = {}
    for line in text.decode().removesuffix("\n").split("\n"):
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))", line), line
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        labels = tuple(
            (name, re.sub(r"\\[\\\"n]", lambda found: _UNESCAPE[found.group()], value))
            for name, value in _LABEL.findall(match[2] or "")
        )
        assert (match[1], labels) not in found, line
        found[match[1], labels] = float(match[3])
    return found


class FixedClock:
    def __init__(self) -> None:
        self.us = 1_000_000_000_000_000

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6


def series(clock: FixedClock | None = None) -> Series:
    return Series(Registry(), clock or FixedClock(), version="1.2.3", providers=["openai", "local"])


# The contract's paragraph on series, name and labels.
CONTRACT = {
    "ainfera_http_requests_total": ("counter", ["method", "path", "status"]),
    "ainfera_http_request_duration_seconds": ("histogram", ["method", "path"]),
    "ainfera_provider_calls_total": ("counter", ["provider", "outcome"]),
    "ainfera_router_alias_hit_total": ("counter", ["alias"]),
    "ainfera_audit_chain_height": ("gauge", []),
    "ainfera_audit_chain_freshness_seconds": ("gauge", []),
    "ainfera_dispatch_without_capture_total": ("counter", []),
    "ainfera_cost_killswitch_engaged": ("gauge", []),
    "ainfera_cost_killswitch_spent_usd": ("gauge", []),
    "ainfera_cost_killswitch_threshold_usd": ("gauge", []),
    "ainfera_app_info": ("gauge", ["version"]),
}
# What the house shows beside it.
OWN = {"ainfera_laws_broken": ("gauge", ["law"]), "ainfera_laws_age_seconds": ("gauge", [])}


def test_the_series_are_exactly_the_contracts_and_our_own() -> None:
    declared = {m.name: (m.kind, [label.name for label in m.labels]) for m in series().registry.metrics()}
    assert declared == CONTRACT | OWN


def test_every_known_series_stands_at_0_from_the_start() -> None:
    found = parsed(render(series().registry))
    outcomes = ["ok", "client_error", "rate_limited", "server_error", "timeout", "connect", "cancelled", "invalid"]
    expected: Samples = {
        ("ainfera_provider_calls_total", (("provider", provider), ("outcome", outcome))): 0
        for provider in ("openai", "local")
        for outcome in outcomes
    }
    for alias in ("ainfera-mithril", "ainfera-auto", "ainfera/auto"):
        expected["ainfera_router_alias_hit_total", (("alias", alias),)] = 0
    for name, (kind, labels) in (CONTRACT | OWN).items():
        if not labels and kind != "histogram":
            expected[name, ()] = 0
    expected["ainfera_app_info", (("version", "1.2.3"),)] = 1
    assert found == expected


def test_a_declared_route_stands_at_0() -> None:
    made = series()
    made.declare_route("POST", "/v1/inference", statuses=[200, 402])
    found = parsed(render(made.registry))
    labels = (("method", "POST"), ("path", "/v1/inference"))
    assert found["ainfera_http_requests_total", (*labels, ("status", "402"))] == 0
    assert found["ainfera_http_request_duration_seconds_count", labels] == 0
    assert found["ainfera_http_request_duration_seconds_bucket", (*labels, ("le", "+Inf"))] == 0


def test_a_request_is_counted_and_timed() -> None:
    made = series()
    made.note_request("GET", "/v1/models", 200, 0.0025)
    made.note_request("GET", "/v1/models", 200, 0.0026)
    made.note_request("GET", "/v1/models", 200, 500.0)
    made.note_request("GET", None, 404, 0.0001)
    found = parsed(render(made.registry))
    labels = (("method", "GET"), ("path", "/v1/models"))
    assert found["ainfera_http_requests_total", (*labels, ("status", "200"))] == 3
    assert found["ainfera_http_requests_total", (("method", "GET"), ("path", "unmatched"), ("status", "404"))] == 1
    name = "ainfera_http_request_duration_seconds"
    bounds = [
        ".001",
        ".0025",
        ".005",
        ".01",
        ".025",
        ".05",
        ".1",
        ".25",
        ".5",
        "1",
        "2.5",
        "5",
        "10",
        "30",
        "60",
        "120",
        "inf",
    ]
    buckets = {
        float(dict(key[1])["le"]): value
        for key, value in found.items()
        if key[1][:2] == labels and len(key[1]) == 3 and key[0] == f"{name}_bucket"
    }
    assert sorted(buckets) == [float(bound) for bound in bounds]
    assert [buckets[bound] for bound in sorted(buckets)] == [0, 1, *[2] * 14, 3]
    assert found[f"{name}_count", labels] == 3
    assert found[f"{name}_sum", labels] == pytest.approx(500.0051)


def test_paths_past_200_read_other_and_known_ones_stay() -> None:
    made = series()
    for number in range(PATHS_MAX + 50):
        made.note_request("GET", f"/p{number}", 200, 0.001)
    made.note_request("GET", "/p0", 200, 0.001)
    made.note_request("GET", None, 404, 0.001)
    counts = {
        dict(labels)["path"]: value
        for (name, labels), value in parsed(render(made.registry)).items()
        if name == "ainfera_http_requests_total"
    }
    assert len(counts) == PATHS_MAX + 2
    assert (counts["other"], counts["/p0"], counts["/p199"], counts["unmatched"]) == (50, 2, 1, 1)
    assert "/p200" not in counts


def test_what_a_caller_sends_cannot_grow_any_label() -> None:
    made = series()
    for number in range(500):
        made.note_request(f"M{number}", None, 1000 + number, 0.001)
        made.router_alias_hits.inc(f"alias-{number}")
        made.provider_calls.inc("openai", f"outcome-{number}")
        made.provider_calls.inc(f"provider-{number}", "ok")
    found = parsed(render(made.registry))
    assert (
        found["ainfera_http_requests_total", (("method", "other"), ("path", "unmatched"), ("status", "other"))] == 500
    )
    assert found["ainfera_router_alias_hit_total", (("alias", "other"),)] == 500
    assert found["ainfera_provider_calls_total", (("provider", "openai"), ("outcome", "other"))] == 500
    assert len({dict(labels).get("provider") for _, labels in found}) < 70
    assert sum(v for (n, labels), v in found.items() if n == "ainfera_provider_calls_total") == 1000


def test_freshness_is_the_age_of_the_newest_event() -> None:
    clock = FixedClock()
    made = series(clock)

    def freshness() -> float:
        return parsed(render(made.registry))["ainfera_audit_chain_freshness_seconds", ()]

    made.note_audit(0, None)
    clock.us += 5_000_000
    assert freshness() == 0
    made.note_audit(7, clock.us)
    assert freshness() == 0
    clock.us += 1_500_000
    assert freshness() == 1.5
    clock.us -= 10_000_000
    assert freshness() == 0
    assert parsed(render(made.registry))["ainfera_audit_chain_height", ()] == 7


def test_the_kill_switch_shows_exact_amounts() -> None:
    made = series()
    made.note_killswitch(engaged=True, spent_picousd=50_000_000_000_001, threshold_picousd=50 * 10**12)
    text = render(made.registry).decode()
    assert "\nainfera_cost_killswitch_engaged 1\n" in text
    assert "\nainfera_cost_killswitch_spent_usd 50.000000000001\n" in text
    assert "\nainfera_cost_killswitch_threshold_usd 50\n" in text


def test_rendering_is_sorted_and_does_not_depend_on_the_order_of_events() -> None:
    first, second = series(), series()
    calls = [("GET", "/b", 200), ("GET", "/a", 404), ("POST", "/a", 200)]
    for call in calls:
        first.note_request(*call, 0.25)
    for call in reversed(calls):
        second.note_request(*call, 0.25)
    assert render(first.registry) == render(second.registry)
    names = [line.split()[2] for line in render(first.registry).decode().splitlines() if line.startswith("# TYPE")]
    assert names == sorted(CONTRACT | OWN)


def test_the_content_type_is_the_formats() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), max_size=8))
def test_any_label_value_comes_back_as_it_went_in(values: list[str]) -> None:
    registry = Registry()
    counter = registry.counter("things_total", "Things.", [Label("name")])
    for value in values:
        counter.inc(value)
    assert {labels[0][1]: count for (_, labels), count in parsed(render(registry)).items()} == {
        value: values.count(value) for value in values
    }


def test_a_description_stays_on_its_line() -> None:
    registry = Registry()
    registry.counter("a_total", "one\ntwo \\ three")
    assert render(registry) == b"# HELP a_total one\\ntwo \\\\ three\n# TYPE a_total counter\na_total 0\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (Decimal("0E-12"), "0"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.000000000001"), "0.000000000001"),
        (True, "1"),
    ],
)
def test_numbers_in_their_text_form(value: float, text: str) -> None:
    registry = Registry()
    registry.gauge("g", "G.").set(value)
    assert render(registry).decode().splitlines()[-1] == f"g {text}"


def test_gauges_move_and_counters_only_grow() -> None:
    registry = Registry()
    gauge = registry.gauge("open_calls", "Open.").at()
    gauge.add(3)
    gauge.add(-1)
    assert gauge.value == 2
    with pytest.raises(ValueError, match="only grows"):
        registry.counter("c_total", "C.").inc(amount=-1)


def test_mistakes_of_ours_are_refused() -> None:
    registry = Registry()
    counter = registry.counter("c_total", "C.", [Label("a"), Label("b")])
    with pytest.raises(ValueError, match="2 label values"):
        counter.inc("only one")
    with pytest.raises(ValueError, match="declared twice"):
        registry.gauge("c_total", "C.")
    with pytest.raises(ValueError, match="ascend"):
        registry.histogram("h", "H.", [1, 1])


def test_no_update_is_lost_between_threads() -> None:
    registry = Registry()
    counter = registry.counter("c_total", "C.", [Label("a", values_max=5)])
    histogram = registry.histogram("h", "H.", [1.0])

    def work(number: int) -> None:
        for step in range(2000):
            counter.inc(str((number + step) % 10))
            histogram.observe(0.5)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = parsed(render(registry))
    assert sum(value for (name, _), value in found.items() if name == "c_total") == 8000
    assert found["h_count", ()] == 8000
    assert len([1 for name, _ in found if name == "c_total"]) == 6
