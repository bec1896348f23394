"""A provider's whole answer, whichever wire it came over."""

from __future__ import annotations

from msgspec import Struct

from ainfera_gateway.canonical.response import ChatResponse, FinishReason
from ainfera_gateway.canonical.usage import Usage


class Answer(Struct, frozen=True):
    """``response`` is its first choice; the counts cover all choices.

    ``empty`` says that nothing was answered: no choices, or neither text nor calls nor any reported output.
    """

    response: ChatResponse
    usage: Usage | None
    model: str | None
    id: str | None
    empty: bool
    text_chars: int
    text_bytes: int

    @property
    def finish_reason(self) -> FinishReason | None:
        """The finish reason in the closed set of the contract."""
        return self.response.finish_reason

    @property
    def finish_reason_native(self) -> str | None:
        """The provider's own word."""
        return self.response.finish_reason_native
