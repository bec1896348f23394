"""Writes the catalog's data file from the ``genai-prices`` package: ``python -m tools.catalog_import``.

The package is what is installed; nothing is fetched. A model whose price cannot be billed exactly is left out and
listed in ``left_out.json`` with the reason.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from genai_prices import types
from genai_prices.data import providers as price_data

from ainfera_gateway.canonical.needs import EMBEDDINGS
from ainfera_gateway.catalog.imported import DATA_FILE, Imported, ImportedModel
from ainfera_gateway.catalog.price import PriceError
from ainfera_gateway.catalog.seed import SEED_MODELS
from tools.catalog_facts import PROVIDERS, RESELLERS, RESPONSES_ONLY, UPSTREAM, brand_of, context_tokens, output_tokens
from tools.catalog_prices import LeftOutError, dated_prices

SOURCE: Final = "genai-prices"
DATA: Final = Path(__file__).parent.parent / "src" / "ainfera_gateway" / "catalog" / "data"
LEFT_OUT_FILE: Final = "left_out.json"
_PROBES: Final = ("-20240101", "-20250101", "-20260101", "-2024-01-01", "-2025-01-01", "-2026-01-01")
_DASHED: Final = re.compile(r"gpt-(\d)-(\d)(?=-|$)")

NameTable = dict[str, tuple[str, str]]


class Import:
    """One run over the data: models, names and what is left out."""

    def __init__(self, today: date) -> None:
        self.today = today
        self.models: dict[str, ImportedModel] = {}
        self.exact: NameTable = {}
        self.dated: NameTable = {}
        self.left_out: dict[str, str] = {}

    def run(self) -> None:
        """Take every provider of ``PROVIDERS``, models first, so that a name never hides a slug."""
        chosen = [provider for provider in price_data if provider.id in PROVIDERS]
        taken: list[tuple[types.Provider, types.ModelInfo, str, str]] = []
        for provider in chosen:
            for model in provider.models:
                try:
                    taken.append((provider, model, *self._model(provider, model)))
                except (LeftOutError, PriceError) as exc:
                    self.left_out[f"{PROVIDERS[provider.id]}/{model.id}"] = str(exc)
        for provider, model, slug, upstream in taken:
            self._names(provider, model, slug, upstream)

    def result(self) -> Imported:
        """What the data file holds, in order of name."""
        return Imported(
            source=SOURCE,
            version=version(SOURCE),
            imported_on=self.today,
            models=tuple(self.models[slug] for slug in sorted(self.models)),
            exact=dict(sorted(self.exact.items())),
            dated=dict(sorted(self.dated.items())),
        )

    def _model(self, provider: types.Provider, model: types.ModelInfo) -> tuple[str, str]:
        """Slug and upstream name of a model, which is added unless the seed has it."""
        ours = PROVIDERS[provider.id]
        embeddings = any("embed" in name.lower() for name in (model.id, *_equals(model.match)))
        _check(ours, model)
        prices = dated_prices(model, self.today, embeddings=embeddings, anthropic=_brand(ours, model) == "anthropic")
        seeded = next(
            (seed for seed in SEED_MODELS if seed.provider == ours and _first(provider, seed.upstream_model) is model),
            None,
        )
        if seeded is not None:
            return seeded.slug, seeded.upstream_model
        upstream = UPSTREAM.get((ours, model.id)) or _upstream(model)
        slug = f"{ours}/{upstream if ours == 'azure' else model.id}" if ours in RESELLERS else model.id
        if slug in self.models or slug in {seed.slug for seed in SEED_MODELS}:
            raise LeftOutError(f"the slug {slug} is taken")
        responses = ours == "openai" and RESPONSES_ONLY.fullmatch(model.id) is not None
        context = context_tokens(model.context_window, embeddings=embeddings)
        self.models[slug] = ImportedModel(
            slug=slug,
            display_name=model.name or model.id,
            brand=_brand(ours, model),
            provider=ours,
            upstream_model=upstream,
            context_window=context,
            max_output_tokens=output_tokens(model.id, context),
            prices=prices,
            # A model that speaks the responses dialect alone is served as text: tools are known to be missing.
            capabilities=(EMBEDDINGS,) if embeddings else () if responses else None,
            wire="openai_responses" if responses else None,
        )
        return slug, upstream

    def _names(self, provider: types.Provider, model: types.ModelInfo, slug: str, upstream: str) -> None:
        ours = PROVIDERS[provider.id]
        equals = [name.removeprefix(f"{provider.id}/") for name in (model.id, upstream, *_equals(model.match))]
        for name in equals:
            self._add(self.exact, ours, name, (slug, self._sent(provider, model, name, upstream)))
        if not _is_open(model.match):
            return
        prefixes = [name for name in _prefixes(model.match) if not (ours == "anthropic" and "." in name)]
        for base in (*equals, *prefixes):
            if not base.endswith("-latest") and any(_first(provider, base + probe) is model for probe in _PROBES):
                self._add(self.dated, ours, base, (slug, self._sent(provider, model, base, base)))

    def _sent(self, provider: types.Provider, model: types.ModelInfo, name: str, otherwise: str) -> str:
        """What a name is called upstream: OpenAI's own spelling has a dot where the data knows a dash as well."""
        dotted = _DASHED.sub(r"gpt-\1.\2", name)
        if dotted != name and _first(provider, dotted) is model:
            return dotted
        return name if _first(provider, name) is model and not name.startswith("gpt-35") else otherwise

    def _add(self, table: NameTable, ours: str, name: str, found: tuple[str, str]) -> None:
        shown = f"{ours}/{name}" if ours in RESELLERS else name
        slugs = {*self.models, *(seed.slug for seed in SEED_MODELS)}
        if table is self.exact and shown in slugs:
            return
        table.setdefault(shown, found)


def _check(ours: str, model: types.ModelInfo) -> None:
    """Raise ``LeftOutError`` for what the data lists but the provider's API does not serve."""
    if ours == "gemini" and (model.id.startswith("claude") or model.id.endswith("-maas")):
        raise LeftOutError("served by Vertex AI, which is another API than Gemini's")
    if model.id.startswith("ft:") or model.id.endswith(".ft-"):
        raise LeftOutError("a family of fine-tuned models, not one that can be called")


def _brand(ours: str, model: types.ModelInfo) -> str:
    if ours in {"anthropic", "openai", "gemini", "xai"}:
        return {"gemini": "google"}.get(ours, ours)
    return brand_of(ours, model.id)


def _upstream(model: types.ModelInfo) -> str:
    """The data's id where the model answers to it, else the first name that it does answer to."""
    if model.is_match(model.id):
        return model.id
    names = list(_equals(model.match))
    if not names:
        raise LeftOutError("the data names a family and no model that can be called")
    return names[0]


def _first(provider: types.Provider, name: str) -> types.ModelInfo | None:
    """The model of a provider that a name means: the first that takes it."""
    return next((model for model in provider.models if model.is_match(name)), None)


def _equals(clause: Any) -> Iterator[str]:
    """Names that a clause takes as a whole."""
    if isinstance(clause, types.ClauseEquals):
        yield clause.equals
    elif isinstance(clause, types.ClauseOr):
        for part in clause.or_:
            yield from _equals(part)


def _is_open(clause: Any) -> bool:
    """Whether a clause takes names that it does not spell out."""
    parts = clause.or_ if isinstance(clause, types.ClauseOr) else [clause]
    return not all(isinstance(part, types.ClauseEquals) for part in parts)


def _prefixes(clause: Any) -> Iterator[str]:
    """Names behind which more may follow."""
    if isinstance(clause, types.ClauseStartsWith) and re.fullmatch(r"(?!ft:)[a-z].*[a-z0-9]", clause.starts_with):
        yield clause.starts_with
    elif isinstance(clause, types.ClauseOr):
        for part in clause.or_:
            yield from _prefixes(part)


def render(data: Imported) -> bytes:
    """The data file: one model or name a line, so that a change of the data reads as one."""
    head = msgspec.to_builtins(data)
    parts = []
    for name, value in head.items():
        if name in {"models", "exact", "dated"}:
            items = (
                [_json(item) for item in value]
                if not isinstance(value, dict)
                else [f"{_json(key)}:{_json(item)}" for key, item in value.items()]
            )
            opened, closed = ("{", "}") if isinstance(value, dict) else ("[", "]")
            parts.append(f'"{name}":{opened}\n' + ",\n".join(items) + f"\n{closed}")
        else:
            parts.append(f'"{name}":{_json(value)}')
    return ("{" + ",\n".join(parts) + "}\n").encode()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def imported_today(today: date) -> Import:
    """A whole run as of a day: prices that ended before it are not carried."""
    done = Import(today)
    done.run()
    return done


def _unchanged(found: Imported) -> bool:
    """Whether the stored file says the same and only the day of the import differs."""
    path = DATA / DATA_FILE
    if not path.exists():
        return False
    stored = msgspec.json.decode(path.read_bytes(), type=Imported)
    return msgspec.structs.replace(stored, imported_on=found.imported_on) == found


def main() -> None:
    """Write the file and say what is in it."""
    done = imported_today(datetime.now(UTC).date())
    found = done.result()
    if not _unchanged(found):
        (DATA / DATA_FILE).write_bytes(render(found))
    left = msgspec.json.format(msgspec.json.encode(dict(sorted(done.left_out.items()))), indent=1)
    (DATA / LEFT_OUT_FILE).write_bytes(left + b"\n")
    reasons: dict[str, int] = {}
    for reason in done.left_out.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    sys.stdout.write(f"{len(found.models)} models, {len(found.exact) + len(found.dated)} further names\n")
    sys.stdout.writelines(f"left out, {count}: {reason}\n" for reason, count in sorted(reasons.items()))


if __name__ == "__main__":
    main()
