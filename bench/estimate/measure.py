"""Hold the estimates against the tokenizers, over the corpus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ainfera_gateway.inference.weigh import estimated_input
from ainfera_gateway.ledger.estimate import output_tokens, text_tokens
from ainfera_gateway.wire.openai_chat.request import parse
from bench.estimate.corpus import Sample
from bench.estimate.tokenizers import Tokenizer

TEMPLATE_TOKENS = 7
"""What OpenAI publishes for a request of one message: three for it, one for its role, three that open the answer."""
LOCAL_TEMPLATE_TOKENS = 30
"""What SmolLM2's own template adds, its default system prompt included."""
WRITTEN = {
    "prose": 30.0, "markdown": 22.0, "chat": 10.0, "python": 8.0, "stdlib": 8.0, "braces": 8.0, "json_minified": 6.0,
    "latin": 6.0, "json_pretty": 2.0, "table": 1.5, "chinese": 1.2, "japanese": 0.8, "maths": 0.7, "russian": 0.6,
    "korean": 0.5, "emoji": 0.3, "arabic": 0.3, "hindi": 0.2, "thai": 0.15, "greek": 0.1, "hebrew": 0.1,
}  # fmt: skip
"""Shares of kinds in what models write: an assumption, stated as one."""
BANDS = {"under 400 B": range(400), "400 B to 4 kB": range(400, 4_000), "over 4 kB": range(4_000, 1 << 30)}


@dataclass(frozen=True, slots=True)
class Measured:
    """One sample: by tokenizer its true tokens, our estimates of the text and of a whole request, and of output."""

    kind: str
    share: float
    size: int
    true: Mapping[str, int]
    text: int
    request: int
    output: int

    def below(self, name: str) -> bool:
        """Whether a request that asks this is held for less than it takes."""
        return self.request < self.true[name] + template(name)

    def ratio(self, name: str) -> float:
        """The estimate of the text over its true tokens; allowances for templates are not in it."""
        return self.text / self.true[name]


def template(name: str) -> int:
    return LOCAL_TEMPLATE_TOKENS if name == "smollm2" else TEMPLATE_TOKENS


def measure(samples: Iterable[Sample], tokenizers: Sequence[Tokenizer]) -> list[Measured]:
    """Each sample is sent as one message; every third as clients do that escape all but ASCII."""
    return [_measured(index, sample, tokenizers) for index, sample in enumerate(samples)]


def mean_ratio(measured: Iterable[Measured], names: Sequence[str]) -> float:
    """The mean ratio over samples and ``names``, kinds weighing by their share."""
    return _weighed(measured, lambda one: fmean(one.ratio(name) for name in names))


def share_below(measured: Iterable[Measured], name: str) -> float:
    return _weighed(measured, lambda one: one.below(name))


def output_bias(measured: Iterable[Measured], name: str) -> float:
    """Estimated over true tokens of output, kinds weighing by their share in what models write."""
    written = [one for one in measured if one.kind in WRITTEN]
    shares = [WRITTEN[one.kind] / one.size for one in written]
    estimated = sum(share * one.output for share, one in zip(shares, written, strict=True))
    return estimated / sum(share * one.true[name] for share, one in zip(shares, written, strict=True))


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _measured(index: int, sample: Sample, tokenizers: Sequence[Tokenizer]) -> Measured:
    messages = [{"role": "user", "content": sample.text}]
    escaped = index % 3 == 0
    body = json.dumps({"model": "gpt-5-5", "messages": messages}, ensure_ascii=escaped).encode()
    text = json.dumps(sample.text, ensure_ascii=escaped)[1:-1].encode()
    size = len(sample.text.encode())
    return Measured(
        sample.kind,
        sample.share,
        size,
        {tokenizer.name: max(1, tokenizer.count(sample.text)) for tokenizer in tokenizers},
        text_tokens(text),
        estimated_input(parse(body, flat=False), "gpt-5-5"),
        output_tokens(size),
    )


def _weighed(measured: Iterable[Measured], value: Callable[[Measured], float]) -> float:
    some = list(measured)
    return sum(one.share * value(one) for one in some) / sum(one.share for one in some)
