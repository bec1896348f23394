"""How each family dresses an answer that is OpenAI's underneath: members of its own, in messages, chunks and the bill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .dialect import Call
from .families import Family
from .family_rules import signature_of
from .openai_answer import Answer
from .script import Acts

# Where a family shows what the model thought; the others count it and show nothing.
_THOUGHTS: Final = {
    "deepseek": "reasoning_content", "xai": "reasoning_content", "fireworks": "reasoning_content",
    "openrouter": "reasoning", "groq": "reasoning", "cerebras": "reasoning", "together": "reasoning",
}  # fmt: skip
_SAFE: Final = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}  # fmt: skip
_COST_PER_TOKEN: Final = 0.000001


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk before it is bytes: its body (a comment's text), what it is, and the usage it carries."""

    body: Any
    kind: str
    usage: Mapping[str, Any] | None = None


def with_family_ids(answer: Answer, family: Family) -> Answer:
    """The answer with tool ids as the family makes them."""
    if family.name != "mistral":
        return answer
    choices = tuple(
        replace(
            choice, tool_calls=tuple(replace(c, id=c.id.removeprefix("call_")[:9]) for c in choice.tool_calls)
        )
        for choice in answer.choices
    )  # fmt: skip
    return replace(answer, choices=choices)


def dress_usage(usage: dict[str, Any] | None, family: Family) -> dict[str, Any] | None:
    """The bill with the family's own lines."""
    if usage is None:
        return None
    if family.name == "deepseek":
        hit = usage["prompt_tokens_details"]["cached_tokens"]
        return {**usage, "prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": usage["prompt_tokens"] - hit}
    if family.name == "openrouter":
        cost = round(usage["total_tokens"] * _COST_PER_TOKEN, 9)
        return {**usage, "cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": cost}}
    if family.name == "groq":
        return {**usage, "queue_time": 0.001, "prompt_time": 0.002, "completion_time": 0.003, "total_time": 0.005}
    return usage


def dress_tool_call(call: dict[str, Any], arguments: str, family: Family) -> dict[str, Any]:
    """A tool call with what Gemini seals it with."""
    if family.name == "gemini" and "function" in call:
        signature = signature_of(call["function"]["name"], arguments)
        call["extra_content"] = {"google": {"thought_signature": signature}}
    return call


def dress_plain(body: dict[str, Any], family: Family, call: Call, acts: Acts) -> dict[str, Any]:
    """A whole answer with the family's members."""
    for choice in body["choices"]:
        if thoughts := _thoughts(family, acts):
            choice["message"][_THOUGHTS[family.name]] = "".join(thoughts)
        if family.name == "azure":
            choice["content_filter_results"] = _SAFE
    match family.name:
        case "azure":
            body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _SAFE}]
        case "groq":
            body["x_groq"] = {"id": _groq_id(call)}
        case "openrouter":
            body["provider"] = "Simulator"
        case "cerebras":
            body["time_info"] = {"queue_time": 0.001, "total_time": 0.005}
    return body


def dress_chunks(
    chunks: Iterator[Chunk], family: Family, call: Call, acts: Acts, usage: Mapping[str, Any] | None, finishes: int
) -> Iterator[Chunk]:
    """The chunks with the family's members; `usage` is the bill, `finishes` how many choices will end."""
    billed = acts.usage not in ("missing", "nowhere")
    thought = False
    first = True
    if family.name == "openrouter":
        yield Chunk(b"OPENROUTER PROCESSING", "comment")
        yield Chunk(b"OPENROUTER PROCESSING", "comment")
    for chunk in chunks:
        body = chunk.body
        last = chunk.kind == "finish"
        finishes -= last
        if first and family.name == "azure":
            yield Chunk({**body, "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}]}, "filter")  # fmt: skip
        match family.name:
            case "azure" if chunk.kind == "delta":
                for choice in body["choices"]:
                    choice["content_filter_results"] = _SAFE
            case "groq" if first or (last and not finishes):
                body["x_groq"] = {"id": _groq_id(call)}
                if last and billed:
                    body["x_groq"]["usage"] = usage
                    chunk = replace(chunk, usage=usage)  # noqa: PLW2901
            case "mistral" if chunk.kind == "usage":
                continue
            case "mistral" if last and not finishes and billed:
                body["usage"] = usage
                chunk = replace(chunk, usage=usage)  # noqa: PLW2901
            case "openrouter" if chunk.kind != "done":
                body["provider"] = "Simulator"
            case "cerebras" if last:
                body["time_info"] = {"queue_time": 0.001, "total_time": 0.005}
        yield chunk
        if chunk.kind == "role" and not thought:
            thought = True
            for piece in _thoughts(family, acts):
                delta = {_THOUGHTS[family.name]: piece}
                choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]
                yield Chunk({**body, "choices": choices}, "delta")
        first = False


def _thoughts(family: Family, acts: Acts) -> list[str]:
    if family.name not in _THOUGHTS:
        return []
    return [f" thought{number}" if number else "thought0" for number in range(acts.reasoning)]


def _groq_id(call: Call) -> str:
    return f"req_{call.digest[:26]}"
