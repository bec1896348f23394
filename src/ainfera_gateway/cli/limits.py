"""The limits an agent meets, read from the database: caps, balance, kill switch, and which of them is the next one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection

from ainfera_gateway.clock import utc_day, utc_month
from ainfera_gateway.ids import is_id
from ainfera_gateway.settings import Settings
from ainfera_gateway.storage.house_state import read_house_state
from ainfera_gateway.storage.tables import agents, wallets


@dataclass(frozen=True, slots=True)
class Switch:
    """The kill switch as a gateway on this database and these settings has it; money in pico-USD."""

    by_hand: bool
    enabled: bool
    threshold_picousd: int
    spent_picousd: int

    @property
    def engaged(self) -> bool:
        return self.by_hand or (self.enabled and self.spent_picousd >= self.threshold_picousd)


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """One agent, its caps (``None``: no such cap) and its wallet; money in pico-USD, spends of the UTC day and month."""

    id: str
    handle: str
    owner_handle: str
    status: str
    allowed_brands: str | None
    per_call_cap_picousd: int | None
    daily_cap_picousd: int | None
    monthly_cap_picousd: int | None
    balance_picousd: int
    held_picousd: int
    day_spent_picousd: int
    month_spent_picousd: int

    def next_call(self, switch: Switch) -> tuple[int, str]:
        """(the most the next call may be projected to cost, the limit that says so)."""
        bounds = [(self.balance_picousd - self.held_picousd, "the balance that is not held")]
        if self.per_call_cap_picousd is not None:
            bounds.append((self.per_call_cap_picousd, "the per-call cap"))
        if self.daily_cap_picousd is not None:
            bounds.append((self.daily_cap_picousd - self.day_spent_picousd - self.held_picousd, "the daily cap"))
        if self.monthly_cap_picousd is not None:
            bounds.append((self.monthly_cap_picousd - self.month_spent_picousd - self.held_picousd, "the monthly cap"))
        if switch.engaged:
            bounds.append((0, "the kill switch"))
        if self.status != "active":
            bounds.append((0, f"its state: {self.status}"))
        least, because = min(bounds, key=lambda bound: bound[0])
        return max(least, 0), because


def read_switch(reader: Engine, settings: Settings, now_us: int) -> Switch:
    """The kill switch: what operators changed by hand over what the settings say."""
    state = read_house_state(reader, utc_day(now_us), owner="")
    threshold = state.threshold_picousd or settings.killswitch_picousd
    return Switch(state.stopped_by_hand, settings.killswitch_enabled, threshold, state.others_picousd)


def read_agents(connection: Connection, reference: str, now_us: int) -> list[AgentLimits]:
    """The agents that an id or a handle may mean; several owners may use one handle."""
    wanted = agents.c.id == reference if is_id(reference) else agents.c.handle == reference
    statement = (
        select(agents, wallets)
        .join_from(agents, wallets, wallets.c.agent_id == agents.c.id, isouter=True)
        .where(wanted)
        .order_by(agents.c.id)
        .limit(100)
    )
    day, month = utc_day(now_us), utc_month(now_us)
    return [
        AgentLimits(
            id=row.id,
            handle=row.handle,
            owner_handle=row.owner_handle,
            status=row.status,
            allowed_brands=row.allowed_brands,
            per_call_cap_picousd=row.per_call_cap_picousd,
            daily_cap_picousd=row.daily_cap_picousd,
            monthly_cap_picousd=row.monthly_cap_picousd,
            balance_picousd=row.balance_picousd or 0,
            held_picousd=row.held_picousd or 0,
            day_spent_picousd=row.day_spent_picousd if row.day == day else 0,
            month_spent_picousd=row.month_spent_picousd if row.month == month else 0,
        )
        for row in connection.execute(statement)
    ]
