"""Our chain against the golden file, which the published packages made; and tampered copies of it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from ainfera.audit import AuditEvent as SdkEvent
from ainfera.exceptions import AuditChainBroken
from ainfera.verify import verify_chain as sdk_verify_chain
from ainfera_verify.chain import AuditEvent as VerifierEvent
from ainfera_verify.chain import verify_chain as verifier_verify_chain

from ainfera_gateway.audit.canonical_json import canonical_json
from ainfera_gateway.audit.chain import GENESIS, Link, append, hmac_signature
from ainfera_gateway.audit.event_types import EVENT_TYPES, payload
from ainfera_gateway.audit.events import Checkpoint, StoredEvent
from ainfera_gateway.audit.export import sdk_projection, verifier_projection
from ainfera_gateway.audit.verify import verify_rows
from ainfera_gateway.audit.verify_published import verify_sdk_events, verify_verifier_events
from tests.golden_chain import make

GOLDEN: dict[str, Any] = json.loads(make.GOLDEN_FILE.read_text(encoding="ascii"))
AGENT_ID: str = GOLDEN["agent_id"]
KEY = base64.b64decode(GOLDEN["hmac_key_b64"])


def our_rows() -> list[StoredEvent]:
    """The golden inputs, appended by our own writer."""
    rows: list[StoredEvent] = []
    link: Link | None = None
    for seq, given in enumerate(GOLDEN["inputs"]):
        made = payload(given["event_type"], AGENT_ID, seq, given["ts"], given["trace_id"], given["fields"])
        stored = canonical_json(made)
        previous = None if link is None else link.event_hash
        link = append(link, stored)
        rows.append(
            StoredEvent(
                id=given["id"],
                agent_id=AGENT_ID,
                seq=seq,
                event_type=given["event_type"],
                ts=given["ts"],
                payload=stored,
                previous_hash=previous,
                event_hash=link.event_hash,
                verifier_hash=link.verifier_hash,
            )
        )
    return rows


def receipt_url(row: StoredEvent) -> str | None:
    return f"{make.BASE_URL}/v1/receipts/{make.RECEIPT_ID}" if row.event_type == "receipt.created" else None


def exactly(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def test_the_golden_file_is_what_the_published_packages_make() -> None:
    assert make.GOLDEN_FILE.read_text(encoding="ascii") == make.rendered(make.build())


def test_the_golden_chain_has_every_event_type() -> None:
    assert {given["event_type"] for given in GOLDEN["inputs"]} == EVENT_TYPES


def test_our_canonical_bytes_are_the_published_ones() -> None:
    assert [row.payload for row in our_rows()] == [base64.b64decode(text) for text in GOLDEN["canonical_b64"]]


def test_our_sdk_projection_is_the_golden_one() -> None:
    assert exactly([sdk_projection(row) for row in our_rows()]) == exactly(GOLDEN["sdk"])


def test_our_verifier_projection_is_the_golden_one() -> None:
    rows = our_rows()
    before = [None, *(row.verifier_hash for row in rows)]
    made = [verifier_projection(row, prev, KEY, receipt_url(row)) for row, prev in zip(rows, before, strict=False)]
    assert exactly(made) == exactly(GOLDEN["verifier"])


@dataclass
class Copy:
    """A copy of the chain for tampering: what is stored, and what each published client would be given."""

    stored: list[StoredEvent]
    sdk: list[dict[str, Any]]
    verifier: list[dict[str, Any]]

    def set(self, index: int, **columns: Any) -> None:
        """Change columns beside the payload, everywhere."""
        self.stored[index] = dataclasses.replace(self.stored[index], **columns)
        renamed = {"ts": ("created_at", "timestamp")}
        for name, value in columns.items():
            sdk_name, verifier_name = renamed.get(name, (name, name))
            self.sdk[index][sdk_name] = value
            self.verifier[index][verifier_name] = value

    def forge(self, index: int) -> None:
        """Change one amount inside a payload and nothing else."""
        changed = json.loads(self.stored[index].payload) | {"amount_usd": "500.000000"}
        self.stored[index] = dataclasses.replace(self.stored[index], payload=canonical_json(changed))
        self.sdk[index]["payload"] = self.verifier[index]["payload"] = changed

    def rehash(self, index: int) -> None:
        """Make one event's own hashes and signature fit again; the HMAC key is public, so anyone can."""
        row, before = self.stored[index], self.stored[index - 1]
        link = append(Link(before.event_hash, before.verifier_hash), row.payload)
        self.stored[index] = dataclasses.replace(row, event_hash=link.event_hash, verifier_hash=link.verifier_hash)
        self.sdk[index]["event_hash"] = link.event_hash
        self.verifier[index]["event_hash"] = link.verifier_hash
        self.verifier[index]["hmac_signature"] = hmac_signature(link.verifier_hash, KEY)

    def each(self) -> list[list[Any]]:
        return [self.stored, self.sdk, self.verifier]


def fresh() -> Copy:
    again = json.loads(make.GOLDEN_FILE.read_text(encoding="ascii"))
    return Copy(our_rows(), again["sdk"], again["verifier"])


def sdk_accepts(events: list[dict[str, Any]]) -> bool:
    try:
        return sdk_verify_chain([SdkEvent.model_validate(event) for event in events])
    except AuditChainBroken:
        return False


def verifier_accepts(events: list[dict[str, Any]]) -> bool:
    return bool(verifier_verify_chain([VerifierEvent.from_dict(event) for event in events], KEY).ok)


def test_everyone_accepts_the_untouched_chain() -> None:
    copy = fresh()
    result = verify_rows(copy.stored, agent_id=AGENT_ID)
    last = copy.stored[-1]
    assert result.valid
    assert result.event_count == len(copy.stored)
    assert result.last == Checkpoint(AGENT_ID, last.seq, last.event_hash, last.verifier_hash)
    assert verify_sdk_events(copy.sdk, agent_id=AGENT_ID).valid
    assert verify_verifier_events(copy.verifier, KEY, agent_id=AGENT_ID).valid
    assert sdk_accepts(copy.sdk)
    assert verifier_accepts(copy.verifier)


def payload_changed(copy: Copy) -> None:
    copy.forge(4)


def event_dropped(copy: Copy) -> None:
    for events in copy.each():
        del events[5]


def swapped(copy: Copy) -> None:
    for events in copy.each():
        events[5], events[6] = events[6], events[5]
    copy.set(5, seq=5)
    copy.set(6, seq=6)


def rehashed_alone(copy: Copy) -> None:
    copy.forge(4)
    copy.rehash(4)


def event_type_changed(copy: Copy) -> None:
    copy.set(9, event_type="receipt.created")


def seq_changed(copy: Copy) -> None:
    copy.set(len(copy.stored) - 1, seq=len(copy.stored) + 6)


def timestamp_changed(copy: Copy) -> None:
    copy.set(8, ts="2020-01-01T00:00:00.000000Z")


def agent_changed(copy: Copy) -> None:
    copy.set(8, agent_id="01939b1e-0000-7000-8000-00000000ffff")


def previous_hash_changed(copy: Copy) -> None:
    copy.set(7, previous_hash="ab" * 32)


def head_truncated(copy: Copy) -> None:
    for events in copy.each():
        del events[0]


def duplicated(copy: Copy) -> None:
    for events in copy.each():
        events.insert(6, events[6])


def signature_changed(copy: Copy) -> None:
    copy.verifier[10]["hmac_signature"] = hmac_signature(copy.verifier[10]["event_hash"], b"\0" * 32)


def bytes_not_canonical(copy: Copy) -> None:
    spaced = json.dumps(json.loads(copy.stored[-1].payload), sort_keys=True, ensure_ascii=False).encode()
    copy.stored[-1] = dataclasses.replace(copy.stored[-1], payload=spaced)


def bytes_not_canonical_but_hashed(copy: Copy) -> None:
    bytes_not_canonical(copy)
    copy.rehash(len(copy.stored) - 1)


# What rejects, and why: our /verify (None: it never sees what was tampered with), our check of the published form,
# whether the SDK's and the verifier's rule reject. Where both rules are blind is why the columns stand in the payload.
TAMPERED: list[tuple[Callable[[Copy], None], str | None, str | None, str | None, bool, bool]] = [
    (payload_changed, "event_hash_mismatch", "event_hash_mismatch", "event_hash_mismatch", True, True),
    (event_dropped, "seq_not_contiguous", "seq_not_contiguous", "seq_not_contiguous", True, True),
    (swapped, "previous_hash_mismatch", "previous_hash_mismatch", "previous_hash_mismatch", True, True),
    (rehashed_alone, "previous_hash_mismatch", "previous_hash_mismatch", "previous_hash_mismatch", True, True),
    (event_type_changed, *["payload_event_type_mismatch"] * 3, False, False),
    (seq_changed, *["seq_not_contiguous"] * 3, True, False),
    (timestamp_changed, *["payload_ts_mismatch"] * 3, False, False),
    (agent_changed, *["agent_id_mismatch"] * 3, False, False),
    (previous_hash_changed, *["previous_hash_mismatch"] * 3, True, True),
    (head_truncated, *["seq_not_contiguous"] * 3, True, True),
    (duplicated, *["seq_not_contiguous"] * 3, True, True),
    (signature_changed, None, None, "signature_mismatch", False, True),
    (bytes_not_canonical, "payload_not_canonical", None, None, False, False),
    (bytes_not_canonical_but_hashed, "payload_not_canonical", *["event_hash_mismatch"] * 2, True, True),
]


@pytest.mark.parametrize(("tamper", "stored", "sdk", "verifier", "sdk_rejects", "verifier_rejects"), TAMPERED)
def test_tampered_copies(
    tamper: Callable[[Copy], None],
    stored: str | None,
    sdk: str | None,
    verifier: str | None,
    sdk_rejects: bool,
    verifier_rejects: bool,
) -> None:
    copy = fresh()
    tamper(copy)
    ours = verify_rows(copy.stored, agent_id=AGENT_ID)
    our_sdk = verify_sdk_events(copy.sdk, agent_id=AGENT_ID)
    our_verifier = verify_verifier_events(copy.verifier, KEY, agent_id=AGENT_ID)
    assert (ours.failure_reason, our_sdk.failure_reason, our_verifier.failure_reason) == (stored, sdk, verifier)
    assert not (ours.valid and our_sdk.valid and our_verifier.valid)
    assert sdk_accepts(copy.sdk) is not sdk_rejects
    assert verifier_accepts(copy.verifier) is not verifier_rejects


def test_a_rejection_names_the_first_bad_seq() -> None:
    copy = fresh()
    payload_changed(copy)
    result = verify_rows(copy.stored)
    assert (result.event_count, result.valid, result.failure_seq) == (4, False, 4)
    assert result.last is not None
    assert result.last.seq == 3


def test_a_chain_cut_at_its_end_shows_against_the_head() -> None:
    rows = our_rows()
    last = rows[-1]
    head = Checkpoint(AGENT_ID, last.seq, last.event_hash, last.verifier_hash)
    assert verify_rows(rows, head=head).valid
    cut = verify_rows(rows[:-1], head=head)
    assert (cut.valid, cut.failure_reason, cut.failure_seq) == (False, "head_mismatch", last.seq)
    assert verify_rows([], head=head, agent_id=AGENT_ID).failure_reason == "head_mismatch"


def test_a_chain_written_anew_shows_against_the_head() -> None:
    """Whoever can write every row and hash can forge a chain that fits itself; only the remembered head tells."""
    rows = our_rows()
    head = Checkpoint(AGENT_ID, rows[-1].seq, rows[-1].event_hash, rows[-1].verifier_hash)
    link: Link | None = None
    forged = []
    for row in rows:
        stored = row.payload.replace(b"0.000987654321", b"0.000000000001")
        previous = None if link is None else link.event_hash
        link = append(link, stored)
        forged.append(
            dataclasses.replace(
                row,
                payload=stored,
                previous_hash=previous,
                event_hash=link.event_hash,
                verifier_hash=link.verifier_hash,
            )
        )
    assert verify_rows(forged).valid
    assert verify_rows(forged, head=head).failure_reason == "head_mismatch"


@pytest.mark.parametrize("split", [1, 7, 18])
def test_verification_continues_from_where_it_ended(split: int) -> None:
    rows = our_rows()
    first = verify_rows(rows[:split])
    second = verify_rows(rows[split:], first.last)
    assert second == verify_rows(rows)
    assert second.event_count == len(rows)
    wrong = dataclasses.replace(first.last or pytest.fail("no checkpoint"), event_hash="0" * 64)
    assert verify_rows(rows[split:], wrong).failure_reason == "previous_hash_mismatch"


def test_another_agents_whole_chain_is_refused() -> None:
    assert verify_rows(our_rows(), agent_id="someone-else").failure_reason == "agent_id_mismatch"


def test_an_empty_chain_is_valid_and_has_no_end() -> None:
    result = verify_rows([])
    assert (result.event_count, result.valid, result.last) == (0, True, None)


def one_row(text: bytes, **columns: Any) -> StoredEvent:
    """A first event around any bytes, with hashes that fit them."""
    row = StoredEvent(
        id="e",
        agent_id="a",
        seq=0,
        event_type="agent.registered",
        ts="2026-11-23T20:30:00.000000Z",
        payload=text,
        previous_hash=None,
        event_hash=hashlib.sha256(text).hexdigest(),
        verifier_hash=hashlib.sha256(GENESIS.encode() + text).hexdigest(),
    )
    return dataclasses.replace(row, **columns)


GOOD = b'{"agent_id":"a","event_type":"agent.registered","seq":0,"trace_id":null,"ts":"2026-11-23T20:30:00.000000Z","v":1%s}'


def test_the_hand_made_row_is_good() -> None:
    assert verify_rows([one_row(GOOD % b"")]).valid


@pytest.mark.parametrize(
    "tail",
    [
        b',"v":1',
        b',"w":1.5',
        b',"w":1e3',
        b',"w":NaN',
        b',"w":Infinity',
        b',"w":9007199254740993',
        b',"w":' + b"9" * 5000,
        b',"w":"\\u0000"',
        b',"w":"\\ud800"',
        b',"w":"\\u00e9"',
        b',"w":"\xff"',
        b',"a":1',
        b',"w":' + b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_bytes_that_hash_but_are_not_canonical_are_refused(tail: bytes) -> None:
    assert verify_rows([one_row(GOOD % tail)]).failure_reason == "payload_not_canonical"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[]", "payload_not_canonical"),
        (b"", "payload_not_canonical"),
        (b"{}", "payload_event_type_mismatch"),
        ((GOOD % b"").replace(b'"v":1', b'"v":true'), "payload_v_mismatch"),
        ((GOOD % b"").replace(b'"v":1', b'"v":2'), "payload_v_mismatch"),
        ((GOOD % b"").replace(b'"seq":0', b'"seq":false'), "payload_seq_mismatch"),
        ((GOOD % b"").replace(b'"seq":0', b'"seq":"0"'), "payload_seq_mismatch"),
    ],
)
def test_members_must_be_there_and_of_their_type(text: bytes, reason: str) -> None:
    assert verify_rows([one_row(text)]).failure_reason == reason


def test_an_unknown_version_is_refused_even_where_the_column_agrees() -> None:
    text = (GOOD % b"").replace(b'"v":1', b'"v":2')
    assert verify_rows([one_row(text, v=2)]).failure_reason == "payload_v_unknown"


def test_a_changed_verifier_hash_is_found() -> None:
    assert verify_rows([one_row(GOOD % b"", verifier_hash="0" * 64)]).failure_reason == "verifier_hash_mismatch"


@pytest.mark.parametrize(
    "event",
    [{}, [], "x", {"agent_id": 1}, GOLDEN["sdk"][0] | {"payload": []}, GOLDEN["sdk"][0] | {"seq": True}],
)
def test_malformed_published_events_are_a_verdict_not_an_exception(event: Any) -> None:
    assert verify_sdk_events([event]).failure_reason == "event_malformed"
    assert verify_verifier_events([event], KEY).failure_reason == "event_malformed"


def test_a_float_in_a_published_payload_is_refused() -> None:
    event = GOLDEN["sdk"][0] | {"payload": GOLDEN["sdk"][0]["payload"] | {"cost": 0.1}}
    assert verify_sdk_events([event]).failure_reason == "payload_not_canonical"


@pytest.mark.parametrize("signature", [None, 7, "", "é", "AB" * 32])
def test_signatures_of_any_kind_are_a_verdict(signature: Any) -> None:
    events = [GOLDEN["verifier"][0] | {"hmac_signature": signature}]
    assert verify_verifier_events(events, KEY).failure_reason == "signature_mismatch"
