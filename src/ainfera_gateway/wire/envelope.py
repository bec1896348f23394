"""What every dialect's request has in common: one JSON object whose members the house reads, changes or takes out."""

from __future__ import annotations

from collections.abc import Mapping

from ainfera_gateway.canonical.problems import ParseError
from ainfera_gateway.wire.json_limits import check_depth, check_text
from ainfera_gateway.wire.json_splice import Member, members, splice, without_tags
from ainfera_gateway.wire.routing_inputs import GATEWAY_FIELDS


def open_body(body: bytes, *, guarded: frozenset[str], inner: frozenset[str]) -> list[Member]:
    """The top-level members of a request. Raises ``ParseError``.

    ``guarded`` are names that money depends on: some providers read member names without regard to case, so another
    spelling of one of them is refused. ``inner`` names members that a splice may look into; names repeated inside
    them are refused as well.
    """
    if not body.strip():
        raise ParseError("the body is empty; send a JSON object", None)
    check_depth(body)
    check_text(body)
    found = members(body)
    for member in found:
        key = member.key
        if key not in guarded and key.casefold() in guarded:
            raise ParseError(f"{key} is not a field; did you mean {key.casefold()}", key)
    for member in found:
        if member.key in inner:
            value = body[member.value_start : member.value_end]
            if value.startswith(b"{"):
                members(value, path=member.key)
    return found


def changed(
    body: bytes, found: list[Member], values: Mapping[str, bytes | None], *, drop: frozenset[str] = frozenset()
) -> bytes:
    """The caller's bytes with ``values`` set (``None``: taken out), and without what was meant for the gateway alone.

    A value stands where the member stood, else it is appended. Every other byte stays as it was.
    """
    present = {member.key: member for member in found}
    replace: dict[str, bytes | None] = dict.fromkeys(drop | GATEWAY_FIELDS)
    append: dict[str, bytes] = {}
    metadata = present.get("metadata")
    if metadata is not None and "metadata" not in drop:
        replace["metadata"] = without_tags(body[metadata.value_start : metadata.value_end])
    for name, value in values.items():
        if value is None or name in present:
            replace[name] = value
        else:
            replace.pop(name, None)
            append[name] = value
    return splice(body, found, replace, append)
