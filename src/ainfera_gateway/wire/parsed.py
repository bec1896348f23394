"""A caller's request after reading: facts for the house, and the bytes for whoever passes them on."""

from __future__ import annotations

from msgspec import Struct

from ainfera_gateway.canonical.dialect import Dialect
from ainfera_gateway.canonical.request import ChatRequest
from ainfera_gateway.wire.json_splice import Member
from ainfera_gateway.wire.media import Media


class Weight(Struct, frozen=True):
    """What the input estimate is made from: the ``text`` that is billed as such, messages, and each piece of media.

    ``tokens`` are those that came counted already, and are added as they are.
    """

    text: bytes
    messages: int
    media: tuple[Media, ...] = ()
    tokens: int = 0


class Parsed(Struct, frozen=True, kw_only=True):
    """A request, the bytes it came in, and where its top-level members stand in them."""

    dialect: Dialect
    request: ChatRequest
    body: bytes
    members: list[Member]

    def span(self, name: str) -> bytes:
        """The JSON of a top-level member, ``b""`` when it was not sent."""
        for member in self.members:
            if member.key == name:
                return self.body[member.value_start : member.value_end]
        return b""

    def weigh(self) -> Weight:
        """What the input estimate is made from."""
        raise NotImplementedError
