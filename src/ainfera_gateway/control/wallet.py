"""What moves into a wallet: the grant at signup and top-ups. And its balance and ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from ainfera_gateway.clock import iso
from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import AgentRow, agent_in_body
from ainfera_gateway.errors import GatewayError, not_found
from ainfera_gateway.ledger import accounts
from ainfera_gateway.money import PICO_PER_USD, format_usd
from ainfera_gateway.storage.page import Keys, Page, Refused
from ainfera_gateway.storage.tables import audit_events, transfers, wallets
from ainfera_gateway.storage.tenant_scope import tenant_reads

BALANCE_MAX_PICOUSD = 1_000_000 * PICO_PER_USD
"""A wallet never holds more: far below what a 64-bit integer of pico-USD can count (9.2 million USD)."""

LEDGER_LIMIT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """What a top-up committed."""

    entry_id: str
    balance_picousd: int
    seq: int


@dataclass(frozen=True, slots=True)
class TopUp:
    """The unit that adds money to a wallet. ``submit`` returns ``ToppedUp``."""

    agent_id: str
    amount_picousd: int
    trace_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> ToppedUp:
        wallet = page.wallets.get(self.agent_id)
        if wallet is None:
            raise Refused(not_found())
        if wallet.balance_picousd + self.amount_picousd > BALANCE_MAX_PICOUSD:
            raise Refused(
                GatewayError(
                    422,
                    "validation_error",
                    f"A wallet holds at most {format_usd(BALANCE_MAX_PICOUSD)} USD.",
                    detail={"fields": [{"field": "amount_usd", "message": "the wallet would hold too much"}]},
                )
            )
        entry_id, seq = credit(
            page,
            self.agent_id,
            self.amount_picousd,
            source=accounts.TOPUP,
            kind="topup",
            event_type="wallet.topped_up",
            trace_id=self.trace_id,
        )
        return ToppedUp(entry_id, wallet.balance_picousd, seq)


def credit(
    page: Page, agent_id: str, amount_picousd: int, *, source: str, kind: str, event_type: str, trace_id: str
) -> tuple[str, int]:
    """Move money from a house account into a loaded wallet; returns (ledger entry, seq of its event)."""
    wallet = page.wallets[agent_id]
    wallet.balance_picousd += amount_picousd
    wallet.dirty = True
    entry = accounts.transfer(
        debit=source,
        credit=accounts.agent_account(agent_id),
        amount_picousd=amount_picousd,
        kind=kind,
        now_us=page.now_us,
        agent_id=agent_id,
        balance_after_picousd=wallet.balance_picousd,
    )
    page.insert("transfers", entry)
    seq = page.append(
        agent_id,
        event_type,
        {
            "trace_id": trace_id,
            "amount_usd": format_usd(amount_picousd),
            "balance_after_usd": format_usd(wallet.balance_picousd),
            "ledger_entry_id": entry["id"],
        },
    )
    return entry["id"], seq


def top_up(
    control: Control, *, agent: str, tenant_id: str | None, amount_picousd: int, trace_id: str
) -> dict[str, Any]:
    """Add ``amount_picousd`` to the agent's wallet; ``None`` as tenant is the operator."""
    row = agent_in_body(control, agent, tenant_id)
    done: ToppedUp = commit(control, TopUp(row.id, amount_picousd, trace_id))
    control.changed(row.id)
    event = select(audit_events.c.id).where(audit_events.c.agent_id == row.id, audit_events.c.seq == done.seq)
    with control.reader.connect() as connection:
        event_id = connection.execute(event).scalar_one()
    return {
        "agent_id": row.id,
        "amount_usd": format_usd(amount_picousd),
        "new_balance_usd": format_usd(done.balance_picousd),
        "ledger_entry_id": done.entry_id,
        "audit_event_id": event_id,
    }


def balance(control: Control, agent: AgentRow) -> dict[str, Any]:
    """``{agent_id, balance_usd}``."""
    return {"agent_id": agent.id, "balance_usd": format_usd(_balance_picousd(control, agent))}


def ledger(control: Control, agent: AgentRow, limit: int) -> dict[str, Any]:
    """The newest entries, newest first. Holds and zero transfers are none."""
    own = accounts.agent_account(agent.id)
    statement = (
        select(transfers)
        .where(
            transfers.c.agent_id == agent.id,
            transfers.c.amount_picousd > 0,
            transfers.c.kind.in_(accounts.LEDGER_KINDS),
            or_(transfers.c.debit_account == own, transfers.c.credit_account == own),
        )
        .order_by(transfers.c.id.desc())
        .limit(limit)
    )
    with tenant_reads(control.reader, agent.tenant_id) as connection:
        rows = connection.execute(statement).all()
    entries = [
        {
            "id": row.id,
            "agent_id": row.agent_id,
            "amount_usd": format_usd(-row.amount_picousd if row.debit_account == own else row.amount_picousd),
            "balance_after_usd": format_usd(row.balance_after_picousd),
            "kind": row.kind,
            "memo": row.memo,
            "created_at": iso(row.created_us),
        }
        for row in rows
    ]
    return {
        "agent_id": agent.id,
        "balance_usd": format_usd(_balance_picousd(control, agent)),
        "entries": entries,
    }


def _balance_picousd(control: Control, agent: AgentRow) -> int:
    statement = select(wallets.c.balance_picousd).where(wallets.c.agent_id == agent.id)
    with tenant_reads(control.reader, agent.tenant_id) as connection:
        return int(connection.execute(statement).scalar_one())
