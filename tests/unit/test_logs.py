"""Log lines: one JSON object each, no secret in any, and never a failure of the call that logs."""

from __future__ import annotations

import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainfera_gateway.agents.cards import card_payload, mint_card, new_agent_key
from ainfera_gateway.agents.keys import mint
from ainfera_gateway.logs.formatter import JsonLineFormatter
from ainfera_gateway.logs.scrub import ITEMS_MAX, REDACTED, TEXT_CHARS_MAX, Scrubber, scrub_text, secret_name
from ainfera_gateway.logs.setup import JsonLineHandler, configure, emit

UNSHAPED = "Zq8vNw2LxT5rYp0KdS7mHb4Gc1Jf9Ae3"


class Log:
    """A configured process log that writes to memory."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = configure("debug", stream=self.stream, known_secrets=[UNSHAPED])
        self.logger = logging.getLogger("ainfera.test")

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Log()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def formatted(message: object, *args: object, **extra: Any) -> str:
    record = logging.LogRecord("ainfera.test", logging.INFO, "", 0, message, args, None)
    vars(record).update(extra)
    return JsonLineFormatter().format(record)


def test_a_line_says_when_how_what_and_where(log: Log) -> None:
    log.logger.warning("hold %s released", "h-1", extra={"trace_id": "ab" * 16, "latency_ms": 12, "ok": True})
    (line,) = log.lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "hold h-1 released",
        "logger": "ainfera.test",
        "trace_id": "ab" * 16,
        "latency_ms": 12,
        "ok": True,
    }
    assert list(json.loads(log.text))[:4] == ["time", "level", "event", "logger"]


def test_the_time_is_the_records_own() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "m", (), None)
    record.created = 1_795_465_800.000001
    assert json.loads(JsonLineFormatter().format(record))["time"] == "2026-11-23T20:30:00.000001Z"


FORGERIES = [
    'x\n{"level":"info","event":"forged"}',
    "x\r\nforged",
    "x\0y",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u2028x\u2029\x85\x0b\x0c",
]


@pytest.mark.parametrize("text", FORGERIES)
def test_nothing_forges_a_line_or_reaches_the_terminal(text: str) -> None:
    for line in (
        formatted(text),
        formatted("%s", text),
        formatted("m", field=text),
        formatted("m", field={text: [text]}),
        formatted("m", **{text: 1}),
    ):
        assert line.isascii()
        assert line.isprintable()
        assert len(line.splitlines()) == 1
        assert json.loads(line)["level"] == "info"
    assert json.loads(formatted(text))["event"] == text


def test_a_field_cannot_take_the_place_of_what_the_line_says() -> None:
    line = json.loads(formatted("true", event={"no": "text"}, level="debug", time="never", logger="x", exception="e"))
    assert (line["event"], line["level"], line["logger"]) == ("true", "info", "ainfera.test")
    assert (line["event_"], line["level_"], line["time_"], line["exception_"]) == (
        {"no": "text"},
        "debug",
        "never",
        "e",
    )
    assert "exception" not in line


def test_a_record_that_names_its_event_keeps_its_sentence() -> None:
    line = json.loads(formatted("the ledger cannot be %s", "reached", event="ledger_unavailable", units=3))
    assert (line["event"], line["message"], line["units"]) == ("ledger_unavailable", "the ledger cannot be reached", 3)
    assert "message" not in json.loads(formatted("same", event="same"))
    secret = json.loads(formatted("m", event="Bearer abcdefghijklmnop"))
    assert secret["event"] == f"Bearer {REDACTED}"


def test_an_exception_is_one_field_with_its_cause(log: Log) -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as exc:
            raise RuntimeError("outer\nforged Bearer abcdefghijklmnopqrstuvwxyz") from exc
    except RuntimeError:
        log.logger.exception("it failed", stack_info=True)
    (line,) = log.lines()
    assert "KeyError: 'inner'" in line["exception"]
    assert "RuntimeError: outer" in line["exception"]
    assert "Stack (most recent call last)" in line["exception"]
    assert "abcdefghijklmnopqrstuvwxyz" not in log.text


def test_a_long_exception_keeps_its_end() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "m", (), None)
    record.exc_text = "start " + "x" * 100_000 + " end"
    line = json.loads(JsonLineFormatter().format(record))
    assert line["exception"].endswith(" end")
    assert len(line["exception"]) < 20_000


API_KEY = mint().secret
AGENT = new_agent_key()
CARD = mint_card(
    AGENT.private_key,
    AGENT.kid,
    card_payload(agent_id="a", tenant_id="t", handle="h", owner_handle="o", issued_at="now", iss="i"),
).jws
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPcanary0000000000000000000000\n-----END PRIVATE KEY-----"

# A text with a secret in it, and the part that must not be seen.
SECRETS = [
    (API_KEY, API_KEY[20:]),
    (API_KEY[:30], API_KEY[8:30]),
    ("sk-ant-api03-Canary_0123456789-abcdefghij", "Canary"),
    ("sk-proj-Canary0123456789abcdefghij", "Canary"),
    ("csk-canary0123456789abcdefghij", "canary"),
    ("sk_live_Canary0123456789abcdefghij", "Canary"),
    ("AIzaSyCanary0123456789_abcdefghij-klmnop", "Canary"),
    ("gsk_Canary0123456789abcdefghijklmnop", "Canary"),
    ("xai-Canary0123456789abcdefghijklmnop", "Canary"),
    ("tgp_v1_Canary0123456789abcdefghijklmnop", "Canary"),
    ("AKIACANARY0123456789", "CANARY"),
    ("ghp_Canary0123456789abcdefghijklmnop", "Canary"),
    ("github_pat_Canary0123456789abcdefghijklmnop", "Canary"),
    ("xoxb-canary-0123456789-abcdef", "canary"),
    ("Authorization: Bearer canary.token~+/=", "canary"),
    ("authorization: bEaReR   canarytoken", "canary"),
    ("Basic Y2FuYXJ5OmNhbmFyeQ==", "Y2FuYXJ5"),
    (CARD, CARD.split(".")[1][:20]),
    (PEM, "canary"),
    (PEM.replace("PRIVATE", "RSA PRIVATE"), "canary"),
    (PEM.split("-----END", maxsplit=1)[0], "canary"),
    (PEM.replace("\n", "\\n"), "canary"),
    ("postgresql://user:canary@db.example:5432/ainfera", "canary"),
    ("postgresql+psycopg://user:can/a@ry@db.example/ainfera", "ry@"),
    ("redis://:canary@cache:6379/0", "canary"),
    ("https://user:canary@proxy.example/path", "canary"),
    ("https://api.example/v1?key=canary&alt=sse", "canary"),
    ("https://api.example/v1?a=b&Token=canary", "canary"),
    ("host=db user=u password=canary dbname=x", "canary"),
    ("PASSWORD = 'can ary'", "can ary"),
    ('{"password": "can ary \\u00e9", "x": 1}', "can ary"),
    ("OPENAI_API_KEY=canary", "canary"),
    ("{'api_key': 'canary'}", "canary"),
    ("client_secret: canary", "canary"),
    ("Proxy-Authorization: Digest canary", "canary"),
    ("{'Authorization': 'ApiKey canary'}", "canary"),
    ("Set-Cookie: session=canary; Path=/", "canary"),
    ("[(b'x-api-key', b'canary')]", "canary"),
    (UNSHAPED, UNSHAPED),
]


@pytest.mark.parametrize(("text", "part"), SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_not_seen_wherever_it_stands(log: Log, text: str, part: str) -> None:
    assert part in text
    log.logger.info(text)
    log.logger.info(
        "with %s", text, extra={"field": text, "deep": [{"a": ({"b": f"é {text} é"},)}], "raw": text.encode()}
    )
    log.logger.info("m", extra={"map": {text: 1}, f"name {text}": 2, "object": Exception(text)})
    emit(log.logger, logging.ERROR, "m", text=f"\ud800 {text}")
    try:
        raise ValueError(text)
    except ValueError:
        log.logger.exception("failed")
    assert len(log.lines()) == 5
    assert json.dumps(part)[1:-1] not in log.text
    assert REDACTED in log.text


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "x-api-key", "OPENAI_API_KEY", "password", "db_password", "client-secret",
     "access_token", "accessToken", "xApiKey", "x" * 5000 + "_password", "refresh_token", "x-ainfera-internal-key", "private_key", "data_key", "messages", "prompt"],
)  # fmt: skip
def test_a_field_of_a_secrets_name_is_not_seen_at_any_depth(name: str) -> None:
    value = {"inner": ["plain"]}
    pairs = [(name.encode(), b"plain"), [name, "plain"]]
    for line in (
        formatted("m", **{name: value}),
        formatted("m", outer=[{"x": {name: "plain"}}]),
        formatted("m", headers=pairs[:1]),
        formatted("m", headers=tuple(pairs[1:])),
    ):
        assert "plain" not in line
        assert REDACTED in line


@pytest.mark.parametrize(
    "name",
    ["input_tokens", "max_tokens", "idempotency_key", "key_id", "key_prefix", "public_key_pem", "trace_id", "model",
     "cost_usd", "token_count"],
)  # fmt: skip
def test_ordinary_names_are_shown(name: str) -> None:
    assert not secret_name(name)
    assert json.loads(formatted("m", **{name: "shown"}))[name] == "shown"


@pytest.mark.parametrize(
    "text",
    [
        "ainfera_http_request_duration_seconds",
        "ainfera_cost_killswitch_threshold_usd",
        "0190aaaa-aaaa-7aaa-8aaa-aaaaaaaaaaaa",
        "ab" * 32,
        "router_alias_hit alias=ainfera/auto",
        "https://gateway.example/v1/audit/0190/verify?full=1",
        "risk-adjusted-performance-of-everything",
        "ask-me-anything-about-this-gateway",
        "the bearer of this letter",
        "mistral-large-3 answered in 12.5 ms, 0.000123 USD",
        "mail me at someone@example.com",
        "GET https://example.com/users/@me",
        "secret",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert scrub_text(text) == text
    assert json.loads(formatted(text))["event"] == text


def test_what_is_kept_of_a_redacted_text_says_what_it_was() -> None:
    assert scrub_text("postgresql://u:p@db/x?a=1") == "postgresql://[redacted]@db/x?a=1"
    assert scrub_text("Authorization: Bearer abcdefghijkl, next") == "Authorization: [redacted], next"
    assert scrub_text("see https://h/p?key=k123&b=2 now") == "see https://h/p?key=[redacted]&b=2 now"
    assert scrub_text("pwd=banana pwd='b c' x") == "pwd=[redacted] pwd=[redacted] x"
    assert scrub_text("a password=x; b") == "a password=[redacted]; b"


def test_a_longer_known_secret_goes_before_a_shorter_one_inside_it() -> None:
    scrubber = Scrubber(["abcdefgh", "abcdefgh-ijkl", "short"])
    assert scrubber.text("abcdefgh-ijkl abcdefgh short") == f"{REDACTED} {REDACTED} short"


@pytest.mark.parametrize(
    "text",
    [
        "eyJ" + "a" * 60_000,
        "eyJaaaaaaaa." * 5000,
        "password=" * 7000,
        "postgres://" * 6000,
        "-----BEGIN PRIVATE KEY-----" * 2400,
        "a" * 64_000 + "://" + "b" * 64_000,
        '"' * 60_000,
        "bearer " * 9000,
        "\\" * 60_000,
    ],
)
def test_no_text_holds_the_scrubber_up(text: str) -> None:
    started = time.thread_time()
    scrub_text(text)
    # Linear matching takes some milliseconds of work for these; backtracking takes minutes.
    assert time.thread_time() - started < 10


def test_lines_are_bounded() -> None:
    deep: Any = "end"
    for _ in range(2000):
        deep = [deep]
    line = formatted("x " * 1_000_000, deep=deep, wide=list(range(100_000)), map={str(n): n for n in range(100_000)})
    assert len(line) < 60_000
    shown = json.loads(line)
    assert shown["event"].endswith("(2000000 characters)")
    assert len(shown["event"]) < TEXT_CHARS_MAX + 50
    assert "[too deep]" in str(shown["deep"])
    assert len(shown["wide"]) == len(shown["map"]) == ITEMS_MAX + 1
    assert len(json.loads(formatted("m", **{f"f{n}": n for n in range(1000)}))) < 100


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text of me")

    __repr__ = __str__


class HostileMapping(dict[str, str]):
    def items(self) -> Any:
        raise ValueError("no items of me")


def test_what_cannot_be_shown_does_not_hide_the_rest() -> None:
    line = json.loads(formatted("m", a=Hostile(), b=HostileMapping(x="y"), c=[Hostile()], d=1, e={Hostile: {1, 2}}))
    assert line["a"] == "[unprintable Hostile: RuntimeError]"
    assert line["b"] == "[unprintable HostileMapping: ValueError]"
    assert line["d"] == 1


def test_a_format_that_does_not_fit_its_arguments_is_shown_as_it_stands() -> None:
    assert json.loads(formatted("%d of %s", "x"))["event"] == "%d of %s"


def test_a_message_that_cannot_be_shown_is_a_line_all_the_same() -> None:
    line = json.loads(formatted(Hostile()))
    assert (line["event"], line["logger"], line["problem"]) == (
        "log_record_unprintable",
        "ainfera.test",
        "RuntimeError",
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        ([float("inf")], ["inf"]),
        ({"x": float("-inf")}, {"x": "-inf"}),
        (Decimal("0.10"), "0.10"),
        (b"\xffbytes", "\ufffdbytes"),
        ({3, 1, 2}, [1, 2, 3]),
        ((1, "a", None), [1, "a", None]),
        (2**80, 2**80),
        ("\ud800 lone", "? lone"),
    ],
)
def test_values_of_any_kind(value: object, shown: object) -> None:
    assert json.loads(formatted("m", field=value))["field"] == shown


class Broken(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError("nobody reads")


def test_a_stream_that_fails_is_counted_and_nothing_else(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    handler = configure(stream=Broken())
    log.logger.info("one")
    emit(log.logger, logging.INFO, "two", name="x", args=1)
    log.logger.error("three")
    assert handler.lost == 3
    assert capsys.readouterr() == ("", "")


def test_emit_takes_any_field_name_and_respects_the_level(log: Log) -> None:
    emit(log.logger, logging.INFO, "100 % sure", name="n", msg="m", args=(1,), level="l", exc_info="e", trace_id="t")
    log.logger.setLevel(logging.ERROR)
    emit(log.logger, logging.INFO, "not shown")
    log.logger.setLevel(logging.NOTSET)
    (line,) = log.lines()
    assert (line["event"], line["logger"], line["level"]) == ("100 % sure", "ainfera.test", "info")
    assert (line["name_"], line["msg_"], line["args_"], line["exc_info_"], line["trace_id"]) == (
        "n",
        "m",
        [1],
        "e",
        "t",
    )


def test_configure_replaces_what_was_there_and_takes_foreign_loggers_along(log: Log) -> None:
    foreign = logging.getLogger("uvicorn.error")
    foreign.addHandler(logging.NullHandler())
    foreign.propagate = False
    stream = io.StringIO()
    handler = configure("warning", stream=stream)
    assert isinstance(handler, JsonLineHandler)
    assert logging.getLogger().handlers == [handler]
    foreign.warning("from the server")
    logging.getLogger("uvicorn.access").info("GET / 200")
    log.logger.info("below the level")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["from the server"]
    assert log.text == ""


def test_warnings_are_lines_too(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("something is old", DeprecationWarning, stacklevel=1)
    (line,) = log.lines()
    assert line["logger"] == "py.warnings"
    assert "something is old" in line["event"]


@pytest.mark.parametrize("level", ["loud", "", "INFO ", "20"])
def test_an_unknown_level_is_refused(level: str) -> None:
    with pytest.raises(ValueError, match="log level"):
        configure(level)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(max_size=60), anything)
def test_any_record_is_one_line_of_json(message: str, value: Any) -> None:
    line = formatted(message, field=value)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert set(json.loads(line)) == {"time", "level", "event", "logger", "field"}


@given(st.text(alphabet="ab= ", max_size=30), st.text(alphabet="xy= \n", max_size=30))
def test_a_key_is_scrubbed_whatever_stands_around_it(before: str, after: str) -> None:
    assert API_KEY not in scrub_text(f"{before} {API_KEY} {after}")
