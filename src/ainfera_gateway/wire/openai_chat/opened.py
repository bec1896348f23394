"""An object of a caller's request, taken apart member by member, so that what nobody took can be named."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from ainfera_gateway.canonical.conversation import UnsupportedError

_T = TypeVar("_T")

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode


def stored_file(field: str) -> UnsupportedError:
    """What to raise where ``field`` is the id of a file: it names something at one provider, and nothing elsewhere."""
    return UnsupportedError("a stored file is known only to the provider that keeps it", field)


class Opened:
    """The members of the object ``sent``, which stands at ``path``; each is taken once.

    A member that is null counts as not sent. One of another type than asked for raises ``UnsupportedError``: the
    request was let through because its own dialect may know what it means.
    """

    def __init__(self, sent: bytes | Raw, path: str = "") -> None:
        self.path = path
        try:
            members = _members(sent)
        except msgspec.MsgspecError:
            raise UnsupportedError(f"{path or 'the body'} must be an object", path) from None
        self._left = {name: value for name, value in members.items() if bytes(value) != b"null"}

    def at(self, name: str) -> str:
        """The path of the member ``name``."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> bytes | None:
        """The JSON of a member."""
        value = self._left.pop(name, None)
        return None if value is None else bytes(value)

    def text(self, name: str) -> str | None:
        return self._as(name, str)

    def integer(self, name: str) -> int | None:
        return self._as(name, int)

    def number(self, name: str) -> float | None:
        return self._as(name, float)

    def flag(self, name: str) -> bool | None:
        return self._as(name, bool)

    def inner(self, name: str) -> Opened | None:
        """The object that a member is."""
        value = self.raw(name)
        return None if value is None else Opened(value, self.at(name))

    def items(self, name: str) -> list[bytes]:
        """The JSON of each item of the array that a member is; none when it was not sent."""
        value = self.raw(name)
        if value is None:
            return []
        try:
            return [bytes(item) for item in _items(value)]
        except msgspec.MsgspecError:
            raise UnsupportedError(f"{self.at(name)} must be an array", self.at(name)) from None

    def left(self) -> list[str]:
        """The paths of what nobody took."""
        return [self.at(name) for name in self._left]

    def skip(self, *names: str) -> None:
        """Members whose loss needs no word."""
        for name in names:
            self._left.pop(name, None)

    def _as(self, name: str, wanted: type[_T]) -> _T | None:
        value = self.raw(name)
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=wanted)
        except msgspec.MsgspecError:
            raise UnsupportedError(f"{self.at(name)} must be {wanted.__name__}", self.at(name)) from None
