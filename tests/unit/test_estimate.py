"""The text estimate: fixed totals by hand, escapes read as what they stand for, and laws that hold for any text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.ledger.estimate import input_tokens, output_tokens, text_tokens

law = settings(max_examples=200, deadline=None, database=None)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a" * 100, 21 + 12 * 390 // 100),
        ("the cat sat" * 100, (900 * 21 + 200 * 18) // 100),
        ("A" * 100, 69),
        ("7" * 100, 121),
        (" " * 100, 18),
        ("\n" * 100, 81),
        ("\t" * 100, 139),
        ("-" * 100, 77),
        ("a1" * 100, 21 + 121 + 445),
        ("é" * 100, 390),
        ("д" * 100, 148),
        ("ह" * 100, 330),
        ("ế" * 100, 450),
        ("—" * 100, 280),
        ("の" * 100, 180),
        ("中" * 100, 290),
        ("한" * 100, 320),
        ("😀" * 100, 420),
    ],
)
def test_every_kind_of_character_has_its_weight(text: str, tokens: int) -> None:
    assert text_tokens(text.encode()) == tokens


def test_messages_and_the_request_have_their_allowance() -> None:
    assert input_tokens(b"", 0) == 48
    assert input_tokens(b"-" * 100, 3) == 77 + 3 * 8 + 48


@pytest.mark.parametrize(
    "text", ["né" * 9, "中文。", "😀👩‍💻", "<b>&amp;</b>", "a\u2028b", 'say "so"', "C:\\u0041\\new", "\\\\"]
)
def test_an_escaped_character_weighs_what_the_character_weighs(text: str) -> None:
    plain, escaped = json.dumps(text, ensure_ascii=False).encode(), json.dumps(text).encode()
    assert text_tokens(escaped) == text_tokens(plain)
    mixed = json.dumps(text + "ж", ensure_ascii=False).encode().replace(b"<", b"\\u003c")
    assert text_tokens(mixed) == text_tokens(json.dumps(text + "ж", ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "broken", [b"\\u", b"\\u12", b"\\uZZZZ", b"\\ud83d", b"\xff\\u0041\xff", b"\\", b"\\\\u", b"\\U0001F600"]
)
def test_broken_text_has_an_estimate_too(broken: bytes) -> None:
    assert 0 <= text_tokens(broken) <= 3 * len(broken)


@law
@given(TEXTS, TEXTS)
def test_more_text_never_takes_less(first: str, second: str) -> None:
    one, other = json.dumps(first, ensure_ascii=False).encode(), json.dumps(second, ensure_ascii=False).encode()
    both = text_tokens(one + other)
    assert both >= max(text_tokens(one), text_tokens(other)) >= 0
    assert both >= text_tokens(one) + text_tokens(other)


@law
@given(st.binary(max_size=300))
def test_the_estimate_grows_with_length_alone(text: bytes) -> None:
    """What it takes to weigh is bounded by the length: each byte at most the dearest kind and a part of each run."""
    tokens = text_tokens(text)
    assert 0 <= tokens <= 5 * len(text)
    assert text_tokens(text.replace(b"\\", b"/") * 50) >= 50 * text_tokens(text.replace(b"\\", b"/"))


@law
@given(TEXTS.filter(lambda text: not text.isascii()))
def test_beyond_ascii_a_character_never_weighs_less_than_a_token(text: str) -> None:
    beyond = [character for character in text if not character.isascii()]
    assert text_tokens("".join(beyond).encode()) >= len(beyond)


def test_output_is_rounded_up() -> None:
    assert [output_tokens(size) for size in (0, 1, 3, 4, 11, 12, 1_100)] == [0, 1, 1, 2, 3, 4, 300]
