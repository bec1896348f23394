"""Members that one provider makes and no other may see: where a conversation carries them to the wrong address."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_MAKERS_OWN: Final = frozenset(
    {
        "extra_content",
        "thought_signature",
        "thinking_blocks",
        "provider_specific_fields",
        "reasoning_details",
        "encrypted_content",
    }
)
# What an agent's tools take may be called anything.
_FREE: Final = frozenset({"input", "arguments", "parameters", "input_schema"})


def foreign_members(messages: object, at: str, own: Collection[str] = ()) -> tuple[str, ...]:
    """Paths (`messages[1].tool_calls[0].extra_content`) of the members that are not this provider's `own`."""
    found: list[str] = []
    if isinstance(messages, list):
        for position, item in enumerate(messages):
            found += foreign_members(item, f"{at}[{position}]", own)
    elif isinstance(messages, dict):
        for name, value in messages.items():
            if name in _MAKERS_OWN and name not in own:
                found.append(f"{at}.{name}")
            elif name not in _FREE:
                found += foreign_members(value, f"{at}.{name}", own)
    return tuple(found)
