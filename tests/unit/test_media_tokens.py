"""What media cost: published examples are covered, sizes never matter beyond the maximum, each formula by its model."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.inference.weigh import estimated_input
from ainfera_gateway.ledger.estimate import input_tokens
from ainfera_gateway.ledger.media import DOCUMENT_TOKENS_MAX, IMAGE_TOKENS_MAX, TOOL_PROMPT_TOKENS, media_tokens
from ainfera_gateway.wire.media import Media
from ainfera_gateway.wire.openai_chat.request import parse

law = settings(max_examples=200, deadline=None, database=None)
sides = st.integers(min_value=1, max_value=65_536)


@pytest.mark.parametrize(
    ("width", "height", "detail", "tokens"),
    [
        (100, 100, "", 1_120),  # Gemini 3 takes as much of any image
        (1024, 1024, "", 1_406),  # 37 rows of 37 patches of 28 pixels, and one for each row
        (1024, 1024, "high", 1_406),
        (1920, 1080, "", 2_730),  # 69 by 39 patches of 28, and 39
        (4032, 3024, "", 12_000),
        (4032, 3024, "high", 4_784),
        (4032, 3024, "low", 4_784),  # who bills by 28 pixels knows no detail
        (512, 8192, "low", 4_784),
        (0, 0, "", 12_000),
        (0, 0, "high", 4_784),
    ],
)
def test_an_image_costs_the_dearest_published_formula(width: int, height: int, detail: str, tokens: int) -> None:
    assert media_tokens(Media("image", 9, width, height, detail), "ainfera-inference") == tokens


@pytest.mark.parametrize(
    ("slug", "width", "height", "detail", "tokens"),
    [
        ("openai/gpt-4o-mini", 1024, 1024, "high", 2_833 + 4 * 5_667),
        ("openai/gpt-4o-mini", 2048, 4096, "high", 2_833 + 6 * 5_667),
        ("openai/gpt-4o-mini", 4096, 8192, "low", 2_833),
        ("openai/gpt-4o-mini", 0, 0, "", 2_833 + 8 * 5_667),
        ("openai/gpt-4.1-mini", 1024, 1024, "", 1_659),
        ("gpt-4-1-nano", 1800, 2400, "", 3_779),
        ("openai/o4-mini", 0, 0, "", 2_642),
    ],
)
def test_models_with_a_factor_of_their_own(slug: str, width: int, height: int, detail: str, tokens: int) -> None:
    assert media_tokens(Media("image", 9, width, height, detail), slug) == tokens


@law
@given(sides, sides, st.sampled_from(["", "auto", "low", "high", "original"]))
def test_an_image_is_bounded_and_covers_each_formula(width: int, height: int, detail: str) -> None:
    tokens = media_tokens(Media("image", 9, width, height, detail), "gpt-5-5")
    assert 1_120 <= tokens <= IMAGE_TOKENS_MAX
    assert tokens >= min(width * height / 750, 1_600)
    assert tokens >= min(-(-width // 28) * -(-height // 28), 4_784)
    assert tokens >= 258 * -(-min(width, 3_072) // 768) * -(-min(height, 3_072) // 768)
    if detail != "low":
        assert tokens >= min(-(-width // 32) * -(-height // 32), 2_500) * 6 // 5


def test_documents_go_by_size_and_are_bounded() -> None:
    sizes = (1, 32 * 1024, 32 * 1024 + 1, 1 << 20, 1 << 24, 0)
    assert [media_tokens(Media("document", size), "m") for size in sizes] == [
        4_600, 4_600, 9_200, DOCUMENT_TOKENS_MAX, DOCUMENT_TOKENS_MAX, DOCUMENT_TOKENS_MAX,
    ]  # fmt: skip


def test_sound_goes_by_its_length() -> None:
    assert media_tokens(Media("sound", 320_000, bytes_a_second=32_000), "m") == 32 * 11
    assert media_tokens(Media("sound", 20_000), "m") == 32 * 11


def test_tools_add_the_prompt_that_some_models_are_told_them_with() -> None:
    def estimate(slug: str, **more: object) -> tuple[int, int]:
        parsed = parse(
            json.dumps({"model": slug, "messages": [{"role": "user", "content": "Hi"}]} | more).encode(), flat=False
        )
        weight = parsed.weigh()
        return estimated_input(parsed, slug), input_tokens(weight.text, weight.messages)

    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    for slug, prompt in (
        ("claude-opus-4-7", TOOL_PROMPT_TOKENS),
        ("ainfera-inference", TOOL_PROMPT_TOKENS),
        ("gpt-5-5", 0),
    ):
        whole, text = estimate(slug, tools=tools)
        assert whole == text + prompt
        assert estimate(slug)[0] == estimate(slug)[1] < text
