"""Which models cannot be told all that a caller asks; found before anyone decides or pays. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ainfera_gateway.canonical.conversation import Conversation, UnsupportedError
from ainfera_gateway.canonical.dialect import Wire
from ainfera_gateway.canonical.needs import EMBEDDINGS
from ainfera_gateway.catalog.model import Model
from ainfera_gateway.inference.terms import terms_of
from ainfera_gateway.inference.weigh import target_of
from ainfera_gateway.providers.backend import Backend, Backends
from ainfera_gateway.routing.decision import Untold
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passages import caller_codec, crosses, write_request


def uncarried(
    parsed: Parsed, models: Iterable[Model], backends: Backends, tokens: int, inference_id: str
) -> dict[str, Untold]:
    """By slug, what of a request of so many input ``tokens`` cannot be told; models whose provider is absent stay out.

    Within one dialect bytes pass through and nothing is tried.
    """
    translation = _Translation(parsed, tokens, inference_id)
    found: dict[str, Untold] = {}
    for model in models:
        adapted = backends.adapter(model.provider) is not None
        backend = None if adapted else backends.get(model.provider)
        untold = None
        if backend is not None and backend.one_choice and parsed.request.n > 1:
            untold = Untold("n", f"{model.slug} gives one choice; ask for n=1.")
        elif backend is not None and crosses(parsed, model.wire or backend.wire):
            untold = translation.untold(model, backend)
        elif adapted and EMBEDDINGS not in parsed.request.needs:
            # An adapter speaks no dialect: it takes a conversation from every caller.
            untold = translation.unread()
        if untold is not None:
            found[model.slug] = untold
    return found


class _Translation:
    """One request on trial: read once, and written once for each provider, wire and output limit.

    Nothing else of a model decides whether its provider has words for a request.
    """

    def __init__(self, parsed: Parsed, tokens: int, inference_id: str) -> None:
        self._parsed = parsed
        self._tokens = tokens
        self._inference_id = inference_id
        self._read: Conversation | Untold | None = None
        self._written: dict[tuple[str, Wire | None, int], Untold | None] = {}

    def unread(self) -> Untold | None:
        """What no other dialect has words for."""
        read = self._conversation()
        return read if isinstance(read, Untold) else None

    def untold(self, model: Model, backend: Backend) -> Untold | None:
        """What this provider has no words for."""
        conversation = self._conversation()
        if isinstance(conversation, Untold):
            return conversation
        target = target_of(model, self._parsed.request, self._tokens, None)
        output = target.ask.output_tokens
        key = (model.provider, model.wire, output)
        if key not in self._written:
            terms = terms_of(target, backend, output, self._inference_id)
            try:
                write_request(conversation, terms, stream=self._parsed.request.stream)
                self._written[key] = None
            except UnsupportedError as exc:
                self._written[key] = Untold(exc.field, exc.message)
        return self._written[key]

    def _conversation(self) -> Conversation | Untold:
        if self._read is None:
            try:
                self._read = caller_codec(self._parsed.dialect).read_conversation(self._parsed)
            except UnsupportedError as exc:
                self._read = Untold(exc.field, exc.message)
        return self._read
