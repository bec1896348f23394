"""A chain in the forms that leave the house: the SDK's, the verifier's, and the Annex IV export as JSON and as zip."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ainfera_gateway.audit.chain import GENESIS, hmac_signature
from ainfera_gateway.audit.events import StoredEvent, VerifyResult

USE_FOR = "EU AI Act Annex IV technical documentation: record of the system's calls, kept under Article 12"
FORMAT = "ainfera-annex-iv"
FORMAT_VERSION = 1
# The first moment a zip can name. A real time would make two exports of one chain differ.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says about itself. ``issued_at`` is RFC 3339 text in UTC."""

    issuer: str
    issued_at: str
    agent_id: str
    tenant: str
    use_for: str = USE_FOR

    def as_dict(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "issued_at": self.issued_at,
            "agent_id": self.agent_id,
            "tenant": self.tenant,
            "use_for": self.use_for,
        }


def sdk_projection(row: StoredEvent) -> dict[str, Any]:
    """An event as ``GET /v1/audit/{agent_id}`` gives it; ``previous_hash`` is null at seq 0."""
    return {
        "id": row.id,
        "agent_id": row.agent_id,
        "seq": row.seq,
        "event_type": row.event_type,
        "payload": json.loads(row.payload),
        "previous_hash": row.previous_hash,
        "prev_hash": row.previous_hash,
        "event_hash": row.event_hash,
        "created_at": row.ts,
    }


def verifier_projection(
    row: StoredEvent, previous_verifier_hash: str | None, hmac_key: bytes, receipt_url: str | None
) -> dict[str, Any]:
    """An event as the offline verifier reads it.

    ``previous_verifier_hash`` is the predecessor's ``verifier_hash``, ``None`` at seq 0; ``receipt_url`` is absolute,
    ``None`` for events without a receipt.
    """
    return {
        "agent_id": row.agent_id,
        "seq": row.seq,
        "event_type": row.event_type,
        "timestamp": row.ts,
        "payload": json.loads(row.payload),
        "previous_hash": GENESIS if previous_verifier_hash is None else previous_verifier_hash,
        "event_hash": row.verifier_hash,
        "hmac_signature": hmac_signature(row.verifier_hash, hmac_key),
        "receipt_url": receipt_url,
    }


def annex_iv_document(
    manifest: Manifest,
    agent: Mapping[str, Any],
    chain: VerifyResult,
    events: Iterable[Mapping[str, Any]],
    key_document: Mapping[str, Any],
) -> dict[str, Any]:
    """The export as one JSON object: the manifest's members, the agent, the chain's state, its events in the
    verifier's form and the key document.

    ``agent`` is the agent as the API shows it; ``chain`` the result of a verification made for this export.
    """
    return {
        **manifest.as_dict(),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "agent": dict(agent),
        "chain": {
            "event_count": chain.event_count,
            "valid": chain.valid,
            "failure_seq": chain.failure_seq,
            "failure_reason": chain.failure_reason,
            "genesis_hash": GENESIS,
            "tip_seq": None if chain.last is None else chain.last.seq,
            "tip_event_hash": None if chain.last is None else chain.last.event_hash,
            "tip_verifier_hash": None if chain.last is None else chain.last.verifier_hash,
        },
        "public_key": dict(key_document),
        "events": [dict(event) for event in events],
    }


def annex_iv_zip(manifest: Manifest, events: Iterable[Mapping[str, Any]], key_document: Mapping[str, Any]) -> bytes:
    """The export as the zip that the offline verifier opens; equal inputs give equal bytes.

    ``events`` are in the verifier's form, oldest first, and are read one at a time. Its lines are pure ASCII: the
    published reader splits them at every line end Unicode knows, some of which may stand inside a text.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        _write(bundle, "manifest.json", [_pretty(manifest.as_dict())])
        _write(bundle, "events.jsonl", (_line(event) for event in events))
        _write(bundle, "public_key.json", [_pretty(key_document)])
    return packed.getvalue()


def _write(bundle: zipfile.ZipFile, name: str, parts: Iterable[str]) -> None:
    info = zipfile.ZipInfo(name, _ZIP_EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o100644 << 16
    # Fixed, since the default names the system that packs.
    info.create_system = 3
    with bundle.open(info, "w", force_zip64=True) as file:
        for part in parts:
            file.write(part.encode("utf-8"))


def _pretty(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"
