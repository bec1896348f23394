"""What a model string means."""

from __future__ import annotations

import msgspec
import pytest

from ainfera_gateway.catalog.seed import LOCAL_MODEL
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.routing.aliases import ALIASES, Resolved, resolve
from tests.unit.routing_facts import CATALOG, MODELS


@pytest.mark.parametrize(
    ("asked", "slug", "alias"),
    [
        ("ainfera-inference", "ainfera-inference", None),
        ("openai/ainfera-inference", "ainfera-inference", None),
        *((alias, "ainfera-inference", alias) for alias in ALIASES),
        *((f"openai/{alias}", "ainfera-inference", alias) for alias in ALIASES),
        ("gpt-5-5", "gpt-5-5", None),
        ("openai/gpt-5-5", "gpt-5-5", None),
        ("gemini/gemini-3-1-pro", "gemini-3-1-pro", None),
        ("openai/mistral-large-3", "mistral-large-3", None),
    ],
)
def test_model_strings(asked: str, slug: str, alias: str | None) -> None:
    resolved = resolve(asked, MODELS)
    assert resolved == Resolved(slug, alias)
    assert resolved.routed is (slug == "ainfera-inference")


@pytest.mark.parametrize(
    ("asked", "said"),
    [("mistral-large3", "is it mistral-large-3"), ("nothing-like-it", "GET /v1/models lists what is")],
)
def test_an_unknown_name_is_told_its_neighbours(asked: str, said: str) -> None:
    with pytest.raises(GatewayError, match="not in the catalog") as refused:
        resolve(asked, MODELS)
    assert said in refused.value.message


def test_a_catalog_slug_may_hold_a_slash() -> None:
    model = msgspec.structs.replace(LOCAL_MODEL, slug="openai/gpt-oss")
    assert resolve("openai/gpt-oss", {model.slug: model}).slug == "openai/gpt-oss"


@pytest.mark.parametrize(
    ("asked", "slug", "upstream"),
    [
        # A maker's own models keep their bare id, with and without the provider before it.
        ("gpt-4o", "gpt-4o", None),
        ("openai/gpt-4o", "gpt-4o", None),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", None),
        # Snapshots go upstream under their own names.
        ("gpt-4o-2024-08-06", "gpt-4o", "gpt-4o-2024-08-06"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o", "gpt-4o-2024-08-06"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("anthropic/claude-opus-4-7-20260401", "claude-opus-4-7", "claude-opus-4-7-20260401"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0", "claude-sonnet-4-20250514"),
        ("gpt-6-sol-2026-09-01", "gpt-6-sol", "gpt-6-sol-2026-09-01"),
        # The provider's own names of the anchors lead to the anchors.
        ("gpt-5.5", "gpt-5-5", None),
        ("gpt-5.5-2026-04-23", "gpt-5-5", "gpt-5.5-2026-04-23"),
        ("grok-4-0709", "grok-4", "grok-4-0709"),
        # A spelling with a dash goes upstream with the maker's dot.
        ("gpt-5-4", "gpt-5.4", None),
        ("gpt-5-4-2026-03-05", "gpt-5.4", "gpt-5.4-2026-03-05"),
        # Resellers carry their name before the id.
        ("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b", None),
        ("openai/groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b", None),
        ("fireworks/deepseek-v4-flash", "fireworks/deepseek-v4-flash", None),
        (
            "fireworks/accounts/fireworks/models/deepseek-v4-flash-0731",
            "fireworks/deepseek-v4-flash",
            "accounts/fireworks/models/deepseek-v4-flash-0731",
        ),
        ("azure/o1-2024-12-17", "azure/o1", "o1-2024-12-17"),
    ],
)
def test_names_of_models(asked: str, slug: str, upstream: str | None) -> None:
    assert resolve(asked, MODELS, CATALOG.names) == Resolved(slug, upstream=upstream)


def test_a_name_of_a_model_that_is_gone_is_unknown() -> None:
    fewer = {slug: model for slug, model in MODELS.items() if slug != "gpt-4o"}
    with pytest.raises(GatewayError):
        resolve("gpt-4o-2024-08-06", fewer, CATALOG.names)


def test_every_model_answers_to_its_provider_and_slug() -> None:
    for model in MODELS.values():
        assert resolve(f"{model.provider}/{model.slug}", MODELS, CATALOG.names).slug == model.slug


@pytest.mark.parametrize(
    ("asked", "provider"),
    [
        ("gpt-nine", None),
        ("", None),
        ("AINFERA-INFERENCE", None),
        ("xai/gpt-5-5", "xai"),
        ("anthropic/ainfera-inference", "anthropic"),
        ("openai/openai/gpt-5-5", "openai"),
        ("x" * 10_000, None),
        ("gpt-4o-2023-01-01", None),
        ("claude-sonnet-4-5-20251301", None),
        ("groq/gpt-4o", "groq"),
        ("anthropic/gpt-4o-2024-08-06", "anthropic"),
        ("openai/gpt-oss-120b/x", "openai"),
    ],
)
def test_an_unknown_model_is_refused_with_model_and_provider(asked: str, provider: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        resolve(asked, MODELS, CATALOG.names)
    assert (caught.value.status, caught.value.code) == (422, "model_unavailable")
    assert caught.value.top == {"model": asked[:200], "provider": provider}
