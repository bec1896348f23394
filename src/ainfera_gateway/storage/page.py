"""What a unit of work sees: the rows it named, loaded and locked, and a place to put what it writes.

Pure values and rules, no I/O. A driver loads a ``Page`` for a group of units, each unit is applied in arrival order,
the driver writes what changed and commits once. A unit refuses by raising before it changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ainfera_gateway.ids import new_id


@dataclass(frozen=True, slots=True)
class Keys:
    """The rows a unit needs: agents (wallet, policy and chain head), open holds, idempotency keys, unique guards."""

    agents: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    idempotency: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class WalletRow:
    """A wallet and the agent facts that bind at the moment of commit. Money in pico-USD."""

    agent_id: str
    tenant_id: str
    balance_picousd: int
    held_picousd: int
    day: str
    day_spent_picousd: int
    month: str
    month_spent_picousd: int
    calls: int
    status: str
    per_call_cap_picousd: int | None
    daily_cap_picousd: int | None
    monthly_cap_picousd: int | None
    rate_left_milli: int = 0
    rate_us: int = 0
    dirty: bool = False

    @property
    def available_picousd(self) -> int:
        return self.balance_picousd - self.held_picousd


@dataclass(slots=True)
class HeadRow:
    """The end of one agent's chain; ``seq`` -1 means empty."""

    agent_id: str
    seq: int
    event_hash: str | None
    verifier_hash: str | None
    fresh: bool
    dirty: bool = False


@dataclass(slots=True)
class HoldRow:
    """Money set aside for one open call, and the attempt that is in flight for it."""

    inference_id: str
    agent_id: str
    tenant_id: str
    amount_picousd: int
    attempt_id: str
    ordinal: int
    provider: str
    model: str
    owner: str
    idempotency_hash: str | None
    created_us: int
    state: str = "stored"


@dataclass(slots=True)
class IdempotencyRow:
    """What is known of one idempotency key: ``in_flight``, ``stored`` or ``too_large``."""

    agent_id: str
    key_hash: str
    fingerprint: str
    inference_id: str
    state: str
    answer_sealed: str | None
    created_us: int
    change: str = ""


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event as it is stored: canonical text and the hashes of both published rules."""

    payload: str
    event_hash: str
    verifier_hash: str


class Sealer(Protocol):
    """Makes the next event of a chain. Injected: the rule belongs to the audit room."""

    def __call__(
        self,
        *,
        agent_id: str,
        seq: int,
        event_type: str,
        now_us: int,
        fields: Mapping[str, Any],
        previous: tuple[str, str] | None,
    ) -> SealedEvent: ...


@dataclass(slots=True)
class Page:
    """The loaded rows of one group and the writes gathered for it."""

    now_us: int
    sealer: Sealer
    wallets: dict[str, WalletRow] = field(default_factory=dict)
    heads: dict[str, HeadRow] = field(default_factory=dict)
    holds: dict[str, HoldRow] = field(default_factory=dict)
    idempotency: dict[tuple[str, str], IdempotencyRow] = field(default_factory=dict)
    inserts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statements: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stopped: bool | None = None
    """Whether the kill switch is engaged by hand, as the database says in this transaction; None: never touched."""
    spent: dict[str, int] = field(default_factory=dict)
    """What this group's calls paid, by UTC day."""

    def spend(self, day: str, picousd: int) -> None:
        """Count a payment into its day's sum over all agents."""
        self.spent[day] = self.spent.get(day, 0) + picousd

    def insert(self, table: str, row: dict[str, Any]) -> None:
        """Add one row; every column of the table must be given."""
        self.inserts.setdefault(table, []).append(row)

    def open_wallet(self, row: WalletRow) -> None:
        """A new wallet, written by this group."""
        self.wallets[row.agent_id] = row
        self.insert(
            "wallets",
            {
                "agent_id": row.agent_id,
                "tenant_id": row.tenant_id,
                "balance_picousd": 0,
                "held_picousd": 0,
                "day": row.day,
                "day_spent_picousd": 0,
                "month": row.month,
                "month_spent_picousd": 0,
                "calls": 0,
                "rate_left_milli": 0,
                "rate_us": 0,
            },
        )
        row.dirty = True
        self.heads[row.agent_id] = HeadRow(row.agent_id, -1, None, None, fresh=True)

    def append(self, agent_id: str, event_type: str, fields: Mapping[str, Any]) -> int:
        """Append one event to the agent's chain; returns its sequence number."""
        head = self.heads.get(agent_id)
        if head is None:
            head = self.heads[agent_id] = HeadRow(agent_id, -1, None, None, fresh=True)
        previous = (
            None if head.event_hash is None or head.verifier_hash is None else (head.event_hash, head.verifier_hash)
        )
        seq = head.seq + 1
        sealed = self.sealer(
            agent_id=agent_id, seq=seq, event_type=event_type, now_us=self.now_us, fields=fields, previous=previous
        )
        self.insert(
            "audit_events",
            {
                "id": new_id(),
                "agent_id": agent_id,
                "seq": seq,
                "event_type": event_type,
                "payload": sealed.payload,
                "previous_hash": head.event_hash,
                "event_hash": sealed.event_hash,
                "verifier_hash": sealed.verifier_hash,
                "created_us": self.now_us,
            },
        )
        head.seq, head.event_hash, head.verifier_hash, head.dirty = seq, sealed.event_hash, sealed.verifier_hash, True
        return seq

    def put_hold(self, hold: HoldRow) -> None:
        """A new hold, written at the end of the group."""
        hold.state = "new"
        self.holds[hold.inference_id] = hold

    def execute(self, sql: str, parameters: dict[str, Any]) -> None:
        """A statement in the named style (``:name``), run after the rows of the group are written."""
        self.statements.append((sql, parameters))


class Unit(Protocol):
    """One indivisible piece of work for the recorder."""

    def keys(self) -> Keys: ...

    def apply(self, page: Page) -> Any:
        """Check, then write into ``page``; the value is what ``submit`` returns. Raise before writing to refuse."""
        ...


class Refused(Exception):  # noqa: N818 - a verdict, carried to one waiter
    """A unit's own refusal, raised before it changed the page; ``error`` goes to its waiter."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def merged(units: list[Unit]) -> Keys:
    """The keys of a whole group, sorted, so that every group locks in the same order."""
    agents: set[str] = set()
    holds: set[str] = set()
    idempotency: set[tuple[str, str]] = set()
    for unit in units:
        keys = unit.keys()
        agents.update(keys.agents)
        holds.update(keys.holds)
        idempotency.update(keys.idempotency)
    return Keys(tuple(sorted(agents)), tuple(sorted(holds)), tuple(sorted(idempotency)))
