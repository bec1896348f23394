"""Verification of chains in the forms that callers read: the SDK's, the verifier's, and the Annex IV zip.

Like ``verify`` it shares no code with the writer. It asks more than the published rules do: the members beside a
payload must agree with the payload, and no seq may be missing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from ainfera_gateway.audit.events import VerifyResult
from ainfera_gateway.audit.verify import payload_fault, read_canonical

Form = Literal["sdk", "verifier"]

BUNDLE_FILES = ("manifest.json", "events.jsonl", "public_key.json")
_ZERO_LINK = "0" * 64
_TIME_MEMBER: Mapping[Form, str] = {"sdk": "created_at", "verifier": "timestamp"}
_MEMBERS: Mapping[str, type] = {"agent_id": str, "seq": int, "event_type": str, "payload": dict, "event_hash": str}


@dataclass(frozen=True, slots=True)
class BundleResult:
    """What an Annex IV zip holds: its manifest (``None`` when the zip itself is bad) and the verdict on its events."""

    manifest: dict[str, Any] | None
    result: VerifyResult


def verify_sdk_events(events: Iterable[Mapping[str, Any]], *, agent_id: str | None = None) -> VerifyResult:
    """Verify a whole chain as ``GET /v1/audit/{agent_id}`` gives it, oldest first."""
    return _verify("sdk", events, agent_id, None)


def verify_verifier_events(
    events: Iterable[Mapping[str, Any]], hmac_key: bytes, *, agent_id: str | None = None
) -> VerifyResult:
    """Verify a whole chain as ``…/audit-chain`` gives it, oldest first, signatures included."""
    return _verify("verifier", events, agent_id, hmac_key)


def verify_bundle(data: bytes, *, bytes_max: int = 1 << 30) -> BundleResult:
    """Verify an Annex IV zip of at most ``bytes_max`` unpacked bytes, with the key it carries."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            if sum(info.file_size for info in bundle.infolist()) > bytes_max:
                return BundleResult(None, _bad("bundle_too_large"))
            manifest, lines, key_document = (bundle.read(name).decode("utf-8") for name in BUNDLE_FILES)
        decoded_manifest = json.loads(manifest)
        key = base64.b64decode(json.loads(key_document)["hmac_key_b64"], validate=True)
        events = [json.loads(line) for line in lines.split("\n") if line]
        named = decoded_manifest["agent_id"]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, TypeError):
        return BundleResult(None, _bad("bundle_unreadable"))
    except (ValueError, binascii.Error):
        return BundleResult(None, _bad("bundle_unreadable"))
    return BundleResult(decoded_manifest, verify_verifier_events(events, key, agent_id=named))


def _verify(
    form: Form, events: Iterable[Mapping[str, Any]], agent_id: str | None, hmac_key: bytes | None
) -> VerifyResult:
    before: str | None = None if form == "sdk" else _ZERO_LINK
    owner = agent_id
    count = 0
    for event in events:
        reason = _fault(form, event, before, count, owner) or _signature_fault(event, hmac_key)
        if reason is not None:
            seq = event.get("seq") if isinstance(event, Mapping) else None
            return VerifyResult(
                count, valid=False, failure_seq=seq if type(seq) is int else count, failure_reason=reason, last=None
            )
        before = event["event_hash"]
        owner = event["agent_id"]
        count += 1
    return VerifyResult(count, valid=True, failure_seq=None, failure_reason=None, last=None)


def _fault(form: Form, event: Mapping[str, Any], before: str | None, count: int, owner: str | None) -> str | None:
    time_member = _TIME_MEMBER[form]
    if not isinstance(event, Mapping) or "previous_hash" not in event:
        return "event_malformed"
    if any(type(event.get(name)) is not kind for name, kind in {**_MEMBERS, time_member: str}.items()):
        return "event_malformed"
    if owner is not None and event["agent_id"] != owner:
        return "agent_id_mismatch"
    if event["seq"] != count:
        return "seq_not_contiguous"
    if event["previous_hash"] != before or event.get("prev_hash", before) != before:
        return "previous_hash_mismatch"
    payload = event["payload"]
    try:
        canonical = json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except (ValueError, RecursionError):
        return "payload_not_canonical"
    if read_canonical(canonical) is None:
        return "payload_not_canonical"
    if sha256((before or "").encode() + canonical).hexdigest() != event["event_hash"]:
        return "event_hash_mismatch"
    return payload_fault(
        payload,
        agent_id=event["agent_id"],
        seq=event["seq"],
        event_type=event["event_type"],
        ts=event[time_member],
    )


def _signature_fault(event: Mapping[str, Any], key: bytes | None) -> str | None:
    if key is None:
        return None
    signature = event.get("hmac_signature")
    expected = hmac.new(key, event["event_hash"].encode("utf-8", "replace"), sha256).hexdigest()
    if not isinstance(signature, str) or not hmac.compare_digest(
        expected.encode(), signature.encode("utf-8", "replace")
    ):
        return "signature_mismatch"
    return None


def _bad(reason: str) -> VerifyResult:
    return VerifyResult(0, valid=False, failure_seq=None, failure_reason=reason, last=None)
