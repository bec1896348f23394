"""Which capabilities a model must have to serve a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ainfera_gateway.canonical.request import Message, ResponseFormat, Tool

TOOLS = "tools"
VISION = "vision"
AUDIO = "audio"
DOCUMENTS = "documents"
STRUCTURED_OUTPUT = "structured_output"

_BY_PART_TYPE = {"image_url": VISION, "input_image": VISION, "input_audio": AUDIO, "file": DOCUMENTS}


def capabilities_needed(
    messages: Iterable[Message],
    tools: Sequence[Tool],
    response_format: ResponseFormat | None,
    *,
    audio_output: bool = False,
) -> frozenset[str]:
    """The capability names, empty for a plain text chat. A history with tool calls needs tools as well."""
    needs: set[str] = set()
    if tools:
        needs.add(TOOLS)
    if audio_output:
        needs.add(AUDIO)
    if response_format is not None and response_format.type in {"json_schema", "json_object"}:
        needs.add(STRUCTURED_OUTPUT)
    for message in messages:
        if message.tool_calls or message.role == "tool":
            needs.add(TOOLS)
        if isinstance(message.content, tuple):
            needs.update(_BY_PART_TYPE[part.type] for part in message.content if part.type in _BY_PART_TYPE)
    return frozenset(needs)
