"""One block of a stream while it is written."""

from __future__ import annotations

from typing import Any

import msgspec

from ainfera_gateway.wire.openai_chat.surrogates import encodable

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class OpenBlock:
    """A block of ``kind`` (text, thinking, redacted_thinking, tool_use) and what of it is still to be written.

    ``place`` is that of a call among the calls; ``told`` further members of the block as it begins.
    """

    def __init__(self, kind: str, told: dict[str, Any] | None = None, *, place: int = 0) -> None:
        self.kind = kind
        self.told = told or {}
        self.place = place
        self.begun = False
        self.id = ""
        self.name = ""
        self.thought_signature: str | None = None
        self.signature = ""
        self._waiting: list[str] = []
        self._arguments: list[str] = []
        self._checked = 0
        self._whole = kind != "tool_use"

    @property
    def delta_type(self) -> str:
        """The type of its deltas."""
        return _DELTAS[self.kind][0]

    @property
    def delta_field(self) -> str:
        """The member of its deltas that holds the text."""
        return _DELTAS[self.kind][1]

    @property
    def ready(self) -> bool:
        """Whether it can begin: a call is told with its name, so one whose name has yet to come waits for it."""
        return self.kind != "tool_use" or bool(self.name)

    @property
    def whole(self) -> bool:
        """Whether nothing more can come: for a call, when its arguments are a JSON object."""
        if not self._whole and self._checked < len(self._arguments):
            self._checked = len(self._arguments)
            # Only what ends with the brace can be whole, so not every fragment is a reason to parse all of them again.
            end = next((stripped for text in reversed(self._arguments) if (stripped := text.rstrip())), "")
            self._whole = end.endswith("}") and _is_object("".join(self._arguments))
        return self._whole and self.ready

    def add(self, text: str) -> None:
        """More of its text."""
        if not text:
            return
        self._waiting.append(text)
        if self.kind == "tool_use":
            self._arguments.append(text)

    def take(self, *, ended: bool) -> str:
        """What can be written now. Half a surrogate pair at the end waits for its other half, until the block ends."""
        if not self._waiting:
            return ""
        text = "".join(self._waiting)
        self._waiting.clear()
        if not ended and "\ud800" <= text[-1] <= "\udbff":
            self._waiting.append(text[-1])
            text = text[:-1]
        return encodable(text)


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(encodable(text)), dict)
    except (msgspec.MsgspecError, RecursionError):
        return False
