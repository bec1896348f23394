"""The id of a stored file names something at one provider: it stays in its dialect, or the call is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ainfera_gateway.canonical.conversation import UnsupportedError
from ainfera_gateway.canonical.dialect import Dialect, Wire
from ainfera_gateway.wire.anthropic_messages import request as messages_request
from ainfera_gateway.wire.openai_chat import request as chat_request
from ainfera_gateway.wire.parsed import Parsed
from ainfera_gateway.wire.passage import Terms
from ainfera_gateway.wire.passages import open_passage

PARTS: dict[str, tuple[Dialect, dict[str, Any], str]] = {
    "chat file": ("openai", {"type": "file", "file": {"file_id": "file-1"}}, "file.file_id"),
    "chat file that looks like another's": ("openai", {"type": "file", "file": {"file_id": "file_1"}}, "file.file_id"),
    "document": ("anthropic", {"type": "document", "source": {"type": "file", "file_id": "file_1"}}, "source.file_id"),
    "image": ("anthropic", {"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "source.file_id"),
    "upload": ("anthropic", {"type": "container_upload", "file_id": "file_1"}, "file_id"),
}
OWN: dict[Dialect, Wire] = {"openai": "openai_chat", "anthropic": "anthropic_messages"}
WIRES: tuple[Wire, ...] = ("openai_chat", "anthropic_messages", "openai_responses")
CROSSINGS = [(name, wire) for name in PARTS for wire in WIRES if wire != OWN[PARTS[name][0]]]


def asked(name: str) -> Parsed:
    dialect, part, _ = PARTS[name]
    messages = [{"role": "user", "content": [{"type": "text", "text": "Sum up."}, part]}]
    body = json.dumps({"model": "m", "max_tokens": 64, "messages": messages}).encode()
    return chat_request.parse(body, flat=False) if dialect == "openai" else messages_request.parse(body)


def terms(wire: Wire) -> Terms:
    return Terms(wire=wire, provider=wire.partition("_")[0], slug="m", upstream_model="m", max_tokens=64)


@pytest.mark.parametrize(("name", "wire"), CROSSINGS)
def test_across_wires_it_is_refused_by_name(name: str, wire: Wire) -> None:
    with pytest.raises(UnsupportedError) as refused:
        open_passage(asked(name), terms(wire))
    assert refused.value.field == f"messages[0].content[1].{PARTS[name][2]}"


@pytest.mark.parametrize("name", PARTS)
def test_in_its_own_dialect_it_passes_as_it_is(name: str) -> None:
    dialect, part, _ = PARTS[name]
    passage = open_passage(asked(name), terms(OWN[dialect]))
    assert json.loads(passage.body)["messages"][0]["content"][1] == part
    assert passage.dropped == ()
