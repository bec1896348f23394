"""Makes ``chain.json``: one chain of every event type, in both projections.

Canonical bytes and hashes come from the published packages alone, so that the file says what they say, not what the
gateway does. Run ``python -m tests.golden_chain.make`` to write it anew; a test compares the file with ``build()``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from ainfera._internal.canonical import canonical_json as sdk_canonical_json
from ainfera_verify.chain import GENESIS_HASH, compute_event_hash

GOLDEN_FILE = Path(__file__).parent / "chain.json"

AGENT_ID = "01939b1e-0000-7000-8000-00000000a9e7"
HMAC_KEY = bytes(range(32))
BASE_URL = "https://gateway.example"
RECEIPT_ID = "01939b1e-0000-7000-8000-0000000000e1"
INFERENCE_ID = "01939b1e-0000-7000-8000-0000000000f1"

# Texts that encoders disagree about stand among the fields: letters beyond the first plane, both separators that
# Unicode counts as line ends, a backslash before u0000, controls, DEL, an empty text and the largest integers.
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("agent.registered", {"handle": "golden-agent", "name": "Zoë 🚀 “agent”\u2028二\u0085", "owner_handle": "agents"}),
    ("agent_card.minted", {"kid": "k-1", "jws_sha256": "ab" * 32}),
    ("wallet.granted", {"amount_usd": "5.000000", "balance_after_usd": "5.000000", "ledger_entry_id": "t-1"}),
    ("key.created", {"key_id": "key-1", "prefix": "ainfera_AbCdEf", "scopes": ["owner"]}),
    ("wallet.topped_up", {"amount_usd": "0.000000000001", "balance_after_usd": "5.000000000001"}),
    ("spend_policy.updated", {"per_call_cap_usd": "0.10", "daily_cap_usd": None, "allowed_brands": []}),
    (
        "inference.routed",
        {
            "inference_id": INFERENCE_ID,
            "model": "mistral-large-3",
            "provider": "mistral",
            "router": "ainfera-inference",
            "decision_hash": "01" * 32,
            "request_hash": "02" * 32,
            "projected_cost_usd": "0.001234",
        },
    ),
    (
        "provider.responded",
        {
            "inference_id": INFERENCE_ID,
            "attempt": 1,
            "status": 200,
            "usage": {"input_tokens": 12, "output_tokens": 2**53, "details": [{"cached": 0}, {"cached": -(2**53)}]},
            "latency_ms": 417,
            "response_hash": "03" * 32,
        },
    ),
    (
        "receipt.created",
        {
            "inference_id": INFERENCE_ID,
            "receipt_id": RECEIPT_ID,
            "cost_usd": "0.000987654321",
            "ledger_entry_id": "t-3",
            "balance_after_usd": "4.999012345680",
            "outcome_status": "succeeded",
        },
    ),
    (
        "inference.failed",
        {"inference_id": "i-2", "reason": "all_routed_models_failed", "note": 'a\\u0000b "\\\n\t\x7f'},
    ),
    ("inference.rejected_cap_violation", {"reason": "daily_cap_exceeded", "count": 1}),
    ("inference.rejected_insufficient_funds", {"needed_usd": "9.00", "empty": "", "nested": {}}),
    ("inference.rejected_no_candidate", {"reason": "no_candidate_clears_floor", "é": 1, "z": 2, "Z": 3, "𝄞": 4}),
    ("inference.rejected_killswitch", {"spent_usd": "50.000001", "threshold_usd": "50"}),
    ("verdict.updated", {"brand": "openai", "verdict": "CONDITIONAL", "version": 2, "holds": True}),
    ("killswitch.changed", {"enabled": False, "threshold_usd": "75"}),
    ("agent.suspended", {"by": "owner"}),
    ("agent.activated", {"by": "owner"}),
    ("key.revoked", {"key_id": "key-1"}),
]


def build() -> dict[str, Any]:
    """The whole content of ``chain.json``."""
    sdk_previous: str | None = None
    verifier_previous = GENESIS_HASH
    inputs, canonical, sdk, verifier = [], [], [], []
    for seq, (event_type, fields) in enumerate(EVENTS):
        event_id = f"01939b1e-0000-7000-8000-{seq:012x}"
        ts = f"2026-11-23T20:30:{seq:02d}.{seq * 7919:06d}Z"
        trace_id = None if seq == 15 else hashlib.sha256(f"trace {seq}".encode()).hexdigest()[:32]
        payload = {
            **fields,
            "v": 1,
            "event_type": event_type,
            "agent_id": AGENT_ID,
            "seq": seq,
            "ts": ts,
            "trace_id": trace_id,
        }
        text = sdk_canonical_json(payload)
        sdk_hash = hashlib.sha256((sdk_previous or "").encode() + text).hexdigest()
        verifier_hash = compute_event_hash(verifier_previous, payload)
        beside = {"agent_id": AGENT_ID, "seq": seq, "event_type": event_type, "payload": payload}
        inputs.append({"id": event_id, "event_type": event_type, "ts": ts, "trace_id": trace_id, "fields": fields})
        canonical.append(base64.b64encode(text).decode())
        sdk.append(
            beside
            | {
                "id": event_id,
                "previous_hash": sdk_previous,
                "prev_hash": sdk_previous,
                "event_hash": sdk_hash,
                "created_at": ts,
            }
        )
        verifier.append(
            beside
            | {
                "timestamp": ts,
                "previous_hash": verifier_previous,
                "event_hash": verifier_hash,
                "hmac_signature": hmac.new(HMAC_KEY, verifier_hash.encode(), hashlib.sha256).hexdigest(),
                "receipt_url": f"{BASE_URL}/v1/receipts/{RECEIPT_ID}" if event_type == "receipt.created" else None,
            }
        )
        sdk_previous, verifier_previous = sdk_hash, verifier_hash
    return {
        "agent_id": AGENT_ID,
        "hmac_key_b64": base64.b64encode(HMAC_KEY).decode(),
        "inputs": inputs,
        "canonical_b64": canonical,
        "sdk": sdk,
        "verifier": verifier,
    }


def rendered(document: dict[str, Any]) -> str:
    """The text of the file: ASCII, sorted, so that it diffs well and survives any editor."""
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    GOLDEN_FILE.write_text(rendered(build()), encoding="ascii")
