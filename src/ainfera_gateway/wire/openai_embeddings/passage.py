"""The way of an embeddings call: the caller's bytes out, the provider's bytes back."""

from __future__ import annotations

from ainfera_gateway.wire.answer import Answer
from ainfera_gateway.wire.frame import Frame, FrameReader
from ainfera_gateway.wire.openai_chat.answer import splice_answer
from ainfera_gateway.wire.openai_chat.shared_members import ainfera_object
from ainfera_gateway.wire.openai_embeddings.answer import read_answer
from ainfera_gateway.wire.openai_embeddings.request import ParsedEmbeddings, write_upstream
from ainfera_gateway.wire.openai_embeddings.vectors import with_base64
from ainfera_gateway.wire.passage import Closing, Terms

PATH = "/embeddings"


class EmbeddingsPassage:
    """See ``Passage``. There are no streams of embeddings, so what belongs to them raises ``TypeError``.

    A caller who asked for base64 gets it, whichever form the provider answers in.
    """

    text_bytes = 0

    def __init__(self, parsed: ParsedEmbeddings, terms: Terms) -> None:
        written = write_upstream(parsed, terms)
        self.path = PATH
        self.body = written.body
        self.dropped = written.dropped
        self._slug = terms.slug
        self._wants_base64 = parsed.fields.encoding_format == "base64"
        self._packed: tuple[bytes, bytes] | None = None

    def read_answer(self, body: bytes) -> Answer:
        """A plain answer. Raises ``ParseError`` when it is none, or cannot be given in the form that was asked for."""
        answer = read_answer(body)
        if self._wants_base64:
            self._packed = body, with_base64(body)
        return answer

    def whole(self, answer: Answer, body: bytes, closing: Closing) -> bytes:  # noqa: ARG002 - the bytes are the answer
        """The provider's bytes, with the model that served, what the gateway adds, and vectors as they were asked."""
        if self._packed is not None and self._packed[0] == body:
            body = self._packed[1]
        return splice_answer(body, self._slug, ainfera_object(closing))

    def reader(self) -> FrameReader:
        """Embeddings never stream."""
        raise TypeError("embeddings never stream")

    def relay(self, frame: Frame) -> bytes:  # noqa: ARG002 - there are none
        """Embeddings never stream."""
        raise TypeError("embeddings never stream")

    def finish(self, closing: Closing) -> bytes:  # noqa: ARG002 - there is no stream to end
        """Embeddings never stream."""
        raise TypeError("embeddings never stream")
