"""Which models cannot be told what is asked, and how little is tried to find out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ainfera_gateway.canonical.conversation import Choice, ToolSpec, UnsupportedError
from ainfera_gateway.canonical.response import ChatResponse
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.catalog.seed import ANCHORS, LOCAL_MODEL, SEED_MODELS, SEED_PROVIDERS, seed_catalog
from ainfera_gateway.ids import new_id
from ainfera_gateway.inference import carried
from ainfera_gateway.inference.carried import uncarried
from ainfera_gateway.inference.terms import terms_of
from ainfera_gateway.inference.weigh import target_of
from ainfera_gateway.providers.adapter import AdapterRequest, ProviderAdapter
from ainfera_gateway.providers.backend import Backends
from ainfera_gateway.providers.configured import backend_of
from ainfera_gateway.routing.decision import Untold
from ainfera_gateway.wire.anthropic_messages.request import parse as parse_messages
from ainfera_gateway.wire.openai_chat.request import parse as parse_chat
from ainfera_gateway.wire.openai_embeddings.request import parse as parse_embeddings
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passages import crosses, open_passage

CATALOG = seed_catalog()
RESPONSES = CATALOG.models["gpt-5.5-pro"]
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
FILE = {"type": "document", "source": {"type": "file", "file_id": "f1"}}
INFERENCE_ID = new_id()
TOKENS = 100


def backends() -> Backends:
    return Backends({row.slug: backend_of(row, "http://x/v1", "k") for row in SEED_PROVIDERS})


def chat(**more: Any) -> Parsed:
    return parse_chat(json.dumps(ASKED | more).encode(), flat=False)


def messages(**more: Any) -> Parsed:
    return parse_messages(json.dumps(ASKED | more).encode())


def found(parsed: Parsed, models: Sequence[Model], known: Backends | None = None) -> dict[str, Untold]:
    return uncarried(parsed, models, known or backends(), TOKENS, INFERENCE_ID)


class Tried:
    """Counts the translations."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.providers: list[str] = []
        inner = carried.write_request

        def write_request(conversation: Any, terms: Any, *, stream: bool) -> Any:
            self.providers.append(terms.provider)
            return inner(conversation, terms, stream=stream)

        monkeypatch.setattr(carried, "write_request", write_request)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    return Tried(monkeypatch)


@pytest.mark.parametrize(
    "parsed",
    [
        chat(logprobs=True),
        chat(n=2, stop=["x"]),
        chat(response_format={"type": "json_object"}),
        chat(max_tokens=5, stream=True),
        chat(modalities=["audio"], audio={"voice": "alloy", "format": "wav"}),
        chat(tools=[{"type": "function", "function": {"name": "f"}}]),
        messages(stop_sequences=list("abcde")),
        messages(messages=[{"role": "user", "content": [FILE]}]),
        messages(thinking={"type": "enabled", "budget_tokens": 2_000}, max_tokens=4_000),
        messages(tool_choice={"type": "tool", "name": "f"}),
    ],
    ids=range(10),
)
def test_it_finds_what_opening_every_passage_would_find(parsed: Parsed) -> None:
    known = backends()
    models = [*SEED_MODELS, RESPONSES]
    expected: dict[str, str] = {}
    for model in models:
        backend = known.get(model.provider)
        assert backend is not None
        if backend.one_choice and parsed.request.n > 1:
            expected[model.slug] = "n"
        elif crosses(parsed, model.wire or backend.wire):
            target = target_of(model, parsed.request, TOKENS, None)
            try:
                open_passage(parsed, terms_of(target, backend, target.ask.output_tokens, INFERENCE_ID))
            except UnsupportedError as exc:
                expected[model.slug] = exc.field
    assert {slug: untold.field for slug, untold in found(parsed, models, known).items()} == expected


def test_the_words_are_the_providers() -> None:
    assert found(chat(logprobs=True), ANCHORS) == {
        "claude-opus-4-7": Untold("logprobs", "this provider tells no log probabilities")
    }
    stops = found(messages(stop_sequences=list("abcde")), ANCHORS)
    assert set(stops) == {model.slug for model in ANCHORS} - {"claude-opus-4-7"}
    assert {untold.field for untold in stops.values()} == {"stop_sequences"}


def test_within_one_dialect_nothing_is_tried(tried: Tried) -> None:
    chats = [model for model in SEED_MODELS if model.provider != "anthropic"]
    assert found(chat(logprobs=True, tools=[]), chats) == {}
    assert found(messages(), [model for model in SEED_MODELS if model.provider == "anthropic"]) == {}
    vectors = parse_embeddings(b'{"model":"m","input":"x","dimensions":3}')
    assert found(vectors, [*SEED_MODELS, RESPONSES]) == {}
    assert tried.providers == []


def test_a_provider_is_tried_once_for_each_wire_and_output_limit(tried: Tried) -> None:
    gemini = next(model for model in ANCHORS if model.provider == "gemini")
    few = msgspec.structs.replace(gemini, slug="few", max_output_tokens=5)
    other = msgspec.structs.replace(gemini, slug="other", wire="openai_responses")
    models = [msgspec.structs.replace(gemini, slug=f"m{number}") for number in range(20)]
    lost = found(messages(stop_sequences=list("abcde")), [*models, few, other, *ANCHORS])
    assert sorted(tried.providers) == ["gemini", "gemini", "gemini", "mistral", "openai", "xai"]
    assert {f"m{number}" for number in range(20)} | {"few", "other"} <= set(lost)


def test_the_limit_on_the_output_is_part_of_the_question() -> None:
    short = msgspec.structs.replace(RESPONSES, slug="short", max_output_tokens=8)
    assert found(chat(), [RESPONSES, short]).keys() == {"short"}
    assert found(chat(max_tokens=9), [RESPONSES, short]).keys() == {"short", RESPONSES.slug}


def test_a_backend_of_one_choice_is_not_asked_for_several() -> None:
    lost = found(chat(n=2), [LOCAL_MODEL, *ANCHORS[1:2]])
    assert {slug: untold.field for slug, untold in lost.items()} == {LOCAL_MODEL.slug: "n"}
    assert found(chat(n=1), [LOCAL_MODEL]) == {}


def test_a_provider_that_is_not_there_is_not_asked() -> None:
    assert found(chat(logprobs=True), ANCHORS, Backends({})) == {}


class _Deaf(ProviderAdapter):
    async def chat(
        self, request: AdapterRequest, tools: Sequence[ToolSpec], tool_choice: Choice | None
    ) -> ChatResponse:
        return ChatResponse()


def test_an_adapter_is_told_what_can_be_read_into_a_conversation(tried: Tried) -> None:
    known = backends()
    known.add_adapter("mistral", _Deaf())
    mistral = [model for model in ANCHORS if model.provider == "mistral"]
    sound = chat(modalities=["audio"], audio={"voice": "alloy", "format": "wav"})
    assert {slug: untold.field for slug, untold in found(sound, mistral, known).items()} == {
        "mistral-large-3": "modalities"
    }
    assert found(sound, mistral) == {}
    assert found(chat(logprobs=True), mistral, known) == {}
    assert found(parse_embeddings(b'{"model":"m","input":"x"}'), mistral, known) == {}
    assert tried.providers == []
