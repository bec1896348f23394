"""What a family takes of a chat completion that OpenAI's own rules do not say: names, tool ids, members it made itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from .dialect import RefusedError
from .families import Family
from .openai_messages import MESSAGE_FIELDS
from .openai_schema import FIELDS
from .responses_schema import WITHOUT_TOOLS
from .signatures import seal

_NINE: Final = re.compile(r"[a-zA-Z0-9]{9}")
# What Google itself takes for a call that no Gemini model made.
_NO_SIGNATURE: Final = "skip_thought_signature_validator"


def conform(request: object, family: Family, foreign: Sequence[str]) -> object:
    """The request without what only this family takes or ignores, for OpenAI's rules to check. Raises `RefusedError`."""
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        return request
    if family.name == "openai":
        if str(request.get("model")).startswith(WITHOUT_TOOLS):
            message = f"The model {request['model']} is served by responses alone."
            raise RefusedError(message, "model", None, 404)
        _refuse_foreign(foreign, family)
        return request
    for name in request:
        if family.fields != "*" and name not in (family.fields or FIELDS):
            raise _unknown(name, name, family)
    if family.closed:
        for position, message in enumerate(request["messages"]):
            _check_names(message, f"messages[{position}]", family)
        _refuse_foreign(foreign, family)
    if family.name == "mistral":
        _check_mistral(request["messages"])
    if family.name == "gemini":
        _check_signatures(request["messages"])
    known = {name: value for name, value in request.items() if name in FIELDS}
    return {**known, "messages": [_plain_message(message) for message in request["messages"]]}


def _refuse_foreign(foreign: Sequence[str], family: Family) -> None:
    if foreign:
        raise _unknown(foreign[0], foreign[0], family)


def _unknown(name: str, where: str, family: Family) -> RefusedError:
    match family.name:
        case "mistral":
            return RefusedError("Extra inputs are not permitted", where, None, family.unknown)
        case "groq" | "cerebras":
            return RefusedError(f"property '{where}' is unsupported", where, "unsupported_property")
        case "gemini":
            return RefusedError(f'Invalid JSON payload received. Unknown name "{name}": no such field.', where)
    return RefusedError(f"The parameter '{where}' is not known.", where, "unknown_parameter")


def _check_names(message: object, param: str, family: Family) -> None:
    if not isinstance(message, dict):
        return
    known = MESSAGE_FIELDS.get(str(message.get("role")))
    for name in message:
        if known is not None and name not in known | family.message_fields:
            raise _unknown(name, f"{param}.{name}", family)
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else []):
        for name in call if isinstance(call, dict) else ():
            if name not in {"id", "type", str(call.get("type", "function"))} | family.call_fields:
                raise _unknown(name, f"{param}.tool_calls[{place}].{name}", family)


def _plain_message(message: object) -> object:
    if not isinstance(message, dict):
        return message
    known = MESSAGE_FIELDS.get(str(message.get("role")))
    kept = message if known is None else {name: value for name, value in message.items() if name in known}
    if not isinstance(kept.get("tool_calls"), list):
        return kept
    calls = [
        {name: value for name, value in call.items() if name in ("id", "type", call.get("type"))}
        if isinstance(call, dict)
        else call
        for call in kept["tool_calls"]
    ]
    return {**kept, "tool_calls": calls}


def _check_mistral(messages: Sequence[Any]) -> None:
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        if message.get("role") == "developer":
            raise RefusedError("The role is not known.", f"messages[{position}].role", None, 422)
        calls = message.get("tool_calls")
        names = [call.get("id") for call in (calls if isinstance(calls, list) else []) if isinstance(call, dict)]
        if message.get("role") == "tool":
            names.append(message.get("tool_call_id"))
        for name in names:
            if not isinstance(name, str) or not _NINE.fullmatch(name):
                raise RefusedError(f"Tool call id {name!r} must be nine of a-z, A-Z, 0-9.", None, "3280")
    last = messages[-1] if messages else None
    if isinstance(last, dict) and last.get("role") not in ("user", "tool"):
        raise RefusedError("The last message must be of the role user or tool.", None, "3230")


def signature_of(name: str, arguments: str) -> str:
    """Gemini's thought signature for a tool call; the arguments count as JSON, however they are written."""
    try:
        meant = msgspec.json.encode(msgspec.json.decode(arguments), order="deterministic").decode()
    except msgspec.DecodeError:
        meant = arguments  # cut off by a limit
    return seal("gemini", f"{name}\0{meant}")


def _check_signatures(messages: Sequence[Any]) -> None:
    """Every signature must be the one that was given; in the running tool loop none may be missing."""
    running = max(
        (
            place
            for place, message in enumerate(messages)
            if isinstance(message, dict) and message.get("role") == "user"
        ),
        default=-1,
    )
    for position, message in enumerate(messages):
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for place, call in enumerate(calls if isinstance(calls, list) else []):
            _check_signature(call, f"messages[{position}].tool_calls[{place}]", wanted=position > running)


def _check_signature(call: object, param: str, *, wanted: bool) -> None:
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        return
    extra: Any = call.get("extra_content")
    signature = None
    if isinstance(extra, Mapping) and isinstance(extra.get("google"), Mapping):
        signature = extra["google"].get("thought_signature")
    where = f"{param}.extra_content.google.thought_signature"
    if signature is None:
        if wanted:
            raise RefusedError(f"Function call is missing a thought_signature: {where}", where)
        return
    called = signature_of(str(call["function"].get("name")), str(call["function"].get("arguments")))
    if signature != _NO_SIGNATURE and not (isinstance(signature, str) and signature == called):
        raise RefusedError(f"Thought signature is not valid: {where}", where)
