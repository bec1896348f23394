"""The ``input`` of a call, which in this dialect is an object, made from arguments that may be any text."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from ainfera_gateway.wire.openai_chat.surrogates import encodable

RAW_INPUT = "_raw"
"""The one member of the input of a call whose arguments are no JSON object: the text that was generated."""


def object_input(arguments: str) -> Raw:
    """The arguments byte for byte where they are a JSON object, ``{}`` where there are none, else under ``_raw``."""
    sent = encodable(arguments).strip().encode() or b"{}"
    try:
        if isinstance(msgspec.json.decode(sent), dict):
            return Raw(sent)
    except (msgspec.MsgspecError, RecursionError):
        return Raw(msgspec.json.encode({RAW_INPUT: encodable(arguments)}))
    return Raw(msgspec.json.encode({RAW_INPUT: encodable(arguments)}))
